package imap

import (
	"context"
	"strconv"
	"strings"
)

// SelectOptions say how to open a mailbox.
type SelectOptions struct {
	ReadOnly  bool // EXAMINE
	CondStore bool // ask for MODSEQ when the server offers CONDSTORE
	// QResync asks for what has changed. It is sent only where QRESYNC has been enabled and the server confirmed that.
	QResync *QResync
}

// Selected is what the server said when it opened a mailbox. A value of 0 whose Has is false was not given.
type Selected struct {
	Exists         uint32
	UIDNext        uint32
	UIDValidity    uint32
	HighestModSeq  uint64
	NoModSeq       bool // the server keeps no MODSEQ for this mailbox
	ReadOnly       bool
	Flags          []string
	PermanentFlags []string
	MailboxID      string // RFC 8474

	HasExists, HasUIDNext, HasUIDValidity bool

	// QResync is set when the server was asked for what has changed, still has the same UIDVALIDITY, and everything it
	// said could be read: then Vanished and the rows are all there is to know.
	QResync  bool
	Vanished UIDSet
}

// Select opens a mailbox (RFC 3501 6.3.1, 6.3.2; CONDSTORE RFC 7162 3.1.8, QRESYNC 3.2.5). raw is sent as the server spelled it.
// After a failure no mailbox is open.
func (s *Session) Select(ctx context.Context, raw string, o SelectOptions) (*Selected, error) {
	name := "SELECT"
	if o.ReadOnly {
		name = "EXAMINE"
	}
	if err := s.enter(ctx, name); err != nil {
		return nil, err
	}
	defer s.leave()
	out := &Selected{ReadOnly: o.ReadOnly}
	resync := o.QResync.usable(s)
	changes := &resyncing{QResync: o.QResync}
	if resync && s.selected.open && s.Caps().Has("UNSELECT") {
		// What is said of the mailbox open until now must not be taken for news of the next.
		if _, err := s.exchange("UNSELECT", nil, nil); err != nil {
			return nil, err
		}
	}
	s.selected = selected{}
	out.QResync = resync
	st, err := s.exchange(name, func(l *line) {
		l.text(" ")
		l.str(raw)
		switch {
		case resync:
			l.text(" (")
			o.QResync.param(l, s.o.Limits.Command)
			l.text(")")
		case o.CondStore && s.Caps().Has("CONDSTORE"):
			l.text(" (CONDSTORE)")
		}
	}, func(kind string, num uint32, p *parser) (bool, error) {
		switch kind {
		case "EXISTS": // Zimbra counts up: the last one holds
			out.Exists, out.HasExists = num, true
		case "RECENT":
		case "FLAGS":
			out.Flags, _ = p.strings(maxFlags) // a hint only
		case "OK":
			return out.code(s.status), nil
		default:
			if resync {
				return changes.take(s, out, kind, num, p)
			}
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if resync {
		changes.finish(out)
	}
	switch st.code {
	case "READ-ONLY":
		out.ReadOnly = true
	case "READ-WRITE":
		out.ReadOnly = false
	}
	s.selected = selected{open: true, raw: raw, readOnly: out.ReadOnly, exists: out.Exists}
	return out, nil
}

// code takes what an untagged OK of SELECT says; numbers that make no sense count as not given.
func (d *Selected) code(st status) bool {
	n, err := strconv.ParseUint(strings.TrimSpace(st.arg), 10, 63)
	u32 := err == nil && n < 1<<32
	switch st.code {
	case "UIDNEXT":
		if u32 {
			d.UIDNext, d.HasUIDNext = uint32(n), true
		}
	case "UIDVALIDITY":
		if u32 {
			d.UIDValidity, d.HasUIDValidity = uint32(n), true
		}
	case "HIGHESTMODSEQ":
		if err == nil {
			d.HighestModSeq = n
		}
	case "NOMODSEQ":
		d.NoModSeq = true
	case "PERMANENTFLAGS":
		d.PermanentFlags = nil
		for f := range strings.FieldsSeq(strings.Trim(st.arg, "()")) {
			if len(d.PermanentFlags) == maxFlags {
				break
			}
			d.PermanentFlags = append(d.PermanentFlags, f)
		}
	case "MAILBOXID":
		d.MailboxID = validID(strings.Trim(st.arg, "()"))
	case "CLOSED":
		// Until here everything was about the mailbox open before (RFC 7162 3.2.11).
		*d = Selected{ReadOnly: d.ReadOnly, QResync: d.QResync}
	case "UNSEEN", "UIDNOTSTICKY":
	default:
		return false
	}
	return true
}
