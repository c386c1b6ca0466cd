package demo

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// maxMessage bounds what the sample server takes, as real ones do.
const maxMessage = 35 << 20

func (m *Mailbox) smtpServer() *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &submission{m: m}, nil }))
	s.Domain = "mail.example.com"
	s.AllowInsecureAuth = true // loopback only
	s.EnableSMTPUTF8 = true
	s.MaxMessageBytes = maxMessage
	s.MaxRecipients = 100
	s.ReadTimeout, s.WriteTimeout = 5*time.Minute, time.Minute
	s.ErrorLog = printer{m.log}
	return s
}

// submission is one SMTP session. Whatever is sent, to whomever, arrives in the sample mailbox.
type submission struct {
	m    *Mailbox
	in   bool // logged in
	from string
}

func (s *submission) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *submission) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.m.Username || subtle.ConstantTimeCompare([]byte(password), []byte(s.m.Password)) != 1 {
			return smtp.ErrAuthFailed
		}
		s.in = true
		return nil
	}), nil
}

func (s *submission) Reset()        { s.from = "" }
func (s *submission) Logout() error { return nil }

func (s *submission) Mail(from string, _ *smtp.MailOptions) error {
	if !s.in {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *submission) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s *submission) Data(r io.Reader) error {
	at := s.m.now()
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "Return-Path: <%s>\r\nDelivered-To: %s\r\nReceived: from localhost by mail.example.com with ESMTPA; %s\r\n",
		s.from, s.m.Username, at.Format(rfc5322))
	if _, err := raw.ReadFrom(r); err != nil {
		return err
	}
	return s.m.put("INBOX", raw.Bytes(), nil, at)
}
