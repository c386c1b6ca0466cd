package demo

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// literal is a message as the memory server takes it.
func literal(raw []byte) imap.LiteralReader { return bytes.NewReader(raw) }

// printer is the logger that both servers want.
type printer struct{ log *slog.Logger }

func (p printer) Printf(format string, v ...any) { p.log.Debug(fmt.Sprintf(format, v...)) }
func (p printer) Println(v ...any)               { p.log.Debug(fmt.Sprint(v...)) }

func (m *Mailbox) imapServer() *imapserver.Server {
	return imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.stopped { // accepted a moment ago: the server does not close it by itself
				return nil, nil, &imap.Error{Type: imap.StatusResponseTypeBye, Text: "stopped"}
			}
			m.open.Add(1)
			return &session{UserSession: imapmemserver.NewUserSession(m.user), m: m}, nil, nil
		},
		Caps: imap.CapSet{
			imap.CapIMAP4rev1: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapESearch: {}, imap.CapListExtended: {},
			imap.CapListStatus: {}, imap.CapMove: {}, imap.CapStatusSize: {}, imap.CapSpecialUse: {}, imap.CapChildren: {},
			imap.CapLiteralPlus: {},
		},
		Logger:       printer{m.log},
		InsecureAuth: true, // loopback only
	})
}

// session adds to the memory server what it lacks: special-use attributes, UIDVALIDITY values that differ between two starts,
// and an IDLE that does not overlook what happened just before it.
type session struct {
	*imapmemserver.UserSession
	m *Mailbox
}

func (s *session) Close() error {
	defer s.m.open.Done()
	return s.UserSession.Close()
}

func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, o *imap.ListOptions) error {
	const delim = '/'
	if len(patterns) == 0 {
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: delim})
	}
	s.m.mu.Lock()
	folders := maps.Clone(s.m.folders)
	s.m.mu.Unlock()
	names := slices.Sorted(maps.Keys(folders))
	for _, name := range names {
		matches := func(p string) bool { return imapserver.MatchList(name, delim, ref, p) }
		use := folders[name]
		if !slices.ContainsFunc(patterns, matches) || o.SelectSpecialUse && use == "" {
			continue
		}
		data := &imap.ListData{Mailbox: name, Delim: delim}
		child := func(other string) bool { return strings.HasPrefix(other, name+string(delim)) }
		if slices.ContainsFunc(names, child) {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasChildren)
		} else {
			data.Attrs = append(data.Attrs, imap.MailboxAttrHasNoChildren)
		}
		if o.ReturnSubscribed || o.SelectSubscribed {
			data.Attrs = append(data.Attrs, imap.MailboxAttrSubscribed)
		}
		if use != "" {
			data.Attrs = append(data.Attrs, use)
		}
		if o.ReturnStatus != nil {
			status, err := s.Status(name, o.ReturnStatus)
			if err != nil {
				continue // deleted meanwhile
			}
			data.Status = status
		}
		if err := w.WriteList(data); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Create(name string, o *imap.CreateOptions) error {
	if err := s.UserSession.Create(name, o); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.folders[strings.TrimRight(name, "/")] = ""
	return nil
}

func (s *session) Delete(name string) error {
	if err := s.UserSession.Delete(name); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.folders, name)
	return nil
}

func (s *session) Rename(from, to string, o *imap.RenameOptions) error {
	if err := s.UserSession.Rename(from, to, o); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.folders[strings.TrimRight(to, "/")] = s.m.folders[from]
	delete(s.m.folders, from)
	return nil
}

func (s *session) Select(name string, o *imap.SelectOptions) (*imap.SelectData, error) {
	data, err := s.UserSession.Select(name, o)
	if err == nil {
		data.UIDValidity += s.m.validity
	}
	return data, err
}

func (s *session) Status(name string, o *imap.StatusOptions) (*imap.StatusData, error) {
	data, err := s.UserSession.Status(name, o)
	if err == nil && o.UIDValidity {
		data.UIDValidity += s.m.validity
	}
	return data, err
}

func (s *session) Append(name string, r imap.LiteralReader, o *imap.AppendOptions) (*imap.AppendData, error) {
	data, err := s.UserSession.Append(name, r, o)
	if err == nil {
		data.UIDValidity += s.m.validity
	}
	return data, err
}

func (s *session) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	data, err := s.UserSession.Copy(set, dest)
	if err == nil {
		data.UIDValidity += s.m.validity
	}
	return data, err
}

// Move copies, tells the new UIDs and expunges the originals; the server then announces that at the end of the command.
func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	data, err := s.Copy(set, dest)
	if err != nil {
		return err
	}
	if err := w.WriteCopyData(data); err != nil {
		return err
	}
	gone := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := s.Store(nil, data.SourceUIDs, gone, nil); err != nil {
		return err
	}
	return s.Expunge(nil, &data.SourceUIDs)
}

// idleRound bounds how late an update can be that came between the last command and IDLE.
const idleRound = time.Second

func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	for {
		if err := s.Poll(w, true); err != nil {
			return err
		}
		round := make(chan struct{})
		timer := time.AfterFunc(idleRound, func() { close(round) })
		ended := make(chan error, 1)
		go func() { ended <- s.UserSession.Idle(w, round) }()
		select {
		case <-stop:
			if timer.Stop() {
				close(round)
			}
			return <-ended
		case <-round:
			if err := <-ended; err != nil {
				return err
			}
		}
	}
}
