package corpus

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
)

// respect is a respect in which Dovecot's SEARCH reads messages differently; docs/search.md has them all.
type respect uint

const (
	bySource    respect = 1 << iota // HTML is what its source says, not what a reader sees
	allHeaders                      // TEXT looks into signatures and traces, and into the headers of parts
	noForwards                      // BODY does not look at the headers of forwarded messages
	asDeclared                      // bytes outside the declared charset are no text
	asOneText                       // uuencoded files are text
	plainDates                      // dates of a form of their own count as none, no date as 1970, and one before that as very late
	onlyLF                          // a CR alone ends no line
	asNamed                         // what has a type, a boundary or an encoding that does not fit is not read
	onlyAddress                     // an address ends at its second @, and one without gets one
	blanks                          // white space of encoded words is as it stands
	byWord                          // every encoded word stands for itself, also where a character is cut
	lastRespect
)

func (r respect) String() string {
	return map[respect]string{bySource: "HTML by its source", allHeaders: "headers of parts, signatures and traces", noForwards: "headers of forwarded messages",
		asDeclared: "charset missing or wrong", asOneText: "uuencoded files", plainDates: "no date, or an odd one", onlyLF: "lines that end in a bare CR",
		asNamed: "type, boundary or encoding that does not fit", onlyAddress: "an address without domain, or with two @", blanks: "double blanks in encoded words", byWord: "characters cut between encoded words"}[r]
}

var (
	plainDate  = regexp.MustCompile(`^([A-Z][a-z]{2}, *)?\d{1,2} [A-Z][a-z]{2} (\d{4}|\d\d) \d\d:\d\d(:\d\d)? *([+-]\d{4}|[A-Z]{1,3})?( *\(.*\))?$`)
	twoWords   = regexp.MustCompile(`\?=[ \t\r\n]+=\?`)
	fieldLines = regexp.MustCompile(`(?m)^(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+`)
	goodType   = regexp.MustCompile(`^[!#$%&'*+.^_\x60{|}~\w-]+/[!#$%&'*+.^_\x60{|}~\w-]+[ \t]*(;|$)`) // RFC 2045 5.1
	goodCTE    = regexp.MustCompile(`(?i)^(7bit|8bit|binary|quoted-printable|base64)[ \t]*(;|\(|$)`)   // RFC 2045 6.1
	oddCharset = regexp.MustCompile(`(?i)=\?x-ias-[^?]*\?`)
	oddAddress = regexp.MustCompile(`@[^\s<>,]*@[^\s<>,]*`)
)

// readAs reads a message as Posthorn does for search, but for some respects. It knows nothing of the index.
func readAs(raw []byte, how respect) *query.Doc {
	var text [query.NumFields]strings.Builder
	if how&onlyLF != 0 && !bytes.ContainsRune(raw, '\n') {
		raw = bytes.ReplaceAll(raw, []byte("\r"), []byte(" "))
		text[query.Header].WriteString(query.OneLine(string(raw)) + "\n") // all of it is one line of a header
	}
	readInto(&text, raw, how, 0)
	d := &query.Doc{SentDay: query.NoDay}
	for f := range d.Text {
		d.Text[f] = query.Fold(strings.TrimSuffix(text[f].String(), "\n"))
	}
	h := mime.ParseHeader(raw[:headEnd(raw)])
	date := h.Date
	if how&plainDates != 0 {
		switch {
		case date.IsZero(), date.Year() > 2100, !plainDate.MatchString(query.OneLine(strings.TrimSpace(h.Header.Get("Date")))):
			date = time.Unix(0, 0).UTC()
		case date.Unix() < 0:
			date = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		}
	}
	if !date.IsZero() {
		y, m, day := date.Date()
		d.SentDay = int32(time.Date(y, m, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
	}
	return d
}

func readInto(text *[query.NumFields]strings.Builder, raw []byte, how respect, depth int) {
	m, err := mime.Parse(bytes.NewReader(raw), mime.Options{NoDetect: how&asDeclared != 0, NoEmbed: how&asOneText != 0})
	if err != nil {
		panic(err)
	}
	add := func(f query.Field, s string) {
		if how&asDeclared != 0 {
			s = strict(raw, m, s)
		}
		text[f].WriteString(s + "\n")
	}
	for _, f := range m.Header {
		name, value := strings.ToLower(f.Name), f.Value
		if how&asDeclared != 0 {
			value = oddCharset.ReplaceAllString(strings.ToValidUTF8(value, "\uFFFD"), "?")
		}
		if how&blanks != 0 {
			value = m.DecodeField(strings.TrimSpace(query.OneLine(value)))
		} else {
			value = query.OneLine(strings.TrimSpace(m.DecodeField(value)))
		}
		if how&byWord != 0 {
			value = m.DecodeField(strings.TrimSpace(twoWords.ReplaceAllString(f.Value, "?=\x01 =?")))
		}
		if how&onlyAddress != 0 {
			value = oddAddress.ReplaceAllString(value, "$1")
		}
		own, isOwn := query.OwnField(name)
		if how&onlyAddress != 0 && isOwn && own != query.Subject && !strings.Contains(value, "@") {
			value += "@MISSING_DOMAIN"
		}
		switch {
		case depth > 0 && isOwn && how&noForwards == 0:
			add(query.Body, value)
		case depth > 0:
		case isOwn:
			add(own, value)
			add(query.Header, name+": ")
		case query.SignedHeader(name):
			add(query.Signed, name+": "+value)
			add(query.Header, name+": ")
		default:
			add(query.Header, name+": "+value)
		}
	}
	if how&allHeaders != 0 {
		for _, block := range fieldLines.FindAll(raw, -1) { // wherever they stand
			add(query.Header, query.OneLine(mime.DecodeHeader(string(block))))
		}
	}
	if how&asNamed != 0 && (misnamed(raw) || slices.ContainsFunc(m.Problems, func(p string) bool { return strings.HasPrefix(p, "multipart") })) {
		return
	}
	html := m.HTMLAll
	if how&bySource == 0 {
		html = mime.HTMLToText(html)
	}
	add(query.Body, m.TextAll)
	add(query.Body, html)
	for _, a := range m.Attachments {
		add(query.Filename, query.OneLine(a.Name))
		if isText := strings.HasPrefix(a.ContentType, "text/"); !isText && !strings.HasPrefix(a.ContentType, "message/") || a.Embedded != "" {
			continue
		}
		_, r, err := mime.OpenPart(bytes.NewReader(raw), a.ID)
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(r)
		if a.ContentType != "message/rfc822" { // a text, as a message of its own
			kind := "text/plain"
			if a.ContentType == "text/html" {
				kind = a.ContentType
			}
			data = append(fmt.Appendf(nil, "Content-Type: %s; charset=%q\r\n\r\n", kind, a.Charset), data...)
		}
		readInto(text, data, how, depth+1)
	}
}

// misnamed tells whether the header of the message or of a part says what its body is in a way that the standards do not have: a type or
// an encoding out of their grammar, two types, or an encoded message (RFC 2046 5.2.1).
func misnamed(raw []byte) bool {
	for _, block := range fieldLines.FindAll(raw, -1) {
		var types, encodings []string
		for _, f := range mime.ParseHeader(append(block, "\r\n"...)).Header {
			switch strings.ToLower(f.Name) {
			case "content-type":
				types = append(types, query.OneLine(f.Value))
			case "content-transfer-encoding":
				encodings = append(encodings, query.OneLine(f.Value))
			}
		}
		bad := func(list []string, good *regexp.Regexp) bool {
			return slices.ContainsFunc(list, func(s string) bool { return !good.MatchString(strings.TrimSpace(s)) })
		}
		coded := slices.ContainsFunc(encodings, func(s string) bool {
			s = strings.ToLower(s)
			return strings.Contains(s, "base64") || strings.Contains(s, "quoted-printable")
		})
		isMessage := slices.ContainsFunc(types, func(s string) bool { return strings.HasPrefix(strings.ToLower(strings.TrimSpace(s)), "message/") })
		if len(types) > 1 || bad(types, goodType) || bad(encodings, goodCTE) || isMessage && coded {
			return true
		}
	}
	return false
}

// strict takes out of a decoded text what its declared charset does not have.
func strict(raw []byte, m *mime.Message, s string) string {
	gb := simplifiedchinese.HZGB2312.NewEncoder()
	declaredGB := bytes.Contains(bytes.ToLower(raw), []byte("gb2312"))
	wrong := slices.Contains(m.Problems, "charset missing or wrong")
	return strings.Map(func(r rune) rune {
		if r <= 0x7f {
			return r
		}
		if declaredGB {
			if _, err := gb.String(string(r)); err != nil {
				return 0xfffd
			}
		}
		if wrong {
			return 0xfffd
		}
		return r
	}, s)
}

// why returns the fewest respects in which a message has to be read as Dovecot does for the query to have its answer there.
func why(q *query.Query, raw []byte, facts query.Doc, theirs bool) (respect, bool) {
	for n := 1; n <= 2; n++ {
		for how := range lastRespect {
			if bits(how) != n {
				continue
			}
			d := readAs(raw, how)
			d.Flags, d.Keywords, d.Received, d.Size, d.Places = facts.Flags, facts.Keywords, facts.Received, facts.Size, facts.Places
			if q.Match(d) == theirs {
				return how, true
			}
		}
	}
	return 0, false
}

func bits(r respect) (n int) {
	for ; r != 0; r &= r - 1 {
		n++
	}
	return n
}
