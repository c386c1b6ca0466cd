// Package query is the search language: it reads what people and IMAP clients write, and decides whether a message matches.
//
// A query is one tree, whatever it was written in. Match decides on a message whose texts went through Fold; it is the only
// definition of what a query means. Candidates says which index terms a matching message must have, so that an index can leave
// out the others; it may let through too many, never too few.
package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Field is a part of a message that has text.
type Field uint8

// The fields. The numbers are stored in indexes.
const (
	From Field = iota
	To
	Cc
	Bcc
	Subject
	Filename // names of attachments
	Body
	Header // every header field, one a line: "name: value"; of the six above and of signatures only the name
	Signed // the header fields that are signatures or traces of the transport, likewise; looked at only when named
	NumFields
)

// Fields is a set of fields.
type Fields uint16

// Sets of fields.
const (
	AnyEmail Fields = 1<<From | 1<<To | 1<<Cc | 1<<Bcc
	Anywhere Fields = AnyEmail | 1<<Subject | 1<<Filename | 1<<Body // what words without a field look at
	Text     Fields = Anywhere | 1<<Header                          // IMAP's TEXT
)

// Limits of one query.
const (
	MaxLength = 2048 // bytes
	MaxDepth  = 20
	MaxTerms  = 100
)

// op is what a node asks.
type op uint8

const (
	opAll op = iota
	opAnd
	opOr
	opNot
	opHas        // text as a piece of one of fields
	opWords      // text as whole words of one of fields, the last one possibly as a beginning
	opHeader     // name: text as a piece of a header field
	opFlag       // all of flags
	opKeyword    // name
	opReceived   // from <= seconds < before
	opSent       // from <= days < before
	opSize       // from <= size < before
	opAttachment // has one
	opFolder     // lies in one of folders
	opUID        // has a UID in ranges, in one of folders if there are any
)

// node is a part of a query.
type node struct {
	op           op
	kids         []*node
	fields       Fields
	name, text   string // text is folded
	line         string // text as it stands in header fields: white space is one blank
	prefix       bool   // of opWords: the last word goes on
	pieces       []piece
	flags        mail.Flags
	from, before int64
	folders      []mail.FolderID
	ranges       [][2]mail.UID
	pos          int
}

// Query is a parsed query. It is read-only once folders and UIDs are bound, and then safe for concurrent use.
type Query struct {
	root *node
}

// Parse reads a query in either language. It is IMAP SEARCH (RFC 9051 6.4.4) if it begins with one of its keys in capitals, or
// in any case if all of it can be read so and it has a quoted string. Else it is the language of mail programs. now is what
// ages count from. Invalid: it cannot be read; the message says where and why.
func Parse(s string, now time.Time) (*Query, error) {
	if len(s) > MaxLength {
		return nil, failed(MaxLength, fmt.Sprintf("a query has at most %d bytes", MaxLength))
	}
	if i := badText(s); i >= 0 {
		return nil, failed(i, "this is not text")
	}
	capitals, key := firstKey(s)
	if key {
		root, err := parseIMAP(s, now)
		if err == nil && (capitals || strings.Contains(s, `"`)) || err != nil && capitals {
			return &Query{root}, err
		}
	}
	root, err := parseMail(s, now)
	return &Query{root}, err
}

func badText(s string) int {
	for i, r := range s {
		if r == 0xfffd && !strings.HasPrefix(s[i:], "\uFFFD") || r < ' ' && r != '\t' && r != '\r' && r != '\n' {
			return i
		}
	}
	return -1
}

// failed is an error in a query after pos characters.
func failed(pos int, msg string) error {
	return mail.E(mail.Invalid, "read the query", fmt.Sprintf("search_query_native, at character %d: %s", pos+1, msg), nil)
}

// BindFolders turns the names of folders in the query into ids; resolve returns none for a name that it does not know, which
// is an error that says where.
func (q *Query) BindFolders(resolve func(name string) ([]mail.FolderID, error)) error {
	return q.root.walk(func(n *node) error {
		if n.op != opFolder {
			return nil
		}
		ids, err := resolve(n.name)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return failed(n.pos, "there is no folder with this id, name or role")
		}
		n.folders = ids
		return nil
	})
}

// BindUIDs says in which folders the UIDs of the query are; nil is any.
func (q *Query) BindUIDs(in []mail.FolderID) {
	_ = q.root.walk(func(n *node) error {
		if n.op == opUID {
			n.folders = in
		}
		return nil
	})
}

// HasFolders tells whether there is something to bind.
func (q *Query) HasFolders() bool { return q.any(opFolder) }

// NeedsText tells whether Match looks at anything of Doc.Text or Doc.SentDay.
func (q *Query) NeedsText() bool { return q.any(opHas, opWords, opHeader, opSent) }

// NeedsRow tells whether Match looks at what is neither Text, SentDay nor Places.
func (q *Query) NeedsRow() bool { return q.any(opFlag, opKeyword, opReceived, opSize, opAttachment) }

// NeedsPlaces tells whether Match looks at Doc.Places.
func (q *Query) NeedsPlaces() bool { return q.any(opFolder, opUID) }

func (q *Query) any(ops ...op) bool {
	found := false
	_ = q.root.walk(func(n *node) error {
		for _, o := range ops {
			found = found || n.op == o
		}
		return nil
	})
	return found
}

func (n *node) walk(fn func(*node) error) error {
	if err := fn(n); err != nil {
		return err
	}
	for _, k := range n.kids {
		if err := k.walk(fn); err != nil {
			return err
		}
	}
	return nil
}

// Conditions are what every matching message fulfils, for an index that serves them. Zero values ask nothing.
type Conditions struct {
	Seen, Flagged, Draft, Attachment *bool
	Since, Before                    time.Time // received, Since <= t < Before
	Folders                          []mail.FolderID
}

// Conditions returns the conditions that the query makes as a whole.
func (q *Query) Conditions() Conditions {
	var c Conditions
	parts := []*node{q.root}
	for len(parts) > 0 {
		n, want := parts[0], true
		parts = parts[1:]
		if n.op == opAnd {
			parts = append(parts, n.kids...)
			continue
		}
		if n.op == opNot {
			n, want = n.kids[0], false
		}
		switch {
		case n.op == opFlag && n.flags == mail.FlagSeen:
			c.Seen = &want
		case n.op == opFlag && n.flags == mail.FlagFlagged:
			c.Flagged = &want
		case n.op == opFlag && n.flags == mail.FlagDraft:
			c.Draft = &want
		case n.op == opAttachment:
			c.Attachment = &want
		case n.op == opReceived && want:
			if t := time.Unix(n.from, 0).UTC(); n.from > minTime && t.After(c.Since) {
				c.Since = t
			}
			if t := time.Unix(n.before, 0).UTC(); n.before < maxTime && (c.Before.IsZero() || t.Before(c.Before)) {
				c.Before = t
			}
		case n.op == opFolder && want && c.Folders == nil:
			c.Folders = n.folders
		}
	}
	return c
}

// The bounds of open ranges.
const (
	minTime = -1 << 62
	maxTime = 1 << 62
)

func and(kids []*node) *node { return group(opAnd, kids) }
func or(kids []*node) *node  { return group(opOr, kids) }

func group(o op, kids []*node) *node {
	switch len(kids) {
	case 0:
		return &node{op: opAll}
	case 1:
		return kids[0]
	}
	return &node{op: o, kids: kids}
}

func not(n *node) *node {
	if n.op == opNot {
		return n.kids[0]
	}
	return &node{op: opNot, kids: []*node{n}}
}

// has asks for a piece of text.
func has(f Fields, text string, pos int) *node {
	folded := Fold(text)
	return &node{op: opHas, fields: f, text: folded, line: OneLine(folded), pieces: cut(Strip(folded), true, true), pos: pos}
}

// OneLine makes every white space one blank, as Doc has header fields; the ends stay blank.
func OneLine(s string) string {
	out := strings.Join(strings.Fields(s), " ")
	if out == "" {
		return s
	}
	if strings.IndexByte(" \t\n", s[0]) >= 0 {
		out = " " + out
	}
	if strings.IndexByte(" \t\n", s[len(s)-1]) >= 0 {
		out += " "
	}
	return out
}

// words asks for whole words one after the other. Text without any word is asked for as it stands.
func words(f Fields, text string, prefix bool, pos int) *node {
	folded := Fold(text)
	plain := Strip(folded)
	if ps := cut(plain, false, prefix); len(ps) > 0 {
		return &node{op: opWords, fields: f, text: plain, prefix: prefix, pieces: ps, pos: pos}
	}
	return has(f, strings.TrimSpace(text), pos)
}
