package imap

import (
	"context"
	"errors"
	"strconv"
)

var (
	errEmptySet = errors.New("empty UID set")
	errNoUID    = errors.New("FETCH answer without UID")
	errTooBig   = errors.New("body larger than the limit")
	errPartial  = errors.New("server handled only part of the messages")
)

// Fetch asks for messages by UID (UID FETCH, RFC 3501 6.4.5, 6.4.8) and calls each for every one that the server
// answers, in the order of the wire. Sets too long for one command are split and the commands pipelined.
//
// Rows may be missing and may come twice. A row whose answer could not be read comes with Err. FETCH answers that
// nobody asked for, recognised by having no UID, one outside of set, or nothing but flags where more was asked, go to
// Options.OnUnilateral. Every writer the sink gave out comes back in a Row unless Fetch fails.
//
// When the server refuses one of several commands, those already sent are still read, then Fetch fails with the first
// refusal; rows seen until then are good. An answer limited by MESSAGELIMIT (RFC 9738) is such a failure too.
// An error from each or the sink ends the session.
func (s *Session) Fetch(ctx context.Context, set UIDSet, o FetchOptions, each func(*Row) error) error {
	if set.Empty() {
		return &Error{Class: Permanent, Cmd: "FETCH", Err: errEmptySet}
	}
	items := s.newLine("")
	fetchItems(items, &o)
	if items.err != nil {
		return &Error{Class: Permanent, Cmd: "FETCH", Err: items.err}
	}
	if err := s.enter(ctx, "FETCH"); err != nil {
		return err
	}
	defer s.leave()
	s.f.sink = &bodySink{open: o.Sink}
	defer func() { s.f.sink = nil }()

	w := fetchWant{set: set, rich: o.rich()}
	h := func(kind string, num uint32, p *parser) (bool, error) {
		if kind != "FETCH" && kind != "UIDFETCH" {
			return false, nil
		}
		row := &s.row
		err := s.readRow(p, row, num, kind == "UIDFETCH")
		if err != nil && isSinkError(err) {
			return false, err
		}
		if !w.asked(row, err) {
			if err == nil && (num > 0 || row.UID > 0) {
				s.tell(Unilateral{Kind: KindFetch, Row: row})
			}
			return true, nil
		}
		switch {
		case err != nil:
			row.Err = &Error{Class: Protocol, Cmd: "FETCH", Err: err}
		case row.UID == 0:
			row.Err = &Error{Class: Protocol, Cmd: "FETCH", Err: errNoUID}
		}
		s.responses--
		if err := each(row); err != nil {
			return false, sinkError{err}
		}
		return true, nil
	}

	room := max(s.o.Limits.Command-len(items.b)-32, 64)
	var flight []*command
	var refused error
	settle := func() {
		for len(flight) > 0 && flight[0].done {
			c := flight[0]
			flight = flight[1:]
			err := c.result()
			if err == nil && c.st.code == "MESSAGELIMIT" {
				err = partial("FETCH", c.st)
			}
			if refused == nil {
				refused = err
			}
		}
	}
	for _, part := range set.Split(room) {
		l := s.newLine("UID FETCH ")
		l.b = part.append(l.b)
		l.b = append(l.b, items.b...)
		for settle(); refused == nil && !s.room(len(l.b)); settle() {
			if err := s.step(h); err != nil {
				return err
			}
		}
		if refused != nil {
			break
		}
		c, err := s.send("FETCH", l, h)
		if err != nil {
			return err
		}
		flight = append(flight, c)
	}
	for len(s.pending) > 0 {
		if err := s.step(h); err != nil {
			return err
		}
	}
	settle()
	return refused
}

// fetchItems writes what is asked for behind the set.
func fetchItems(l *line, o *FetchOptions) {
	l.text(" (UID")
	for _, it := range [...]struct {
		on   bool
		name string
	}{
		{o.Flags, "FLAGS"}, {o.InternalDate, "INTERNALDATE"}, {o.Size, "RFC822.SIZE"}, {o.ModSeq, "MODSEQ"},
		{o.Envelope, "ENVELOPE"}, {o.BodyStructure, "BODYSTRUCTURE"}, {o.FullHeader, "BODY.PEEK[HEADER]"},
	} {
		if it.on {
			l.text(" " + it.name)
		}
	}
	for _, it := range o.Items {
		l.text(" ")
		l.atom(it)
	}
	if len(o.Header) > 0 && !o.FullHeader {
		l.text(" BODY.PEEK[HEADER.FIELDS (")
		for i, name := range o.Header {
			if i > 0 {
				l.text(" ")
			}
			l.atom(name)
		}
		l.text(")]")
	}
	// Last, so that the UID is known to the sink where servers keep our order.
	if o.Body {
		l.text(" BODY.PEEK[]")
	}
	l.text(")")
	if o.ChangedSince > 0 {
		l.text(" (CHANGEDSINCE " + strconv.FormatUint(o.ChangedSince, 10) + ")")
	}
}

// rich reports whether more than UID, FLAGS and MODSEQ is asked.
func (o *FetchOptions) rich() bool {
	return o.InternalDate || o.Size || o.Envelope || o.BodyStructure || o.FullHeader || len(o.Header) > 0 || o.Body || len(o.Items) > 0
}

// fetchWant tells asked from unasked.
type fetchWant struct {
	set  UIDSet
	rich bool
}

// asked reports whether a row answers our command. Servers mix in FETCH responses about flags that changed; those
// carry flags and nothing else (RFC 7162 3.1.4).
func (w *fetchWant) asked(r *Row, err error) bool {
	if r.Body.Has || r.Body.W != nil {
		return true // a writer must come back
	}
	if err != nil {
		return r.UID == 0 || w.set.Contains(r.UID)
	}
	if r.UID == 0 {
		return w.rich && r.rich()
	}
	if !w.set.Contains(r.UID) {
		return false
	}
	return !w.rich || r.rich() || !r.HasFlags
}

// rich reports whether anything but UID, flags and MODSEQ is there.
func (r *Row) rich() bool {
	return r.HasInternalDate || r.HasSize || r.HasHeader || r.Body.Has || r.Envelope != nil || r.BodyStructure != nil ||
		len(r.Raw) > 0 || r.Err != nil
}
