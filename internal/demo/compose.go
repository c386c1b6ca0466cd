package demo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
)

const rfc5322 = "Mon, 02 Jan 2006 15:04:05 -0700"

// person is a correspondent. All of them are invented.
type person struct{ name, addr string }

// letter is one sample message before it is written down.
type letter struct {
	folder     string
	key        string // what a later letter calls it in re
	re         string // the key of the letter this one answers
	answerable bool   // live replies may go to it
	ago        time.Duration
	from       person
	to, cc     []person // to: the owner when empty
	subject    string   // a reply gets its own, with Re:
	text, html string
	charset    string // "" is UTF-8
	files      []attachment
	headers    []string // further header lines
	body       string   // instead of text and html: everything after the common header fields, Content-Type first
	flags      []imap.Flag
}

// attachment is one file of a letter.
type attachment struct {
	name, kind string
	data       []byte
	cid        string // set: shown inline in the HTML
}

var charsets = map[string]encoding.Encoding{
	"iso-8859-1": charmap.ISO8859_1, "iso-8859-2": charmap.ISO8859_2, "koi8-r": charmap.KOI8R, "windows-1256": charmap.Windows1256,
	"iso-2022-jp": japanese.ISO2022JP, "gb18030": simplifiedchinese.GB18030,
}

// writer writes text of one charset.
type writer struct {
	bytes.Buffer
	charset string
}

// in converts s to the charset of the letter.
func (w *writer) in(s string) string {
	if e, ok := charsets[w.charset]; ok {
		if out, err := e.NewEncoder().String(s); err == nil {
			return out
		}
	}
	return s
}

// word writes s for a header field (RFC 2047).
func (w *writer) word(s string) string {
	if ascii(s) {
		return s
	}
	if w.charset == "utf-8" || w.charset == "iso-8859-1" {
		return mime.QEncoding.Encode(w.charset, w.in(s))
	}
	if w.charset == "iso-2022-jp" {
		return "=?iso-2022-jp?B?" + base64.StdEncoding.EncodeToString([]byte(w.in(s))) + "?="
	}
	return mime.BEncoding.Encode(w.charset, w.in(s))
}

func (w *writer) people(ps []person) string {
	var all []string
	for _, p := range ps {
		if p.name == "" {
			all = append(all, p.addr)
		} else {
			all = append(all, w.word(p.name)+" <"+p.addr+">")
		}
	}
	return strings.Join(all, ",\r\n\t")
}

// line writes one header field or body line.
func (w *writer) line(format string, v ...any) { fmt.Fprintf(w, format+"\r\n", v...) }

// part writes the header and the body of a text part.
func (w *writer) part(kind, text string) {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	w.line("Content-Type: %s; charset=%s", kind, w.charset)
	switch {
	case w.charset == "iso-2022-jp" || ascii(text) && kind == "text/plain":
		w.line("Content-Transfer-Encoding: 7bit\r\n")
		w.line("%s", w.in(text))
	case w.charset == "gb18030" || w.charset == "windows-1256":
		w.line("Content-Transfer-Encoding: base64\r\n")
		w.wrapped([]byte(w.in(text)))
	case w.charset == "koi8-r":
		w.line("Content-Transfer-Encoding: 8bit\r\n")
		w.line("%s", w.in(text))
	default:
		w.line("Content-Transfer-Encoding: quoted-printable\r\n")
		q := quotedprintable.NewWriter(&w.Buffer)
		q.Write([]byte(w.in(text)))
		q.Close()
		w.line("")
	}
}

func (w *writer) wrapped(data []byte) {
	s := base64.StdEncoding.EncodeToString(data)
	for len(s) > 76 {
		w.line("%s", s[:76])
		s = s[76:]
	}
	w.line("%s", s)
}

// multipart writes a multipart of the given parts.
func (w *writer) multipart(kind, id string, parts ...func()) {
	boundary := "=_" + kind + "." + id
	w.line("Content-Type: multipart/%s; boundary=\"%s\"\r\n", kind, boundary)
	for _, part := range parts {
		w.line("--%s", boundary)
		part()
	}
	w.line("--%s--", boundary)
}

func (w *writer) attach(a attachment) {
	name := a.name
	if !ascii(name) {
		name = w.word(name)
	}
	w.line("Content-Type: %s; name=\"%s\"", a.kind, name)
	if a.cid != "" {
		w.line("Content-ID: <%s>", a.cid)
		w.line("Content-Disposition: inline; filename=\"%s\"", name)
	} else if ascii(a.name) {
		w.line("Content-Disposition: attachment; filename=\"%s\"", a.name)
	} else {
		w.line("Content-Disposition: %s", mime.FormatMediaType("attachment", map[string]string{"filename": a.name})) // RFC 2231
	}
	w.line("Content-Transfer-Encoding: base64\r\n")
	w.wrapped(a.data)
}

// compose writes the letter down. The unique string goes into its Message-ID and boundaries.
func (l letter) compose(at time.Time, unique string, parent *sent) ([]byte, sent) {
	w := &writer{charset: l.charset}
	if w.charset == "" {
		w.charset = "utf-8"
	}
	_, host, _ := strings.Cut(l.from.addr, "@")
	s := sent{id: "<" + unique + "@" + host + ">", subject: l.subject, from: l.from}
	to := l.to
	if len(to) == 0 {
		to = []person{owner}
	}
	if l.from.addr != owner.addr {
		w.line("Return-Path: <%s>", l.from.addr)
		w.line("Received: from mx.%s by mail.example.com with ESMTPS; %s", host, at.Format(rfc5322))
	}
	w.line("Date: %s", at.Add(-3*time.Second).Format(rfc5322))
	w.line("From: %s", w.people([]person{l.from}))
	w.line("To: %s", w.people(to))
	if len(l.cc) > 0 {
		w.line("Cc: %s", w.people(l.cc))
	}
	if parent != nil {
		if s.subject == "" {
			s.subject = "Re: " + strings.TrimPrefix(parent.subject, "Re: ")
		}
		s.refs = append(append([]string{}, parent.refs...), parent.id)
		w.line("In-Reply-To: %s", parent.id)
		w.line("References: %s", strings.Join(s.refs, "\r\n\t"))
	}
	w.line("Subject: %s", w.word(s.subject))
	w.line("Message-ID: %s", s.id)
	for _, h := range l.headers {
		w.line("%s", h)
	}
	w.line("MIME-Version: 1.0")
	if l.body != "" {
		w.WriteString(strings.ReplaceAll(strings.ReplaceAll(l.body, "{stamp}", at.UTC().Format("20060102T150405Z")), "\n", "\r\n"))
		return w.Bytes(), s
	}

	text := func() { w.part("text/plain", l.text) }
	content := text
	if l.html != "" {
		var related []func()
		for _, a := range l.files {
			if a.cid != "" {
				related = append(related, func() { w.attach(a) })
			}
		}
		html := func() { w.part("text/html", l.html) }
		if len(related) > 0 {
			page := html
			html = func() { w.multipart("related", unique, append([]func(){page}, related...)...) }
		}
		content = html
		if l.text != "" {
			content = func() { w.multipart("alternative", unique, text, html) }
		}
	}
	parts := []func(){content}
	for _, a := range l.files {
		if a.cid == "" {
			parts = append(parts, func() { w.attach(a) })
		}
	}
	if len(parts) > 1 {
		w.multipart("mixed", unique, parts...)
	} else {
		content()
	}
	return w.Bytes(), s
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] < 0x20 && s[i] != '\n' && s[i] != '\r' && s[i] != '\t' {
			return false
		}
	}
	return true
}
