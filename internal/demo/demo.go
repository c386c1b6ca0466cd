// Package demo runs a sample mailbox in this process.
//
// It is a real IMAP server and a real SMTP server on loopback, written by others, with invented mail in it. The mail is gone
// when the mailbox stops; every start is a new mailbox to its clients, with new UIDVALIDITY values.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-smtp"
)

// Options say how the sample mailbox is run. The zero value is fine.
type Options struct {
	Log *slog.Logger     // what goes wrong in the servers, at debug level; nil: nowhere
	Now func() time.Time // what the dates of the sample mail count from; nil: time.Now
}

// Mailbox is a running sample mailbox. Both servers speak plaintext and want the login.
type Mailbox struct {
	Addr     string // IMAP, host:port
	SMTPAddr string // SMTP submission, host:port
	Username string // also the address of the owner
	Password string // another one at every start

	log     *slog.Logger
	now     func() time.Time
	user    *imapmemserver.User
	imap    *imapserver.Server
	smtp    *smtp.Server
	listen  [2]net.Listener
	serving sync.WaitGroup // the two accept loops
	open    sync.WaitGroup // IMAP sessions
	stop    sync.Once

	mu       sync.Mutex
	stopped  bool
	validity uint32                      // added to the memory server's UIDVALIDITY values, which always start at 1
	folders  map[string]imap.MailboxAttr // name to special use, "" for none
	threads  []sent                      // what a new message may answer, oldest first
	n        int                         // messages delivered since the start
}

// sent is what a reply needs of the message it answers.
type sent struct {
	id      string
	refs    []string
	subject string
	from    person
}

// Start runs the servers on free ports of 127.0.0.1 and fills the mailbox. The caller stops them.
func Start(ctx context.Context, o Options) (*Mailbox, error) {
	m := &Mailbox{Username: owner.addr, Password: rand.Text(), log: o.Log, now: o.Now, folders: map[string]imap.MailboxAttr{}}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.validity = uint32(m.now().Unix())
	m.user = imapmemserver.NewUser(m.Username, m.Password)
	if err := m.fill(); err != nil {
		return nil, fmt.Errorf("fill the sample mailbox: %w", err)
	}

	var lc net.ListenConfig
	imapListener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	smtpListener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		imapListener.Close()
		return nil, err
	}
	m.Addr, m.SMTPAddr = imapListener.Addr().String(), smtpListener.Addr().String()
	m.listen = [2]net.Listener{imapListener, smtpListener}
	m.imap = m.imapServer()
	m.smtp = m.smtpServer()
	m.serving.Go(func() {
		if err := m.imap.Serve(imapListener); err != nil {
			m.log.Debug("sample IMAP server ended", "err", err)
		}
	})
	m.serving.Go(func() {
		if err := m.smtp.Serve(smtpListener); err != nil {
			m.log.Debug("sample SMTP server ended", "err", err)
		}
	})
	return m, nil
}

// Stop ends both servers and all their sessions. It may be called twice.
func (m *Mailbox) Stop() {
	m.stop.Do(func() {
		m.mu.Lock()
		m.stopped = true
		m.mu.Unlock()
		for _, l := range m.listen {
			l.Close() // the servers do not know theirs yet when they were started a moment ago
		}
		m.imap.Close()
		m.smtp.Close()
		m.serving.Wait()
		m.open.Wait()
	})
}

// fill creates the folders and the sample mail.
func (m *Mailbox) fill() error {
	for _, f := range []struct {
		name string
		use  imap.MailboxAttr
	}{
		{"INBOX", ""}, {"Archive", imap.MailboxAttrArchive}, {"Büro", ""}, {"Drafts", imap.MailboxAttrDrafts},
		{"Junk", imap.MailboxAttrJunk}, {"Sent", imap.MailboxAttrSent}, {"Trash", imap.MailboxAttrTrash},
	} {
		if err := m.user.Create(f.name, nil); err != nil {
			return err
		}
		m.folders[f.name] = f.use
	}
	start := m.now()
	letters := sampleMail()
	slices.SortStableFunc(letters, func(a, b letter) int { return int(b.ago - a.ago) })
	done := map[string]sent{}
	for i, l := range letters {
		var parent *sent
		if l.re != "" {
			p, ok := done[l.re]
			if !ok {
				return fmt.Errorf("%q answers %q, which is not older", l.subject, l.re)
			}
			parent = &p
		}
		at := start.Add(-l.ago)
		raw, s := l.compose(at, fmt.Sprintf("%d.%d", start.Unix(), i), parent)
		if l.key != "" {
			done[l.key] = s
		}
		if l.folder == "INBOX" && l.answerable {
			m.threads = append(m.threads, s)
		}
		if err := m.put(l.folder, raw, l.flags, at); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mailbox) put(folder string, raw []byte, flags []imap.Flag, at time.Time) error {
	_, err := m.user.Append(folder, literal(raw), &imap.AppendOptions{Flags: flags, Time: at})
	return err
}

// Deliver puts n new messages into INBOX. Every third one answers an earlier message.
func (m *Mailbox) Deliver(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		at := m.now()
		l := liveMail[m.n%len(liveMail)]
		var parent *sent
		if m.n%3 == 2 && len(m.threads) > 0 {
			p := m.threads[(m.n*7)%len(m.threads)]
			parent = &p
			l = liveReplies[(m.n/3)%len(liveReplies)]
			l.from = p.from
		}
		m.n++
		raw, s := l.compose(at, fmt.Sprintf("%d.live%d", at.Unix(), m.n), parent)
		m.threads = append(m.threads, s)
		if len(m.threads) > 50 {
			m.threads = m.threads[1:]
		}
		if err := m.put("INBOX", raw, nil, at); err != nil {
			return err
		}
	}
	return nil
}

// Run delivers a message every so often until ctx is done. Now and then it also marks one read or starred, as another
// mail program of the owner would.
func (m *Mailbox) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := m.Deliver(1); err != nil {
			return err
		}
		if i%2 == 0 {
			flag := imap.FlagSeen
			if i%6 == 0 {
				flag = imap.FlagFlagged
			}
			if err := m.mark(i, flag); err != nil {
				return err
			}
		}
	}
}

// mark adds a flag to one message of INBOX, counted from the newest.
func (m *Mailbox) mark(back int, flag imap.Flag) error {
	s := imapmemserver.NewUserSession(m.user)
	defer s.Close()
	data, err := s.Select("INBOX", nil)
	if err != nil || data.NumMessages == 0 {
		return err
	}
	seq := data.NumMessages - uint32(back)%data.NumMessages
	return s.Store(nil, imap.SeqSetNum(seq), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil)
}
