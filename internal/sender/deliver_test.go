package sender_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
)

// TestBytesThatCannotBeRead: a send whose bytes are lost or damaged fails, and holds up no other; the server is never left with a part
// of it. What can be read later is sent then.
func TestBytesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(file string)
		back  func(file string) // nil: it does not come back
	}{
		{name: "lost", spoil: func(f string) { must(os.Remove(f)) }},
		{name: "damaged at its end", spoil: func(f string) {
			b, err := os.ReadFile(f)
			must(err)
			b[len(b)-1]++
			must(os.WriteFile(f, b, 0o600))
		}},
		{name: "not readable for a while", spoil: func(f string) {
			must(os.Rename(f, f+".away"))
			must(os.Mkdir(f, 0o700))
		}, back: func(f string) {
			must(os.Remove(f))
			must(os.Rename(f+".away", f))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := setupOn(t, store.Options{Dir: t.TempDir(), BlobURL: "file://" + dir}, nil)
			b.s.Stop(t.Context())
			bad, _, err := b.mb.Enqueue(t.Context(), b.spool(sender.Outgoing{Write: raw(1, "x@example.test", "\r\n", strings.Repeat("many lines\r\n", 50000))}))
			must(err)
			var file string
			must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if d.Name() == strconv.FormatInt(bad.Blob, 10) && !d.IsDir() {
					file = p
				}
				return err
			}))
			c.spoil(file)
			b.start()
			if s := b.send(sender.Outgoing{Write: raw(2, "x@example.test")}); s.State != mail.SendSent && s.State != mail.SendFiled {
				t.Errorf("the other send is %s: %s", s.State, s.Reason)
			}
			b.until(mail.SendFiled)
			for n := range 2 {
				if s := b.waits(bad.ID, func(s mail.Send) bool { return s.Attempts > n }); s.State != mail.SendQueued || s.Reason == "" {
					t.Errorf("after %d attempts it is %s: %q", s.Attempts, s.State, s.Reason)
				}
				if n == 1 && c.back != nil {
					c.back(file)
				}
				b.pass(time.Hour)
			}
			want, messages, last := mail.SendFailed, 1, mail.SendNotDone
			if c.back != nil {
				want, messages, last = mail.SendFiled, 2, mail.SendSucceeded
			}
			b.until(want)
			if n := len(b.smtp.received()); n != messages {
				t.Errorf("the server took %d messages, want %d", n, messages)
			}
			if told := b.told(); told[len(told)-1] != last {
				t.Errorf("told %v", told)
			}
			if s := b.get(bad.ID); want == mail.SendFailed && !strings.Contains(s.Reason, "lost or damaged") {
				t.Errorf("it failed, as %q", s.Reason)
			}
		})
	}
}
