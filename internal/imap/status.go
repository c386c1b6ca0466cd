package imap

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
)

// StatusItem is one thing STATUS can tell.
type StatusItem string

const (
	StatusMessages      StatusItem = "MESSAGES"
	StatusUnseen        StatusItem = "UNSEEN"
	StatusUIDNext       StatusItem = "UIDNEXT"
	StatusUIDValidity   StatusItem = "UIDVALIDITY"
	StatusHighestModSeq StatusItem = "HIGHESTMODSEQ" // CONDSTORE
	StatusSize          StatusItem = "SIZE"          // STATUS=SIZE
	StatusMailboxID     StatusItem = "MAILBOXID"     // OBJECTID
	StatusAppendLimit   StatusItem = "APPENDLIMIT"   // APPENDLIMIT (RFC 7889)
)

// StatusSet is a set of the items that were present in an answer.
type StatusSet uint8

const (
	HasMessages StatusSet = 1 << iota
	HasUnseen
	HasUIDNext
	HasUIDValidity
	HasHighestModSeq
	HasSize
	HasMailboxID
	HasAppendLimit
)

// StatusData is one answer to STATUS. Only the items in Has were given; the others are zero and mean nothing.
type StatusData struct {
	Messages, Unseen     uint32
	UIDNext, UIDValidity uint32
	HighestModSeq        uint64
	Size                 int64
	MailboxID            string
	AppendLimit          int64 // size of the largest message this mailbox takes
	Has                  StatusSet
}

var (
	errNoStatus   = errors.New("server said OK but gave no status")
	errStatusItem = errors.New("unknown status item")
)

// statusItems writes the parenthesised list.
func statusItems(items []StatusItem) (string, error) {
	var b strings.Builder
	for i, it := range items {
		switch it {
		case StatusMessages, StatusUnseen, StatusUIDNext, StatusUIDValidity, StatusHighestModSeq, StatusSize, StatusMailboxID, StatusAppendLimit:
		default:
			return "", &Error{Class: Permanent, Cmd: "STATUS", Err: errStatusItem}
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(it))
	}
	return "(" + b.String() + ")", nil
}

// Status asks for the state of one mailbox that is not open (RFC 3501 6.3.10). Items of extensions must be asked only
// where those are offered.
func (s *Session) Status(ctx context.Context, raw string, items ...StatusItem) (StatusData, error) {
	ok, bad, err := s.Statuses(ctx, []string{raw}, items...)
	if err == nil {
		err = bad[raw]
	}
	return ok[raw], err
}

// Statuses asks for many mailboxes without waiting for one before asking for the next. What the server refuses is
// in the second map; the error is that of the session.
func (s *Session) Statuses(ctx context.Context, raws []string, items ...StatusItem) (map[string]StatusData, map[string]error, error) {
	text, err := statusItems(items)
	if err != nil {
		return nil, nil, err
	}
	if err := s.enter(ctx, "STATUS"); err != nil {
		return nil, nil, err
	}
	defer s.leave()
	got := make(map[string]StatusData, len(raws))
	bad := map[string]error{}
	type sent struct {
		raw string
		c   *command
	}
	var flight []sent
	asked := map[string]bool{}
	h := func(kind string, _ uint32, p *parser) (bool, error) {
		if kind != "STATUS" {
			return false, nil
		}
		raw, d, err := parseStatusData(p)
		if err != nil {
			return false, err
		}
		if !asked[raw] {
			// Spelled differently than asked: INBOX in another case, or normalised. Answers come in order, so then it is the
			// oldest one that has none; or it is news of another mailbox (NOTIFY).
			i := slices.IndexFunc(flight, func(f sent) bool { return strings.EqualFold(f.raw, raw) })
			if i < 0 && !s.notify {
				i = slices.IndexFunc(flight, func(f sent) bool { _, has := got[f.raw]; return !has })
			}
			if i < 0 {
				return false, nil
			}
			raw = flight[i].raw
		}
		got[raw] = d
		return true, nil
	}
	settle := func() {
		for len(flight) > 0 && flight[0].c.done {
			f := flight[0]
			flight = flight[1:]
			_, has := got[f.raw]
			if err := f.c.result(); err != nil {
				bad[f.raw] = err
				delete(got, f.raw)
			} else if !has {
				bad[f.raw] = &Error{Class: Transient, Cmd: "STATUS", Err: errNoStatus}
			}
		}
	}
	for _, raw := range raws {
		if asked[raw] {
			continue
		}
		asked[raw] = true
		l := s.newLine("STATUS")
		l.text(" ")
		l.str(raw)
		l.text(" " + text)
		if l.err != nil {
			bad[raw] = &Error{Class: Permanent, Cmd: "STATUS", Err: l.err}
			continue
		}
		for !s.room(len(l.b)) {
			if err := s.step(h); err != nil {
				return got, bad, err
			}
			settle()
		}
		c, err := s.send("STATUS", l, h)
		if err != nil {
			return got, bad, err
		}
		flight = append(flight, sent{raw, c})
	}
	for len(flight) > 0 {
		if settle(); len(flight) == 0 {
			break
		}
		if err := s.step(h); err != nil {
			return got, bad, err
		}
	}
	return got, bad, nil
}

// Pipelining must never fill both directions of the connection: what is in flight stays below what any socket buffers.
const (
	maxFlight      = 64
	maxFlightBytes = 24 << 10
)

// room reports whether a command of n bytes may join those in flight.
func (s *Session) room(n int) bool {
	if len(s.pending) == 0 {
		return true
	}
	for _, c := range s.pending {
		n += c.size
	}
	return len(s.pending) < maxFlight && n <= maxFlightBytes
}

// parseStatusData reads a STATUS response behind its kind. Values that make no sense count as not given.
func parseStatusData(p *parser) (raw string, d StatusData, err error) {
	// The name may stand there unquoted and with blanks: the list that ends the response is what follows it.
	rest := p.b[p.i:]
	open, depth := -1, 0
	for i := len(rest) - 1; i >= 0 && open < 0; i-- {
		switch rest[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				open = i
			}
		}
	}
	switch p.peek() {
	case '"', '{', '~':
		b, _, err := p.str()
		if err == nil {
			raw = string(b)
			p.space()
		}
		if err != nil || p.peek() != '(' {
			return "", d, errSyntax
		}
	default:
		if open <= 0 {
			return "", d, errSyntax
		}
		raw = string(bytes.TrimSpace(rest[:open]))
		p.i += open
	}
	err = p.list(func() error {
		item := StatusItem(p.upper())
		p.space()
		if item == StatusMailboxID {
			id, err := p.objectID()
			if id != "" {
				d.MailboxID = id
				d.Has |= HasMailboxID
			}
			return err
		}
		if item == StatusAppendLimit && p.acceptNIL() { // no limit
			return nil
		}
		n, err := p.number()
		if err != nil {
			_, err = p.skip()
			return err
		}
		if n < 0 {
			return nil
		}
		u := uint32(min(n, 1<<32-1))
		switch item {
		case StatusMessages:
			d.Messages = u
			d.Has |= HasMessages
		case StatusUnseen:
			d.Unseen = u
			d.Has |= HasUnseen
		case StatusUIDNext:
			d.UIDNext = u
			d.Has |= HasUIDNext
		case StatusUIDValidity:
			d.UIDValidity = u
			d.Has |= HasUIDValidity
		case StatusHighestModSeq:
			d.HighestModSeq = uint64(n)
			d.Has |= HasHighestModSeq
		case StatusSize:
			d.Size = n
			d.Has |= HasSize
		case StatusAppendLimit:
			d.AppendLimit = n
			d.Has |= HasAppendLimit
		}
		return nil
	})
	return raw, d, err
}
