package api

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// What the object store has lost is not shown as empty: the answer says what is wrong, a page with other messages is read all the
// same, and the bytes are asked for at the mail server, once.
func TestLostBytes(t *testing.T) {
	t.Parallel()
	blobs := filepath.Join(t.TempDir(), "blobs")
	m := setupIn(t, store.Options{Dir: t.TempDir(), BlobURL: "file://" + filepath.ToSlash(blobs)}).account("ann@example.test")
	ids := m.deliver(letter{raw: withAttachments, at: 1700001000})
	if err := filepath.WalkDir(blobs, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Remove(path)
	}); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, m.deliver(letter{raw: plain("two", "Bo <bo@example.test>", "second", "still here"), at: 1700002000})...)
	var list []v3.Message
	m.get(m.base+"/messages", &list)
	if len(list) != 2 || !strings.Contains(list[0].Body, "still here") || list[0].BodyPending || list[1].Body != "" || !list[1].BodyPending {
		t.Errorf("listed: %+v", list)
	}
	one := m.base + "/messages/" + string(ids[0])
	file := m.base + "/attachments/" + list[1].Attachments[0].ID + "/download?message_id=" + string(ids[0])
	for _, path := range []string{one + "?fields=raw_mime", one + "?fields=include_headers", file} {
		a := m.do("GET", path)
		m.fails(a, http.StatusGatewayTimeout, v3.TypeProvider, "what is stored of this message is damaged")
		if a.Header().Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	mb, err := m.store.Mailbox(t.Context(), m.acct.ID)
	if err != nil {
		t.Fatal(err)
	}
	ops, _, err := mb.PendingOperations(t.Context(), 10)
	if err != nil || len(ops) != 1 || ops[0].Kind != mail.OpFetch || ops[0].Messages[0] != ids[0] {
		t.Errorf("operations: %+v, %v", ops, err)
	}
}
