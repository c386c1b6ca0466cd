package imap

import (
	"context"
	"errors"
	"strings"
)

// Copied is what the server said about where messages went (COPYUID, RFC 4315 3). Many servers say nothing, and some say
// it wrong, which counts as nothing. Done is known in any case.
type Copied struct {
	Done        UIDSet // those the server said OK for; it says OK for messages that are gone, too
	UIDValidity uint32 // of the destination; 0: not told
	runs        []uidRun
}

// uidRun maps n UIDs in a row.
type uidRun struct{ from, to, n uint32 }

// Known reports whether the server told any new UID.
func (c *Copied) Known() bool { return len(c.runs) > 0 }

// Dest returns the UID that the message uid got in the destination.
func (c *Copied) Dest(uid uint32) (uint32, bool) {
	for _, r := range c.runs {
		if uid >= r.from && uid-r.from < r.n {
			return r.to + (uid - r.from), true
		}
	}
	return 0, false
}

// All calls yield for every source and destination UID, in the server's order, until it returns false.
func (c *Copied) All(yield func(from, to uint32) bool) {
	for _, r := range c.runs {
		for i := range r.n {
			if !yield(r.from+i, r.to+i) {
				return
			}
		}
	}
}

var (
	errNoMove    = errors.New("server does not offer MOVE")
	errNoUIDPlus = errors.New("server does not offer UIDPLUS")
)

// Copy copies messages into another mailbox (UID COPY, RFC 3501 6.4.7). Sets too long for one command are split; the
// first refusal ends it, and what was copied before stays copied.
func (s *Session) Copy(ctx context.Context, set UIDSet, raw string) (Copied, error) {
	return s.copy(ctx, "COPY", set, raw)
}

// Move moves messages into another mailbox (UID MOVE, RFC 6851 3.2). That they are gone from here goes to
// Options.OnUnilateral. It fails with Permanent, having sent nothing, where MOVE is not offered: the caller then knows
// best whether Copy, Store and Expunge may take its place.
func (s *Session) Move(ctx context.Context, set UIDSet, raw string) (Copied, error) {
	if !s.Caps().Has("MOVE") {
		return Copied{}, &Error{Class: Permanent, Cmd: "MOVE", Err: errNoMove}
	}
	return s.copy(ctx, "MOVE", set, raw)
}

func (s *Session) copy(ctx context.Context, name string, set UIDSet, raw string) (Copied, error) {
	var out Copied
	if set.Empty() {
		return out, &Error{Class: Permanent, Cmd: name, Err: errEmptySet}
	}
	tail := s.newLine("")
	tail.text(" ")
	tail.str(raw)
	h := func(kind string, _ uint32, p *parser) (bool, error) {
		switch {
		case kind == "OK" && s.status.code == "COPYUID": // MOVE says it before the expunges
			out.add(s.status.arg)
			return true, nil
		case kind == "[COPYUID": // Exchange and home.pl forget the OK
			st := parseStatus("OK", p.b[2:])
			out.add(st.arg)
			return true, nil
		}
		return false, nil
	}
	err := s.perPart(ctx, name, set, tail, h, func(part UIDSet, st status) {
		if st.code == "COPYUID" {
			out.add(st.arg)
		}
		if st.status == "OK" {
			out.Done.AddSet(part)
		}
	})
	return out, err
}

// add takes `uidvalidity source destination`: sets of the same size whose order tells which became which.
func (c *Copied) add(arg string) {
	f := strings.Fields(arg)
	if len(f) != 3 {
		return
	}
	validity, n := parseUID([]byte(f[0]))
	if n != len(f[0]) || validity == Star {
		return
	}
	from, ok1 := parseRuns([]byte(f[1]))
	to, ok2 := parseRuns([]byte(f[2]))
	if !ok1 || !ok2 {
		return
	}
	var runs []uidRun
	for len(from) > 0 && len(to) > 0 {
		a, b := &from[0], &to[0]
		n := min(a.Stop-a.Start, b.Stop-b.Start)
		runs = append(runs, uidRun{a.Start, b.Start, n + 1})
		for _, side := range []*[]UIDRange{&from, &to} {
			if r := &(*side)[0]; r.Stop-r.Start == n {
				*side = (*side)[1:]
			} else {
				r.Start += n + 1
			}
		}
	}
	if len(from) > 0 || len(to) > 0 || c.UIDValidity != 0 && c.UIDValidity != validity {
		return
	}
	c.UIDValidity = validity
	c.runs = append(c.runs, runs...)
}

// parseRuns reads a set in the order it is written. Ranges without an end are no good here.
func parseRuns(b []byte) ([]UIDRange, bool) {
	var out []UIDRange
	for i := 0; ; i++ {
		start, n := parseUID(b[i:])
		if n == 0 {
			return nil, false
		}
		i += n
		stop := start
		if i < len(b) && b[i] == ':' {
			i++
			if stop, n = parseUID(b[i:]); n == 0 {
				return nil, false
			}
			i += n
		}
		if start > stop {
			start, stop = stop, start
		}
		if stop == Star {
			return nil, false
		}
		out = append(out, UIDRange{start, stop})
		if i == len(b) {
			return out, true
		}
		if b[i] != ',' {
			return nil, false
		}
	}
}
