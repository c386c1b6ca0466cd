package v3

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// EventQuery is a request for events.
type EventQuery struct {
	Cursor  string    // opaque, or "earliest" or "latest"; "": the caller said nothing
	Since   time.Time // instead of a cursor
	Types   []string  // nil: all
	History bool      // also what was there before the grant
	Limit   int
	Wait    time.Duration // for something to tell
}

// The words that stand for a cursor.
const (
	CursorEarliest = "earliest"
	CursorLatest   = "latest"
)

// maxWait bounds how long a request for events may wait.
const maxWait = 60

// ParseEvents reads the query of a request for events. lastID is the header Last-Event-ID, which goes before cursor.
func ParseEvents(q url.Values, lastID string) (EventQuery, error) {
	r := &reader{q: q}
	e := EventQuery{Cursor: r.text("cursor"), Types: r.list("types", true), History: true, Limit: r.number("limit", 100, 1, 1000), Wait: time.Duration(r.number("wait", 0, 0, maxWait)) * time.Second}
	if h := r.flag("history"); h != nil {
		e.History = *h
	}
	if s := r.q.Get("since"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 || n > 1<<40 {
			r.fail("since must be a time in Unix seconds")
		}
		if e.Cursor != "" {
			r.fail("cursor and since exclude each other")
		}
		e.Since = time.Unix(n, 0)
	}
	for _, t := range e.Types {
		if !slices.Contains(Triggers(), t) {
			r.fail("types: there is no trigger of this name: " + short(t))
		}
	}
	if lastID != "" {
		e.Cursor, e.Since = lastID, time.Time{}
	}
	return e, r.err
}

// number reads a number within bounds; missing it is standard.
func (r *reader) number(name string, standard, least, most int) int {
	s := r.q.Get(name)
	if s == "" {
		return standard
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		r.fail(name + " must be a number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most))
		return standard
	}
	return n
}

// EventCursor is what a cursor of events holds; the store knows what it means.
type EventCursor struct{ Pos, Seq, NotBefore, Mark int64 }

// Token makes the opaque form of a cursor of one log, named by the grant or application that it belongs to. The checksum
// catches cursors that were mangled, made up, or of another log.
func (c EventCursor) Token(log string) string {
	b := []byte{'e'}
	for _, n := range []int64{c.Pos, c.Seq, c.NotBefore, c.Mark} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, eventSum(b, log))
	return base64.RawURLEncoding.EncodeToString(b)
}

func eventSum(b []byte, log string) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b), crc32.IEEETable, []byte(log))
}

// ParseEventCursor reads a cursor of a log.
func ParseEventCursor(s, log string) (c EventCursor, err error) {
	bad := invalid("read cursor", "cursor is not a next_cursor of these events; it may also be earliest or latest")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 9 || b[0] != 'e' {
		return c, bad
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if sum != eventSum(b, log) {
		return c, bad
	}
	b = b[1:]
	for _, to := range []*int64{&c.Pos, &c.Seq, &c.NotBefore, &c.Mark} {
		v, n := binary.Varint(b)
		if n <= 0 || v < 0 {
			return c, bad
		}
		*to, b = v, b[n:]
	}
	if len(b) > 0 {
		return c, bad
	}
	return c, nil
}
