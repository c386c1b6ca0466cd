package imap

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

var (
	errEmptySet  = errors.New("empty UID set")
	errNoUID     = errors.New("FETCH answer without UID")
	errTooBig    = errors.New("body larger than the limit")
	errVanished  = errors.New("asking for what vanished needs ChangedSince and QRESYNC enabled")
	errWindow    = errors.New("malformed window, or server does not offer PARTIAL")
	errWindowSet = errors.New("set is too long for a window")
)

// Fetch asks for messages by UID (UID FETCH, RFC 3501 6.4.5, 6.4.8) and calls each for every one that the server
// answers, in the order of the wire. Sets too long for one command are split and the commands pipelined.
//
// Rows may be missing and may come twice. A row whose answer could not be read comes with Err. FETCH answers that
// nobody asked for, recognised by having no UID, one outside of set, or nothing but flags where more was asked, go to
// Options.OnUnilateral. Every writer the sink gave out comes back in a Row unless Fetch fails.
//
// When the server refuses one of several commands, those already sent are still read, then Fetch fails with the first
// refusal; rows seen until then are good. Answers cut short by MESSAGELIMIT (RFC 9738) make Fetch fail, in the end, with
// a PartialError that says what is left to be asked.
// An error from each or the sink ends the session.
func (s *Session) Fetch(ctx context.Context, set UIDSet, o FetchOptions, each func(*Row) error) error {
	if set.Empty() {
		return &Error{Class: Permanent, Cmd: "FETCH", Err: errEmptySet}
	}
	return s.fetch(ctx, set, false, o, each)
}

// fetch is Fetch of a set, or of what the server keeps of the last search.
func (s *Session) fetch(ctx context.Context, set UIDSet, saved bool, o FetchOptions, each func(*Row) error) error {
	items := s.newLine("")
	s.fetchItems(items, &o)
	s.fetchModifiers(items, &o)
	room := max(s.o.Limits.Command-len(items.b)-len("UID FETCH ")-tagRoom, 64)
	parts := set.Split(room)
	if len(parts) > 1 && !o.Window.none() {
		items.err = errWindowSet
	}
	if items.err != nil {
		return &Error{Class: Permanent, Cmd: "FETCH", Err: items.err}
	}
	if err := s.enter(ctx, "FETCH"); err != nil {
		return err
	}
	defer s.leave()
	s.f.sink = &bodySink{open: o.Sink, sections: len(o.Sections) > 0}
	defer func() { s.f.sink = nil }()

	w := fetchWant{set: set, rich: o.rich()}
	rows, most := 0, set.Len()
	h := func(kind string, num uint32, p *parser) (bool, error) {
		if kind != "FETCH" && kind != "UIDFETCH" {
			return false, nil
		}
		row := &s.row
		err := s.readRow(p, row, num, kind == "UIDFETCH")
		if err != nil && isFatal(err) {
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
		if rows++; rows <= min(most, int(s.selected.exists)) {
			s.responses-- // a long answer to a big question
		}
		if err := each(row); err != nil {
			return false, sinkError{err}
		}
		return true, nil
	}

	type sent struct {
		*command
		part UIDSet
	}
	var flight []sent
	var refused, limited *Error
	settle := func() {
		for len(flight) > 0 && flight[0].done {
			c := flight[0]
			flight = flight[1:]
			err := c.result()
			switch {
			case err != nil && refused == nil:
				errors.As(err, &refused)
			case err != nil || c.st.code != "MESSAGELIMIT":
			case limited == nil:
				limited = partial("FETCH", c.st, c.part)
			default:
				var more *PartialError
				errors.As(partial("FETCH", c.st, c.part), &more)
				limited.Err.(*PartialError).Left.AddSet(more.Left)
			}
		}
	}
	for _, part := range parts {
		l := s.newLine("UID FETCH ")
		if saved {
			l.text("$")
		} else {
			l.b = part.append(l.b)
		}
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
		flight = append(flight, sent{c, part})
	}
	for len(s.pending) > 0 {
		if err := s.step(h); err != nil {
			return err
		}
	}
	settle()
	switch {
	case refused != nil:
		return refused
	case limited != nil:
		return limited
	}
	return nil
}

// fetchItems writes ` (UID ...)`.
func (s *Session) fetchItems(l *line, o *FetchOptions) {
	caps := s.Caps()
	l.text(" (UID")
	for _, it := range [...]struct {
		on   bool
		name string
	}{
		{o.Flags, "FLAGS"}, {o.InternalDate, "INTERNALDATE"}, {o.Size, "RFC822.SIZE"}, {o.ModSeq, "MODSEQ"},
		{o.Envelope, "ENVELOPE"}, {o.BodyStructure, "BODYSTRUCTURE"}, {o.FullHeader, "BODY.PEEK[HEADER]"},
		// Asked where they are not offered they fail everything (GMX).
		{o.ObjectID && caps.Has("OBJECTID"), "EMAILID THREADID"},
		{o.Thread && !o.ObjectID && caps.Has("OBJECTID"), "THREADID"},
		{o.Thread && !o.Gmail && caps.Has("X-GM-EXT-1"), "X-GM-THRID"},
		{o.Gmail && caps.Has("X-GM-EXT-1"), "X-GM-MSGID X-GM-THRID X-GM-LABELS"},
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
		l.section(Section{Offset: o.Offset, Length: o.Length})
	}
	for _, x := range o.Sections {
		if x.Binary && !caps.Has("BINARY") {
			l.err = errNotBinary
		}
		l.section(x)
	}
	l.text(")")
}

// fetchModifiers writes ` (CHANGEDSINCE ...)` (RFC 4466 2.4).
func (s *Session) fetchModifiers(l *line, o *FetchOptions) {
	var mods []string
	if o.ChangedSince > 0 {
		mods = append(mods, "CHANGEDSINCE "+strconv.FormatUint(o.ChangedSince, 10))
	}
	if o.Vanished {
		if o.ChangedSince == 0 || !s.enabled["QRESYNC"] {
			l.err = errVanished
		}
		mods = append(mods, "VANISHED")
	}
	if !o.Window.none() {
		if !o.Window.valid() || !s.Caps().Has("PARTIAL") {
			l.err = errWindow
		}
		mods = append(mods, "PARTIAL "+o.Window.String())
	}
	if len(mods) > 0 {
		l.text(" (" + strings.Join(mods, " ") + ")")
	}
}

// rich reports whether more than UID, FLAGS and MODSEQ is asked.
func (o *FetchOptions) rich() bool {
	return o.InternalDate || o.Size || o.Envelope || o.BodyStructure || o.FullHeader || len(o.Header) > 0 || o.Body || len(o.Items) > 0 ||
		len(o.Sections) > 0 || o.ObjectID || o.Gmail
}

// fetchWant tells asked from unasked.
type fetchWant struct {
	set  UIDSet
	rich bool
}

// asked reports whether a row answers our command. Servers mix in FETCH responses about flags that changed; those
// carry flags and nothing else (RFC 7162 3.1.4).
func (w *fetchWant) asked(r *Row, err error) bool {
	if r.Body.Has || r.Body.W != nil || len(r.Sections) > 0 {
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
		len(r.Sections) > 0 || r.EmailID != "" || r.ThreadID != "" || r.GmailMsgID != 0 || r.GmailThreadID != 0 || r.HasGmailLabels ||
		len(r.Raw) > 0 || r.Err != nil
}
