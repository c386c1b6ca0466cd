package syncer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// TestLostBytesAreFetchedAnew: bytes that the store has lost are fetched from the mail server once more when they are asked for, and
// those that are whole are not.
func TestLostBytesAreFetchedAnew(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	for i := range 5 {
		p.Deliver("INBOX", message(i))
	}
	dir := filepath.Join(t.TempDir(), "blobs")
	b := &bench{t: t, user: "ann", truth: truthOf(p), place: store.Options{BlobURL: "file://" + filepath.ToSlash(dir)}}
	b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
	b.live()
	b.equal()
	files := 0
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if files++; files%2 == 0 {
			return os.Remove(path)
		}
		return os.WriteFile(path, []byte("changed"), 0o600)
	}); err != nil || files == 0 {
		t.Fatal(files, err)
	}
	list, _, err := b.mbox.Messages(t.Context(), store.MessageQuery{})
	if err != nil || len(list) != 5 {
		t.Fatal(len(list), err)
	}
	for _, m := range list {
		op, err := b.engine.Do(t.Context(), b.id, mail.Operation{Kind: mail.OpFetch, Messages: []mail.MessageID{m.ID}})
		if err != nil || op.State != mail.OpDone {
			t.Errorf("%s: %+v, %v", m.ID, op, err)
		}
	}
	b.equal()
	log := len(p.Log())
	op, err := b.engine.Do(t.Context(), b.id, mail.Operation{Kind: mail.OpFetch, Messages: []mail.MessageID{list[0].ID}})
	if err != nil || op.State != mail.OpDone {
		t.Errorf("once more: %+v, %v", op, err)
	}
	for _, l := range p.Log()[log:] {
		if strings.Contains(l, "BODY.PEEK[]") {
			t.Errorf("bytes that are whole were fetched: %s", l)
		}
	}
}
