package imap

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// StoreAction says what Store does with the flags it is given.
type StoreAction int

const (
	StoreAdd     StoreAction = iota + 1 // +FLAGS
	StoreRemove                         // -FLAGS
	StoreReplace                        // FLAGS: these and no others
)

// StoreOptions say more about a Store.
type StoreOptions struct {
	// UnchangedSince lets the server leave messages alone whose MODSEQ is above it (RFC 7162 3.1.3). It needs CONDSTORE.
	UnchangedSince uint64
	// Labels changes Gmail's labels instead of flags (X-GM-EXT-1); names are given decoded.
	Labels bool
}

// Stored is what Store can tell. It is meaningful also when Store fails half way.
type Stored struct {
	Done     UIDSet // those the server said OK for, without Modified; it says OK for messages that are gone, too
	Modified UIDSet // left alone, because they changed after UnchangedSince
}

var errStoreAction = errors.New("unknown store action")

// Store changes flags (UID STORE, RFC 3501 6.4.6, 6.4.8), silently: the server does not repeat what it was told, and what it
// says nevertheless goes to Options.OnUnilateral. Sets too long for one command are split; the first refusal ends it.
func (s *Session) Store(ctx context.Context, set UIDSet, action StoreAction, flags []string, o StoreOptions) (Stored, error) {
	var out Stored
	if set.Empty() {
		return out, &Error{Class: Permanent, Cmd: "STORE", Err: errEmptySet}
	}
	tail := s.newLine("")
	if o.UnchangedSince > 0 {
		tail.text(" (UNCHANGEDSINCE " + strconv.FormatUint(o.UnchangedSince, 10) + ")")
	}
	sign, ok := map[StoreAction]string{StoreAdd: " +", StoreRemove: " -", StoreReplace: " "}[action]
	if !ok {
		return out, &Error{Class: Permanent, Cmd: "STORE", Err: errStoreAction}
	}
	if o.Labels {
		tail.text(sign + "X-GM-LABELS.SILENT ")
		tail.labels(flags, s.utf8)
	} else {
		tail.text(sign + "FLAGS.SILENT ")
		tail.flags(flags)
	}
	err := s.perPart(ctx, "STORE", set, tail, nil, func(part UIDSet, st status) {
		var kept UIDSet
		if st.code == "MODIFIED" {
			kept, _ = parseUIDSet([]byte(st.arg))
			kept = kept.And(part)
			out.Modified.AddSet(kept)
		}
		if st.status == "OK" {
			part.Clone().without(kept, &out.Done)
		}
	})
	return out, err
}

// IsFlag tells whether a command can name a flag (RFC 3501 9, flag).
func IsFlag(f string) bool { return isAtom(strings.TrimPrefix(f, `\`)) }

// flags writes a flag list (RFC 3501 9, flag-list).
func (l *line) flags(flags []string) {
	l.text("(")
	for i, f := range flags {
		if i > 0 {
			l.text(" ")
		}
		if len(f) > 0 && f[0] == '\\' {
			l.text(`\`)
			f = f[1:]
		}
		l.atom(f)
	}
	l.text(")")
}

// perPart sends `UID name set tail` for as much of the set as fits into one command, then for the rest, one after the
// other, and tells of each answer. The first refusal ends it. What comes behind the set may hold literals.
func (s *Session) perPart(ctx context.Context, name string, set UIDSet, tail *line, h handler, answered func(UIDSet, status)) error {
	if tail.err != nil {
		return &Error{Class: Permanent, Cmd: name, Err: tail.err}
	}
	if err := s.enter(ctx, name); err != nil {
		return err
	}
	defer s.leave()
	head := "UID " + name + " "
	rest := set
	for _, part := range set.Split(max(s.o.Limits.Command-len(head)-len(tail.b)-tagRoom, 64)) {
		l := s.newLine(head)
		l.b = part.append(l.b)
		l.append(tail)
		c, err := s.send(name, l, h)
		if err != nil {
			return err
		}
		if err = s.wait(c, h); err == nil && c.st.code == "MESSAGELIMIT" {
			err = partial(name, c.st, part)
			left := &err.(*Error).Err.(*PartialError).Left
			part = part.Without(*left)
			*left = rest.Without(part)
		}
		if c.done && s.Err() == nil {
			answered(part, c.st)
		}
		if err != nil {
			return err
		}
		rest = rest.Without(part)
	}
	return nil
}

// tagRoom is what tag and line end take of a command.
const tagRoom = 16
