package query

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// NoDay is the SentDay of a message without a readable Date.
const NoDay = -1 << 31

// Doc is what Match looks at.
type Doc struct {
	Text    [NumFields]string // folded; but for Body, every white space within a line is one blank
	SentDay int32             // days from 1 January 1970 to the date as the sender wrote it, in whatever zone; or NoDay

	Flags    mail.Flags
	Keywords []string
	Received int64 // Unix seconds
	Size     int64
	Attached bool
	Places   []Place

	plain    [NumFields]string
	stripped Fields // of plain that are filled
}

// Place is where a copy of the message lies.
type Place struct {
	Folder mail.FolderID
	UID    mail.UID
}

func (d *Doc) plainText(f Field) string {
	if d.stripped&(1<<f) == 0 {
		d.plain[f] = Strip(d.Text[f])
		d.stripped |= 1 << f
	}
	return d.plain[f]
}

// Match decides whether a message is what the query asks for. d must not be used by two goroutines at once.
func (q *Query) Match(d *Doc) bool { return q.root.match(d) }

func (n *node) match(d *Doc) bool {
	switch n.op {
	case opAnd:
		for _, k := range n.kids {
			if !k.match(d) {
				return false
			}
		}
		return true
	case opOr:
		return slices.ContainsFunc(n.kids, func(k *node) bool { return k.match(d) })
	case opNot:
		return !n.kids[0].match(d)
	case opHas:
		for f := range NumFields {
			text := n.line
			if f == Body {
				text = n.text
			}
			if n.fields&(1<<f) != 0 && strings.Contains(d.Text[f], text) {
				return true
			}
		}
		return false
	case opWords:
		for f := range NumFields {
			if n.fields&(1<<f) != 0 && countWords(d.plainText(f), n.pieces, 1) > 0 {
				return true
			}
		}
		return false
	case opHeader:
		return d.header(n.name, n.line)
	case opFlag:
		return d.Flags&n.flags == n.flags
	case opKeyword:
		return slices.ContainsFunc(d.Keywords, func(k string) bool { return strings.EqualFold(k, n.name) })
	case opReceived:
		return n.from <= d.Received && d.Received < n.before
	case opSent:
		return d.SentDay != NoDay && n.from <= int64(d.SentDay) && int64(d.SentDay) < n.before
	case opSize:
		return n.from <= d.Size && d.Size < n.before
	case opAttachment:
		return d.Attached
	case opFolder:
		return slices.ContainsFunc(d.Places, func(p Place) bool { return slices.Contains(n.folders, p.Folder) })
	case opUID:
		return slices.ContainsFunc(d.Places, func(p Place) bool {
			return (n.folders == nil || slices.Contains(n.folders, p.Folder)) && slices.ContainsFunc(n.ranges, func(r [2]mail.UID) bool { return r[0] <= p.UID && p.UID <= r[1] })
		})
	}
	return true
}

// OwnField knows the header fields whose values are fields of their own; names are in lower case.
func OwnField(name string) (Field, bool) {
	switch name {
	case "from":
		return From, true
	case "to":
		return To, true
	case "cc":
		return Cc, true
	case "bcc":
		return Bcc, true
	case "subject":
		return Subject, true
	}
	return 0, false
}

// SignedHeader knows the header fields whose values go into Signed: nobody looks for what is in them unless by name, and they
// would fill the index with random words.
func SignedHeader(name string) bool {
	switch name {
	case "authentication-results", "received-spf", "x-received", "autocrypt", "openpgp", "face", "x-face":
		return true
	}
	for _, p := range []string{"arc-", "x-gm-", "x-ms-exchange-", "x-microsoft-", "x-forefront-", "x-sg-", "x-google-smtp-", "x-ironport-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return strings.HasSuffix(name, "-signature")
}

// header looks for text in the values of a header field; "" asks whether there is one.
func (d *Doc) header(name, text string) bool {
	in := Header
	if SignedHeader(name) {
		in = Signed
	}
	there := false
	for line := range strings.SplitSeq(d.Text[in], "\n") {
		if v, ok := strings.CutPrefix(line, name); ok && strings.HasPrefix(v, ":") {
			there = true
			if strings.Contains(strings.TrimPrefix(v[1:], " "), text) {
				return true
			}
		}
	}
	if f, ok := OwnField(name); ok && there {
		return strings.Contains(d.Text[f], text)
	}
	return false
}

// startsWords tells whether the pieces stand at i one after the other, with nothing but gaps between them.
func startsWords(s string, i int, pieces []piece) bool {
	for k, p := range pieces {
		if k > 0 {
			for i < len(s) {
				r, n := utf8.DecodeRuneInString(s[i:])
				if classOf(r) != gap {
					break
				}
				i += n
			}
		}
		if !strings.HasPrefix(s[i:], p.text) {
			return false
		}
		// Signs run on without spaces, so there they end no word.
		if i > 0 && !p.sign {
			if r, _ := utf8.DecodeLastRuneInString(s[:i]); classOf(r) == letter {
				return false
			}
		}
		i += len(p.text)
		if i < len(s) && !p.sign && !p.right {
			if r, _ := utf8.DecodeRuneInString(s[i:]); classOf(r) == letter {
				return false
			}
		}
	}
	return true
}
