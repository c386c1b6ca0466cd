package imap

import (
	"context"
	"errors"
)

// NotifyFilter says which mailboxes a NotifyGroup is about (RFC 5465 6).
type NotifyFilter string

const (
	NotifySelected        NotifyFilter = "SELECTED"         // the open mailbox, expunges at once: only for those who use UIDs
	NotifySelectedDelayed NotifyFilter = "SELECTED-DELAYED" // the open mailbox, expunges with the next command or IDLE
	NotifyInboxes         NotifyFilter = "INBOXES"          // those that new mail is delivered to
	NotifyPersonal        NotifyFilter = "PERSONAL"         // all of the user's own
	NotifySubscribed      NotifyFilter = "SUBSCRIBED"
	NotifySubtree         NotifyFilter = "SUBTREE"   // NotifyGroup.Mailboxes and those below
	NotifyMailboxes       NotifyFilter = "MAILBOXES" // NotifyGroup.Mailboxes
)

// NotifyEvent is something that happens (RFC 5465 5).
type NotifyEvent string

const (
	NotifyNew          NotifyEvent = "MessageNew" // needs NotifyExpunge beside it, and so the other way round
	NotifyExpunge      NotifyEvent = "MessageExpunge"
	NotifyFlags        NotifyEvent = "FlagChange"
	NotifyMailboxName  NotifyEvent = "MailboxName" // made, renamed, deleted
	NotifySubscription NotifyEvent = "SubscriptionChange"
)

// NotifyGroup says what to tell of some mailboxes.
type NotifyGroup struct {
	Filter    NotifyFilter
	Mailboxes []string      // for NotifySubtree and NotifyMailboxes
	Events    []NotifyEvent // empty: nothing
	// Fetch is what to tell of new messages in the open mailbox; nil: that there is one (EXISTS). For NotifySelected and
	// NotifySelectedDelayed only.
	Fetch *FetchOptions
}

var (
	errNoNotify = errors.New("server does not offer NOTIFY")
	errFilter   = errors.New("unknown notify filter")
)

// Notify asks the server to tell of changes in many mailboxes on this one connection (NOTIFY SET, RFC 5465 3.1). status
// asks for the state of the mailboxes right away. No groups turns it off (NOTIFY NONE).
//
// The news come to Options.OnUnilateral: of the open mailbox as ever, of others as KindMailboxStatus and KindMailbox; they
// are heard while a command runs, in Idle, and in Listen. A KindStatus with code NOTIFICATIONOVERFLOW says that the
// server has given up and NOTIFY is off. A refusal with code BADEVENT means that it can't tell one of the events.
func (s *Session) Notify(ctx context.Context, status bool, groups ...NotifyGroup) error {
	if !s.Caps().Has("NOTIFY") {
		return &Error{Class: Permanent, Cmd: "NOTIFY", Err: errNoNotify}
	}
	s.notify = s.notify || len(groups) > 0
	_, err := s.run(ctx, "NOTIFY", func(l *line) {
		if len(groups) == 0 {
			l.text(" NONE")
			return
		}
		l.text(" SET")
		l.limit = s.o.Limits.Command
		if status {
			l.text(" STATUS")
		}
		for i := range groups {
			s.notifyGroup(l, &groups[i])
		}
	}, nil)
	return err
}

// notifyGroup writes `(filter (events))` (RFC 5465 8).
func (s *Session) notifyGroup(l *line, g *NotifyGroup) {
	l.text(" (" + string(g.Filter))
	open := false
	switch g.Filter {
	case NotifySelected, NotifySelectedDelayed:
		open = true
	case NotifyInboxes, NotifyPersonal, NotifySubscribed:
	case NotifySubtree, NotifyMailboxes:
		l.text(" (")
		for i, raw := range g.Mailboxes {
			if i > 0 {
				l.text(" ")
			}
			l.str(raw)
		}
		l.text(")")
	default:
		l.err = errFilter
	}
	if len(g.Events) == 0 {
		l.text(" NONE)")
		return
	}
	for i, e := range g.Events {
		l.text([]string{" (", " "}[min(i, 1)])
		l.atom(string(e))
		if e == NotifyNew && open && g.Fetch != nil {
			s.fetchItems(l, g.Fetch)
		}
	}
	l.text("))")
}
