package imap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// canned is a server that has said everything already and listens to nothing.
type canned struct {
	net.Conn
	r io.Reader
}

func (c *canned) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c *canned) Write(b []byte) (int, error)      { return len(b), nil }
func (c *canned) Close() error                     { c.r = strings.NewReader(""); return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// everything is what such a server offers.
const everything = "* OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC CONDSTORE MOVE UIDPLUS ESEARCH NOTIFY SEARCHRES PARTIAL BINARY X-GM-EXT-1 OBJECTID " +
	"LIST-EXTENDED LIST-STATUS SPECIAL-USE NAMESPACE ID QUOTA MULTIAPPEND REPLACE UNSELECT COMPRESS=DEFLATE LITERAL+ SASL-IR AUTH=PLAIN] hi\r\n"

// FuzzSession plays whatever a server may say to whatever a caller may do. Each letter of calls is one call. A dead session
// stays dead and says why, writers come back, what is reported is part of what was asked.
func FuzzSession(f *testing.F) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var all strings.Builder
		calls := ""
		for l := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(l, "S: "); ok && !strings.Contains(rest, "CAPABILITY") {
				all.WriteString(wire(strings.TrimSuffix(rest, "\n")))
			}
			if rest, ok := strings.CutPrefix(l, "> "); ok && !strings.HasPrefix(rest, "dial") {
				calls += map[string]string{"list": "l", "statuses": "t", "select": "s", "fetch": "f", "search": "h", "store": "+", "copy": "c", "move": "m", "append": "a",
					"resync": "r", "login": "L", "enable": "e", "expunge": "x", "idle": "i", "namespace": "n", "id": "d", "quotas": "q", "page": "p"}[strings.Fields(rest)[0]]
			}
		}
		f.Add([]byte(all.String()), calls)
	}
	f.Fuzz(func(t *testing.T, data []byte, calls string) {
		if len(data) > 1<<16 || len(calls) > 12 {
			t.Skip()
		}
		play(t, data, calls)
	})
}

func play(t *testing.T, data []byte, calls string) {
	ctx := context.Background()
	asked := UIDs(1, 2, 3, 5, 8, 9, 20)
	known := UIDRange{1, 30}
	o := Options{Addr: "fuzz:1", Security: Plain, tag: "P", Limits: Limits{Line: 4096, Literal: 1000, Body: 1000, Response: 8192, Responses: 500, Answer: 1 << 15, Command: 100}}
	o.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return &canned{r: io.MultiReader(strings.NewReader(everything), bytes.NewReader(data))}, nil
	}
	clamped := false
	o.OnUnilateral = func(u Unilateral) {
		if u.Kind == KindVanished && clamped && (u.UIDs.Open() || !u.UIDs.Without(Range(known.Start, known.Stop)).Empty()) {
			t.Errorf("vanished: %s", u.UIDs)
		}
	}
	s, err := Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.CloseNow()
	within := func(what string, got UIDSet) {
		if !got.Without(asked).Empty() {
			t.Errorf("%s: %s of %s", what, got, asked)
		}
	}
	mail := func() AppendMessage { return text("a: b\r\n\r\n") }
	for _, call := range calls {
		dead := s.Err()
		var err error
		switch call {
		case 'l':
			_, err = s.List(ctx, ListOptions{SpecialUse: true, Status: []StatusItem{StatusMessages}})
		case 't':
			_, _, err = s.Statuses(ctx, []string{"INBOX", "a", "b c"}, StatusMessages, StatusMailboxID)
		case 's':
			clamped = false // what is known holds until the next Select
			_, err = s.Select(ctx, "INBOX", SelectOptions{CondStore: true})
			s.KnownUIDs(known)
			clamped = true
		case 'r':
			clamped = false
			var d *Selected
			if d, err = s.Select(ctx, "INBOX", SelectOptions{QResync: &QResync{UIDValidity: 7, ModSeq: 5, Known: asked, Each: func(*Row) error { return nil }}}); err == nil {
				within("vanished", d.Vanished)
			}
		case 'f', 'F':
			err = playFetch(ctx, t, s, asked, call == 'F')
		case 'h':
			_, err = s.Search(ctx, "ALL")
		case 'p':
			_, err = s.SearchPage(ctx, "ALL", Window{1, 100})
		case '+':
			var st Stored
			st, err = s.Store(ctx, asked, StoreAdd, []string{"$x"}, StoreOptions{UnchangedSince: 7})
			within("stored", st.Done)
			within("modified", st.Modified)
		case 'c', 'm':
			var c Copied
			if call == 'c' {
				c, err = s.Copy(ctx, asked, "x")
			} else {
				c, err = s.Move(ctx, asked, "x")
			}
			within("copied", c.Done)
		case 'x':
			var done UIDSet
			done, err = s.Expunge(ctx, asked)
			within("expunged", done)
		case 'a':
			var a Appended
			if a, err = s.AppendAll(ctx, "INBOX", []AppendMessage{mail(), mail()}); len(a.UIDs) != 0 && len(a.UIDs) != 2 {
				t.Errorf("two messages became %v", a)
			}
		case 'L':
			err = s.Login(ctx, "u", "p")
		case 'e':
			_, err = s.Enable(ctx, "QRESYNC")
		case 'i':
			err = s.Idle(ctx) // until the server ends
		case 'n':
			_, err = s.Namespace(ctx)
		case 'd':
			_, err = s.ID(ctx, nil)
		case 'q':
			_, err = s.Quotas(ctx, "INBOX")
		case 'z':
			err = s.Compress(ctx)
		default:
			err = s.Noop(ctx)
		}
		var e *Error
		switch {
		case dead != nil && !errors.Is(err, dead):
			t.Errorf("%c: dead by %v, then %v", call, dead, err)
		case err != nil && (!errors.As(err, &e) || e.Class == Unclassified):
			t.Errorf("%c: %T %v", call, err, err)
		case err == nil && s.Err() != nil:
			t.Errorf("%c: no error, but dead by %v", call, s.Err())
		case (ClassOf(err) == Protocol || ClassOf(err) == Network) && s.Err() == nil:
			t.Errorf("%c: %v, and the session lives", call, err)
		}
	}
}

// playFetch fetches with or without a sink and checks what comes of it.
func playFetch(ctx context.Context, t *testing.T, s *Session, set UIDSet, sink bool) error {
	o := FetchOptions{Flags: true, Envelope: true, Body: true, Header: []string{"Subject"}, Sections: []Section{{Path: "1"}}, Gmail: true, ObjectID: true}
	given := map[*bytes.Buffer]bool{}
	if sink {
		o.Sink = func(Literal) (io.Writer, error) {
			w := &bytes.Buffer{}
			given[w] = true
			return w, nil
		}
	}
	err := s.Fetch(ctx, set, o, func(r *Row) error {
		held := 0
		for _, x := range append([]SectionBody{{Body: r.Body}}, r.Sections...) {
			n := len(x.Bytes)
			if w, ok := x.W.(*bytes.Buffer); ok {
				n = w.Len()
				delete(given, w)
			} else {
				held += n
			}
			if x.Has && x.Size != int64(n) {
				t.Errorf("body of %d bytes has %d", x.Size, n)
			}
		}
		if held > 9000 { // bodies of 1000 bytes, and what stands in a response of 8192
			t.Errorf("%d bytes held", held)
		}
		if r.Err != nil && (r.Body.Has || len(r.Sections) > 0 && r.Sections[0].Has) && !errors.Is(r.Err, errNoUID) && !errors.Is(r.Err, errTooBig) {
			t.Errorf("content in spite of %v", r.Err)
		}
		return nil
	})
	if err == nil && len(given) > 0 {
		t.Errorf("%d writers did not come back", len(given))
	}
	return err
}
