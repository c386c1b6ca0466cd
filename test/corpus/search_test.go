package corpus

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/store"
)

// listed is what Dovecot says of a message.
type listed struct {
	File, Folder, InternalDate string
	UID                        mail.UID
	Flags                      []string
}

// searched is one search, and what Dovecot finds by it.
type searched struct {
	ID, IMAP string
	Results  map[string][]string
}

var folderIDs = map[string]mail.FolderID{"INBOX": "f1", "Lists": "f2", "Odd": "f3"}

// fill puts the corpus into a mailbox, as Dovecot has it, and indexes it. It returns, for each file,
// the message that it is, and what the server knows of it.
func fill(t *testing.T, s *store.Store, dir string) (*store.Mailbox, map[string]mail.MessageID, map[string]query.Doc) {
	t.Helper()
	ctx := context.Background()
	_, mb, term := newMailbox(t, s)
	b := store.Batch{Term: term, Origin: mail.OriginInitial}
	for name, id := range folderIDs {
		b.Folders = append(b.Folders, mail.Folder{ID: id, RawName: name, Name: name, Selectable: true, UIDValidity: 1})
	}
	server := map[string]listed{}
	oracle(t, dir, "imap.jsonl", func(l listed) { server[l.File] = l })
	facts := map[string]query.Doc{}
	files := map[store.PlacementRef]string{}
	ids := map[string]mail.MessageID{}
	for chunk := range slices.Chunk(Messages(t, dir), 300) {
		var raws []store.BlobData
		for _, m := range chunk {
			raws = append(raws, store.BlobData{Kind: store.BlobRaw, Data: m.Raw})
		}
		refs, err := mb.PutBlobs(ctx, raws)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range chunk {
			l := server[m.File]
			date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", l.InternalDate)
			if err != nil {
				t.Fatal(err)
			}
			head := mime.ParseHeader(m.Raw[:headEnd(m.Raw)])
			n := store.NewMessage{PlacementRef: store.PlacementRef{Folder: folderIDs[m.Folder], UIDValidity: 1, UID: l.UID}, InternalDate: date, Size: int64(len(m.Raw)), Head: head}
			n.Flags, n.Keywords = mail.ParseFlags(l.Flags)
			n.FP, n.Strong = mime.Fingerprint(head)
			n.Threading = mb.IDKey().ThreadKeys(head, n.FP)
			n.Content = &store.Content{Digest: sha256.Sum256(m.Raw), Raw: refs[i], Size: int64(len(m.Raw)), Head: head}
			b.New = append(b.New, n)
			files[n.PlacementRef] = m.File
			facts[m.File] = query.Doc{Flags: n.Flags, Keywords: n.Keywords, Received: date.Unix(), Size: n.Size, Places: []query.Place{{Folder: n.Folder, UID: n.UID}}}
		}
		r, err := mb.Apply(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for ref, id := range r.IDs {
			ids[files[ref]] = id
		}
		b = store.Batch{Term: term, Origin: mail.OriginInitial}
	}
	for more := true; more; {
		var err error
		if more, err = mb.Index(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return mb, ids, facts
}

func headEnd(raw []byte) int {
	if i := strings.Index(string(raw), "\r\n\r\n"); i >= 0 {
		return i + 4
	}
	return len(raw)
}

// find returns all messages of a folder that a search finds.
func find(t *testing.T, mb *store.Mailbox, folder mail.FolderID, q *query.Query) map[mail.MessageID]bool {
	t.Helper()
	out := map[mail.MessageID]bool{}
	mq := store.MessageQuery{Search: q, Folders: []mail.FolderID{folder}, Limit: 1000}
	for {
		list, next, err := mb.Messages(t.Context(), mq)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			out[m.ID] = true
		}
		if mq.Before = next; next == 0 {
			return out
		}
	}
}

// quoted writes a query of the oracle, which has literals, in quotes.
func quoted(imap string) string {
	for {
		i := strings.IndexByte(imap, '{')
		j := strings.IndexByte(imap, '}')
		if i < 0 || j < i {
			return imap
		}
		var n int
		if _, err := fmt.Sscanf(imap[i:], "{%d}", &n); err != nil {
			return imap
		}
		imap = imap[:i] + `"` + imap[j+1:j+1+n] + `"` + imap[j+1+n:]
	}
}

// TestSearch compares what the corpus' searches find with what Dovecot finds. A set that differs must differ for reasons of
// docs/search.md.
func TestSearch(t *testing.T) {
	t.Parallel()
	dir := Dir(t)
	if dir == "" || testing.Short() {
		return
	}
	s := newStore(t)
	mb, ids, facts := fill(t, s, dir)
	in := map[string][]Message{}
	copies := map[mail.MessageID]int{}
	for _, m := range Messages(t, dir) {
		in[m.Folder] = append(in[m.Folder], m)
		copies[ids[m.File]]++
	}
	sets, same, explained := 0, 0, 0
	reasons := map[string]int{}
	oracle(t, dir, "search.jsonl", func(o searched) {
		text := quoted(o.IMAP)
		q, err := query.Parse(text, time.Unix(1.7e9, 0))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, folder := range slices.Sorted(maps.Keys(o.Results)) {
			found := find(t, mb, folderIDs[folder], q)
			theirs := map[string]bool{}
			for _, f := range o.Results[folder] {
				theirs[f] = true
			}
			differ, unknown := 0, 0
			for _, m := range in[folder] {
				is := theirs[m.File]
				if is == found[ids[m.File]] {
					continue
				}
				differ++
				if copies[ids[m.File]] > 1 && !q.NeedsText() {
					reasons["copies are one message"]++
				} else if how, ok := why(q, m.Raw, facts[m.File], is); ok {
					for r := respect(1); r < lastRespect; r <<= 1 {
						if how&r != 0 {
							reasons[r.String()]++
						}
					}
				} else if copies[ids[m.File]] > 1 {
					reasons["copies are one message"]++
				} else {
					unknown++
					t.Logf("%s in %s: %s, %v in Dovecot only, for no known reason", text, folder, m.File, is)
				}
			}
			sets++
			switch {
			case differ == 0:
				same++
			case unknown == 0:
				explained++
			}
		}
	})
	t.Logf("%d sets: %d as Dovecot's, %d that differ for reasons of docs/search.md, %d for others", sets, same, explained, sets-same-explained)
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%5d times %s", reasons[r], r)
	}
	if (same+explained)*1000 < sets*995 {
		t.Errorf("of %d sets only %d are explained", sets, same+explained)
	}
}
