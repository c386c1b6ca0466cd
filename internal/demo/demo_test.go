package demo

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *Mailbox {
	t.Helper()
	m, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func login(t *testing.T, m *Mailbox, o *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(m.Addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(m.Username, m.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestListAndFetch(t *testing.T) {
	t.Parallel()
	m := start(t)
	c := login(t, m, nil)
	folders, err := c.List("", "*", &imap.ListOptions{
		ReturnSpecialUse: true, ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]imap.MailboxAttr{"Archive": imap.MailboxAttrArchive, "Büro": "", "Drafts": imap.MailboxAttrDrafts, "INBOX": "",
		"Junk": imap.MailboxAttrJunk, "Sent": imap.MailboxAttrSent, "Trash": imap.MailboxAttrTrash}
	total := 0
	for _, f := range folders {
		use, ok := want[f.Mailbox]
		if !ok || use != "" && !slices.Contains(f.Attrs, use) {
			t.Errorf("%s has %v", f.Mailbox, f.Attrs)
		}
		delete(want, f.Mailbox)
		if f.Status == nil || f.Status.NumMessages == nil || f.Status.UIDValidity < 1000 {
			t.Fatalf("%s: status %+v", f.Mailbox, f.Status)
		}
		sel, err := c.Select(f.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if sel.UIDValidity != f.Status.UIDValidity || sel.NumMessages != *f.Status.NumMessages {
			t.Errorf("%s: SELECT %+v, STATUS %+v", f.Mailbox, sel, f.Status)
		}
		section := &imap.FetchItemBodySection{Peek: true}
		rows, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			total++
			checkReadable(t, r.FindBodySection(section), r.Envelope.Subject)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if total < 36 {
		t.Errorf("%d messages", total)
	}
}

// checkReadable reads a message with a parser that is not ours.
func checkReadable(t *testing.T, raw []byte, subject string) {
	t.Helper()
	if strings.Contains(strings.ReplaceAll(string(raw), "\r\n", ""), "\n") {
		t.Errorf("%q has bare line feeds", subject)
	}
	r, err := mail.CreateReader(strings.NewReader(string(raw)))
	if err != nil && r == nil {
		t.Errorf("%q: %v", subject, err)
		return
	}
	id, err := r.Header.MessageID()
	if err != nil || id == "" {
		t.Errorf("%q: Message-ID %q %v", subject, id, err)
	}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return
		}
		if err != nil && !strings.Contains(err.Error(), "charset") {
			t.Errorf("%q: %v", subject, err)
			return
		}
		if p == nil {
			return
		}
		if _, err := io.Copy(io.Discard, p.Body); err != nil {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

func TestRepliesNameTheirParents(t *testing.T) {
	t.Parallel()
	raws := map[string]bool{}
	parent := sent{id: "<p@x.test>", refs: []string{"<q@x.test>"}, subject: "Re: hello"}
	raw, s := letter{from: grace, text: "x\n"}.compose(time.Unix(0, 0), "u", &parent)
	if s.subject != "Re: hello" || !slices.Equal(s.refs, []string{"<q@x.test>", "<p@x.test>"}) {
		t.Errorf("%+v", s)
	}
	raws[string(raw)] = true
	if !strings.Contains(string(raw), "In-Reply-To: <p@x.test>\r\nReferences: <q@x.test>\r\n\t<p@x.test>\r\n") {
		t.Errorf("%s", raw)
	}
}

func TestIdleTellsDelivery(t *testing.T) {
	t.Parallel()
	m := start(t)
	exists := make(chan uint32, 16)
	flags := make(chan struct{}, 16)
	c := login(t, m, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		},
		Fetch: func(msg *imapclient.FetchMessageData) {
			msg.Collect()
			flags <- struct{}{}
		},
	}})
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Deliver(4); err != nil {
		t.Fatal(err)
	}
	for n := uint32(0); n < sel.NumMessages+4; {
		n = <-exists
	}
	if err := m.mark(1, imap.FlagFlagged); err != nil {
		t.Fatal(err)
	}
	<-flags
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestMoveKeepsTheMessage(t *testing.T) {
	t.Parallel()
	m := start(t)
	c := login(t, m, nil)
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.Move(imap.UIDSetNum(1), "Archive").Wait()
	if err != nil {
		t.Fatal(err)
	}
	status, err := c.Status("Archive", &imap.StatusOptions{UIDValidity: true, NumMessages: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if data.UIDValidity != status.UIDValidity {
		t.Errorf("COPYUID says %d, STATUS %d", data.UIDValidity, status.UIDValidity)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(found.AllUIDs()); got != int(sel.NumMessages)-1 {
		t.Errorf("%d of %d left", got, sel.NumMessages)
	}
}

func TestSentMailArrives(t *testing.T) {
	t.Parallel()
	m := start(t)
	c, err := smtp.Dial(m.SMTPAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("x@example.com", nil); err == nil {
		t.Error("accepted without login")
	}
	if err := c.Auth(sasl.NewPlainClient("", m.Username, "wrong")); err == nil {
		t.Error("accepted a wrong password")
	}
	if err := c.Auth(sasl.NewPlainClient("", m.Username, m.Password)); err != nil {
		t.Fatal(err)
	}
	body := "From: nora@example.com\r\nTo: grace@kite.test\r\nSubject: sent by SMTP\r\n\r\nhello\r\n"
	if err := c.SendMail("nora@example.com", []string{"grace@kite.test"}, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	ic := login(t, m, nil)
	if _, err := ic.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := ic.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "sent by SMTP"}}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(found.AllUIDs()) != 1 {
		t.Errorf("found %v", found.AllUIDs())
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, time.Millisecond) }()
	c := login(t, m, nil)
	for n := 0; n < 5; { // mail arrives on its own
		status, err := c.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		n = m.n
		m.mu.Unlock()
		if int(*status.NumMessages) == 0 {
			t.Fatal("INBOX is empty")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m.Stop()
	m.Stop()
}
