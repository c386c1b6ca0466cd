package submit

import (
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-smtp"
	"golang.org/x/net/idna"
)

// Message is what is handed over.
type Message struct {
	From string
	To   []string

	Size     int64 // of Body, about
	EightBit bool  // there are bytes above 127 in it
	UTF8     bool  // and such are in its header (RFC 6532)
	Body     io.Reader

	// Commit is called when the server has everything but the mark of the end, without which it keeps nothing. If it
	// fails, the mark is not sent.
	Commit func(taken []string) error
}

// Report says what the server answered.
type Report struct {
	Answers []*smtp.SMTPError // one for each recipient: nil, the server takes it, or why it does not
	Ended   bool              // the mark of the end was sent
}

// Taken returns how many recipients the server takes.
func (r Report) Taken() int {
	n := 0
	for _, a := range r.Answers {
		if a == nil {
			n++
		}
	}
	return n
}

// Send hands a message over for all recipients that the server takes. Without an error the server is responsible for it
// now, for those; if it takes none, nothing was sent.
//
// An error that is an [*smtp.SMTPError] is the server's refusal of the message. With any other error the connection is of
// no use any more; then it was not sent if Report.Ended is false, and nobody knows if it is true.
//
// What the server cannot take is refused here, before anything is sent, with the codes that servers use for it: 552 5.3.4
// larger than its limit (RFC 1870), 553 5.6.7 addresses or header beyond ASCII (RFC 6531 3.5), 554 5.6.3 eight-bit content
// (RFC 6152), 553 5.1.7 and 553 5.1.3 addresses of a sender or recipient that would break out of the command.
func (c *Conn) Send(m Message) (Report, error) {
	var r Report
	from, wide := envelope(m.From)
	to := make([]string, len(m.To))
	utf8 := m.UTF8 || wide
	for i, a := range m.To {
		to[i], wide = envelope(a)
		utf8 = utf8 || wide
	}
	if malformed(from) {
		return r, refusal(553, 5, 1, 7, "the address is malformed")
	}
	if limit, ok := c.c.MaxMessageSize(); ok && limit > 0 && m.Size > int64(limit) {
		return r, refusal(552, 5, 3, 4, "the message is larger than the server's limit")
	}
	if ok, _ := c.c.Extension("SMTPUTF8"); utf8 && !ok {
		return r, refusal(553, 5, 6, 7, "the server does not take addresses or headers beyond ASCII")
	}
	if ok, _ := c.c.Extension("8BITMIME"); m.EightBit && !ok {
		return r, refusal(554, 5, 6, 3, "the server does not take eight-bit content")
	}
	if err := c.c.Mail(from, &smtp.MailOptions{Size: m.Size, UTF8: utf8}); err != nil {
		return r, c.bounded(err)
	}
	var taken []string
	for i, a := range to {
		if malformed(a) {
			r.Answers = append(r.Answers, refusal(553, 5, 1, 3, "the address is malformed"))
			continue
		}
		err := c.bounded(c.c.Rcpt(a, nil))
		var said *smtp.SMTPError
		switch {
		case err == nil:
			taken = append(taken, m.To[i])
		case errors.As(err, &said) && said.Code != 421:
		default:
			return Report{}, err
		}
		r.Answers = append(r.Answers, said)
	}
	if len(taken) == 0 {
		return r, c.bounded(c.c.Reset())
	}
	var said *smtp.SMTPError
	w, err := c.c.Data()
	if err = c.bounded(err); err != nil {
		if errors.As(err, &said) { // else it may be waiting for the message
			_ = c.c.Reset() // if that fails too, so will what comes next
		}
		return r, err
	}
	if _, err = io.Copy(w, m.Body); err == nil {
		err = m.Commit(taken)
	}
	if err != nil {
		c.Close()
		return r, c.bounded(err)
	}
	wait := c.wire.wait.Swap(int64(c.accept))
	r.Ended = true
	_, err = w.CloseWithResponse()
	c.wire.wait.Store(wait)
	if errors.As(err, &said) && said.Code/100 == 2 { // whatever begins with 2 means that the server has it (RFC 5321 4.2.1)
		err = nil
	}
	return r, c.bounded(err)
}

func refusal(code, a, b, d int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{a, b, d}, Message: text}
}

// envelope returns an address as it goes into a command, and whether that needs SMTPUTF8: a domain has a form in ASCII
// (RFC 5891), the part before the @ has none.
func envelope(a string) (string, bool) {
	at := strings.LastIndexByte(a, '@')
	if at >= 0 && !ascii(a[at:]) {
		if d, err := idna.Lookup.ToASCII(a[at+1:]); err == nil {
			a = a[:at+1] + d
		}
	}
	return a, !ascii(a)
}

// malformed tells whether an address would be more than one in the command `<address>`: only a quoted local part may hold
// blanks and angle brackets (RFC 5321 4.1.2).
func malformed(a string) bool {
	if strings.ContainsFunc(a, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return true
	}
	end := strings.LastIndexByte(a, '"')
	return end >= 0 && a[0] != '"' || strings.ContainsAny(a[end+1:], " <>")
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
