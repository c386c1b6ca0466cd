package corpus

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

// threaded is a message with what threading reads of it.
type threaded struct {
	Message
	head *mime.Message
	fp   [16]byte
	ok   bool // fp is strong
	keys mime.Threading
	date time.Time
}

var key = mime.MailboxKey("open@example.test")

func readHeads(list []Message, folder string) []threaded {
	var out []threaded
	for _, m := range list {
		if m.Folder != folder {
			continue
		}
		head, _, _ := strings.Cut(string(m.Raw), "\r\n\r\n")
		t := threaded{Message: m, head: mime.ParseHeader([]byte(head + "\r\n\r\n"))}
		t.fp, t.ok = mime.Fingerprint(t.head)
		t.keys = key.ThreadKeys(t.head, t.fp)
		if t.date = t.head.Date; t.date.Year() < 1990 || t.date.Year() > 2030 {
			t.date = time.Unix(1e9, 0)
		}
		out = append(out, t)
	}
	return out
}

// threadsOf has the store thread the messages in this order, so many at a time, and returns the thread of each.
func threadsOf(t *testing.T, s *store.Store, list []threaded, order []int, at int) []mail.ThreadID {
	t.Helper()
	ctx := context.Background()
	acct, mb, term := newMailbox(t, s)
	apply := func(b store.Batch) store.Result {
		b.Term, b.Origin = term, mail.OriginInitial
		r, err := mb.Apply(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	apply(store.Batch{Folders: []mail.Folder{{ID: "f1", RawName: "INBOX", Name: "INBOX", Selectable: true, UIDValidity: 1}}})
	ids := make([]mail.MessageID, len(list))
	for chunk := range slices.Chunk(order, at) {
		var b store.Batch
		for _, i := range chunk {
			m := &list[i]
			n := store.NewMessage{PlacementRef: store.PlacementRef{Folder: "f1", UIDValidity: 1, UID: mail.UID(i + 1)}, InternalDate: m.date, Size: int64(len(m.Raw)),
				Head: m.head, FP: m.fp, Strong: m.ok, Threading: mb.IDKey().ThreadKeys(m.head, m.fp)}
			refs, err := mb.PutBlobs(ctx, []store.BlobData{{Kind: store.BlobRaw, Data: []byte(m.File)}})
			if err != nil {
				t.Fatal(err)
			}
			n.Content = &store.Content{Digest: sha256.Sum256(m.Raw), Raw: refs[0], Size: int64(len(m.File)), Head: m.head}
			b.New = append(b.New, n)
		}
		for r, id := range apply(b).IDs {
			ids[r.UID-1] = id
		}
	}
	if problems, err := mb.Check(ctx); err != nil || len(problems) > 0 {
		t.Fatalf("check: %v %v", problems, err)
	}
	out := make([]mail.ThreadID, len(list))
	for i, id := range ids {
		m, err := mb.Message(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = m.Thread
	}
	if err := s.DeleteAccount(ctx, acct); err != nil {
		t.Fatal(err)
	}
	return out
}

// groups renumbers a partition so that equal partitions are equal.
func groups[T comparable](threads []T) []int {
	first := map[T]int{}
	out := make([]int, len(threads))
	for i, th := range threads {
		if _, ok := first[th]; !ok {
			first[th] = i
		}
		out[i] = first[th]
	}
	return out
}

type agreed struct {
	Folder  string
	Threads [][]string
}

var orders = flag.Int("orders", 1, "orders of arrival besides that of the dates, newest first")

// The threads of the corpus, beside those on which Dovecot's REFS and notmuch agree. Where they differ, the reason is one of
// docs/threads.md.
func TestThreads(t *testing.T) {
	t.Parallel()
	dir := Dir(t)
	if dir == "" {
		return
	}
	all := Messages(t, dir)
	s := newStore(t)
	oracle(t, dir, "agreed_threads.jsonl", func(truth agreed) {
		list := readHeads(all, truth.Folder)
		rng := rand.New(rand.NewPCG(1, uint64(len(list))))
		byDate := rng.Perm(len(list))
		slices.SortFunc(byDate, func(x, y int) int { return list[y].date.Compare(list[x].date) })
		ours := threadsOf(t, s, list, byDate, 500)
		for n := range *orders {
			if again := threadsOf(t, s, list, rng.Perm(len(list)), 37+n*211); !slices.Equal(groups(ours), groups(again)) {
				t.Errorf("%s: another order makes other threads", truth.Folder)
			}
		}
		compare(t, list, ours, truth)
	})
}

// The reasons why our threads are not those that the oracles agree on.
const (
	otherSubject = "apart: another subject that says of no reply"
	betweenThem  = "apart: what stands between them has another subject"
	oneMessage   = "together: one message twice"
	noParent     = "together: a reply that names no parent, its subject and people"
	threadIndex  = "together: Thread-Index"
	sharedID     = "together: a Message-ID in common"
	thirdParty   = "together: by messages on which the oracles differ"
	unexplained  = "unexplained"
)

// compare sorts the differences between our threads and the agreed ones by their reasons.
func compare(t *testing.T, list []threaded, ours []mail.ThreadID, truth agreed) {
	at := map[string]int{}
	for i := range list {
		at[list[i].File] = i
	}
	theirs := map[int]int{}
	members := map[mail.ThreadID][]int{}
	reasons := map[string]int{}
	examples := map[string]string{}
	note := func(reason string, x, y int) {
		reasons[reason]++
		if reasons[reason] <= 8 {
			examples[reason] += fmt.Sprintf("\n    %s %q  %s %q", list[x].File, list[x].head.Subject, list[y].File, list[y].head.Subject)
		}
	}
	multi, exact := 0, 0
	for n, files := range truth.Threads {
		parts := map[mail.ThreadID]int{}
		for _, f := range files {
			i, ok := at[f]
			if !ok {
				t.Fatalf("no message %s", f)
			}
			theirs[i] = n
			if _, ok := parts[ours[i]]; !ok {
				parts[ours[i]] = i
			}
			members[ours[i]] = append(members[ours[i]], i)
		}
		if len(files) > 1 {
			multi++
			if len(parts) == 1 {
				exact++
			}
		}
		first := -1
		for _, f := range files {
			i := at[f]
			if first < 0 {
				first = i
			}
			if parts[ours[i]] != i || i == first {
				continue
			}
			switch {
			case base(list[i].head) != base(list[first].head):
				note(otherSubject, first, i)
			case link(&list[i], &list[first]) == "":
				note(betweenThem, first, i)
			default:
				note(unexplained, first, i)
			}
		}
	}
	whole := map[mail.ThreadID]int{}
	for _, th := range ours {
		whole[th]++
	}
	for _, m := range members {
		up := map[int]int{} // of the oracle's threads inside ours, joined as links are found
		for _, x := range m {
			up[theirs[x]] = theirs[x]
		}
		root := func(x int) int {
			r := theirs[x]
			for up[r] != r {
				r = up[r]
			}
			return r
		}
		parts := len(up)
		for a, x := range m {
			for _, y := range m[:a] {
				if parts == 1 || root(x) == root(y) {
					continue
				}
				if r := link(&list[x], &list[y]); r != "" {
					up[root(x)] = root(y)
					parts--
					note(r, y, x)
				}
			}
		}
		if parts > 1 {
			if whole[ours[m[0]]] > len(m) {
				note(thirdParty, m[0], m[len(m)-1])
			} else {
				note(unexplained, m[0], m[len(m)-1])
			}
		}
	}
	t.Logf("%s: %d messages, threads of the oracle with several messages: %d, as they are: %d", truth.Folder, len(theirs), multi, exact)
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%s: %d times %s%s", truth.Folder, reasons[r], r, examples[r])
	}
	if reasons[unexplained] > 0 {
		t.Errorf("%s: threads that differ for no known reason", truth.Folder)
	}
	if exact*100 < multi*80 && multi > 10 {
		t.Errorf("%s: of %d threads with several messages only %d are those of the oracles", truth.Folder, multi, exact)
	}
}

func base(m *mime.Message) string {
	return strings.ReplaceAll(mime.BaseSubject(m.Subject).Base, " ", "")
}

// link tells what puts two messages in one thread of ours directly; "": nothing.
func link(x, y *threaded) string {
	if x.fp == y.fp {
		return oneMessage
	}
	ids := map[string]bool{x.head.MessageID: true}
	for _, id := range append(slices.Clone(x.head.References), x.head.InReplyTo...) {
		ids[id] = true
	}
	delete(ids, "")
	for _, id := range append(append([]string{y.head.MessageID}, y.head.References...), y.head.InReplyTo...) {
		if ids[id] {
			return sharedID
		}
	}
	if i, j := x.head.Header.Get("Thread-Index"), y.head.Header.Get("Thread-Index"); len(i) >= 28 && len(j) >= 28 && i[8:28] == j[8:28] {
		return threadIndex
	}
	if (x.keys.Lone || y.keys.Lone) && x.keys.Subject == y.keys.Subject {
		return noParent
	}
	return ""
}
