package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
)

// index takes everything into the search index.
func (b *box) index() {
	b.t.Helper()
	if err := indexAll(b.Mailbox); err != nil {
		b.t.Fatalf("Index: %v", err)
	}
}

// indexAll takes everything into the search index, and merges.
func indexAll(m *Mailbox) (err error) {
	for _, step := range []func(context.Context) (bool, error){m.Index, m.Merge} {
		for more := true; more && err == nil; {
			more, err = step(context.Background())
		}
	}
	return err
}

func parseQuery(t testing.TB, s string) *query.Query {
	t.Helper()
	q, err := query.Parse(s, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	err = q.BindFolders(func(name string) ([]mail.FolderID, error) { return []mail.FolderID{fid(name)}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var searchWords = strings.Fields("harbour Straße CAFÉ café ledger invoice invoices 100% don't re_port 旅行の手紙 旅行 手紙です 서울에서 письмо ёлка ∑ 🎰 naïve a.b-c x@example.org ab")

// searchBox has messages of random words.
func searchBox(t *testing.T, p *place, n int) *box {
	b := newBox(t, p)
	b.folders("INBOX", "Sent", "Archive")
	rng := rand.New(rand.NewPCG(3, 4))
	some := func(n int) string {
		var l []string
		for range rng.IntN(n) + 1 {
			l = append(l, searchWords[rng.IntN(len(searchWords))])
		}
		return strings.Join(l, []string{" ", " ", "\r\n", ", "}[rng.IntN(4)])
	}
	var batch Batch
	for i := range n {
		l := letter{id: fmt.Sprint("m", i), subject: strings.ReplaceAll(some(4), "\r\n", " "), from: fmt.Sprintf("P <P%d@Example.com>", rng.IntN(5)), to: "ada@example.com",
			day: i / 3, sec: rng.IntN(2), body: some(9)}
		if i%4 == 0 && i > 0 {
			l.reply = fmt.Sprint("m", i-4)
		}
		f := []string{"INBOX", "Sent", "Archive"}[rng.IntN(3)]
		if i%11 == 0 {
			batch.New = append(batch.New, b.at(ref(f, mail.UID(i+1)), l)) // its bytes are not there yet
			continue
		}
		batch.New = append(batch.New, b.held(ref(f, mail.UID(i+1)), l, mail.Flags(rng.IntN(16))))
		if len(batch.New) > 30 {
			b.do(batch)
			batch = Batch{}
			if rng.IntN(2) == 0 {
				b.index()
			}
		}
	}
	b.do(batch)
	b.index()
	return b
}

// scan is search without an index: every message that it looks at, read and matched.
func (b *box) scan(q *query.Query) map[mail.MessageID]bool {
	b.t.Helper()
	ctx := context.Background()
	out := map[mail.MessageID]bool{}
	all, _, err := b.Messages(ctx, MessageQuery{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range all {
		if m.Body == mail.BodyNone && q.NeedsText() {
			continue
		}
		d := &query.Doc{Flags: m.Flags, Keywords: m.Keywords, Received: m.Date.Unix(), Size: m.Size, Attached: m.ListedAsAttached}
		if q.NeedsText() && m.Body == mail.BodyQuarantined {
			d.Text, d.SentDay = headDoc(m.Subject, &addresses{From: m.From, To: m.To, Cc: m.Cc, Bcc: m.Bcc}, m.Sent)
		} else if q.NeedsText() {
			r, err := b.RawBlob(ctx, m.ID)
			if err != nil {
				b.t.Fatal(err)
			}
			if d.Text, d.SentDay, err = b.docOfBlob(ctx, r.ID); err != nil {
				b.t.Fatal(err)
			}
		}
		for _, f := range m.Folders {
			d.Places = append(d.Places, query.Place{Folder: f})
		}
		out[m.ID] = q.Match(d)
	}
	return out
}

// wantScan compares what an index that has taken in everything finds with a scan.
func (b *box) wantScan(queries ...string) {
	b.t.Helper()
	for _, text := range queries {
		q := parseQuery(b.t, text)
		list, _, err := b.Messages(context.Background(), MessageQuery{Search: q, Limit: 1000})
		if err != nil {
			b.t.Fatal(err)
		}
		want := b.scan(q)
		for _, m := range list {
			if yes, known := want[m.ID]; !yes && (known || m.Body != mail.BodyNone) { // one that was set aside stays in the index
				b.t.Errorf("%s: finds %s, a scan does not", text, m.ID)
			}
			delete(want, m.ID)
		}
		for id, yes := range want {
			if yes {
				b.t.Errorf("%s: does not find %s", text, id)
			}
		}
	}
}

// randomQuery makes a query that may well find something.
func randomQuery(rng *rand.Rand, depth int) string {
	word := func() string {
		w := searchWords[rng.IntN(len(searchWords))]
		if rng.IntN(3) == 0 {
			r := []rune(w)
			from := rng.IntN(len(r))
			w = string(r[from : from+1+rng.IntN(len(r)-from)])
		}
		if rng.IntN(4) == 0 {
			w += " " + searchWords[rng.IntN(len(searchWords))]
		}
		return `"` + w + `"`
	}
	if depth > 0 && rng.IntN(2) == 0 {
		x, y := randomQuery(rng, depth-1), randomQuery(rng, depth-1)
		return []string{"(" + x + " " + y + ")", "(" + x + " OR " + y + ")", "-(" + x + ")", x + " NOT " + y}[rng.IntN(4)]
	}
	switch rng.IntN(10) {
	case 0:
		return []string{"is:unread", "is:starred", "is:draft", "-is:answered", "in:INBOX", "in:Archive", "larger:200", "has:attachment"}[rng.IntN(8)]
	case 1:
		return fmt.Sprintf("after:2024-01-%02d", rng.IntN(20)+1)
	case 2:
		return "from:p" + fmt.Sprint(rng.IntN(5))
	case 3:
		return "subject:" + word()
	case 4:
		return word() + "*"
	}
	return word()
}

func randomIMAP(rng *rand.Rand, depth int) string {
	if depth > 0 && rng.IntN(2) == 0 {
		x, y := randomIMAP(rng, depth-1), randomIMAP(rng, depth-1)
		return []string{"(" + x + " " + y + ")", "OR " + x + " " + y, "NOT " + x}[rng.IntN(3)]
	}
	w := []rune(searchWords[rng.IntN(len(searchWords))])
	from := rng.IntN(len(w))
	part := `"` + string(w[from:from+1+rng.IntN(len(w)-from)]) + `"`
	switch rng.IntN(9) {
	case 0:
		return []string{"UNSEEN", "SEEN", "FLAGGED", "UNDRAFT", "LARGER 300", "SINCE 5-Jan-2024", "SENTBEFORE 20-Jan-2024"}[rng.IntN(7)]
	case 1:
		return "SUBJECT " + part
	case 2:
		return "FROM " + []string{"p1@", "example.com", "<P3", "xample"}[rng.IntN(4)]
	case 3:
		return `HEADER Message-ID "m1"`
	case 4:
		return "TEXT " + part
	}
	return "BODY " + part
}

// TestSearchIsAScan compares the index with a look at every message, for random queries.
func TestSearchIsAScan(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := searchBox(t, p, 150)
		rng := rand.New(rand.NewPCG(1, 9))
		n, found := 400, 0
		if testing.Short() {
			n = 120
		}
		for i := range n {
			text := randomQuery(rng, 2)
			if i%2 == 1 {
				text = randomIMAP(rng, 2)
			}
			q := parseQuery(t, text)
			want := b.scan(q)
			mq := MessageQuery{Search: q, Limit: rng.IntN(30) + 1}
			if i%5 == 0 {
				mq.Folders = []mail.FolderID{fid("INBOX")}
			}
			got := map[mail.MessageID]bool{}
			last := int64(1 << 62)
			threads := map[mail.ThreadID]bool{}
			for {
				list, next, err := b.Messages(t.Context(), mq)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				for _, m := range list {
					if m.Row >= last {
						t.Fatalf("%s: not newest first", text)
					}
					last = m.Row
					got[m.ID] = true
					threads[m.Thread] = true
				}
				if mq.Before = next; next == 0 {
					break
				}
			}
			for id, yes := range want {
				if mq.Folders != nil {
					yes = yes && slices.Contains(b.get(id).Folders, mq.Folders[0])
				}
				if yes != got[id] {
					t.Errorf("%s: message %s: the scan says %v, the index %v", text, id, yes, got[id])
				}
				if yes {
					found++
				}
				delete(got, id)
			}
			if len(got) > 0 {
				t.Errorf("%s: finds %d messages more", text, len(got))
			}
			if len(q.Asks()) > 0 {
				b.wantRanked(text, q, mq.Folders, want, rng.IntN(30)+1)
			}
			if mq.Folders == nil {
				b.wantThreads(text, q, threads, rng.IntN(20)+1)
			}
			if t.Failed() {
				return
			}
		}
		if found < n {
			t.Errorf("only %d messages found in %d queries: they prove little", found, n)
		}
	})
}

// wantRanked holds the order of relevance against a scan: the same messages, and each at least as relevant as the next.
func (b *box) wantRanked(text string, q *query.Query, folders []mail.FolderID, want map[mail.MessageID]bool, limit int) {
	b.t.Helper()
	mq := MessageQuery{Search: q, Folders: folders, Limit: limit, ByRelevance: true}
	var ids []mail.MessageID
	var counts []query.Counts
	for {
		list, next, err := b.Messages(context.Background(), mq)
		if err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
		for _, m := range list {
			r, err := b.RawBlob(context.Background(), m.ID)
			if err != nil {
				b.t.Fatal(err)
			}
			d := &query.Doc{}
			if d.Text, d.SentDay, err = b.docOfBlob(context.Background(), r.ID); err != nil {
				b.t.Fatal(err)
			}
			ids, counts = append(ids, m.ID), append(counts, q.Count(d))
		}
		if mq.Before = next; next == 0 {
			break
		}
	}
	found := map[mail.MessageID]bool{}
	for _, id := range ids {
		found[id] = true
	}
	for id, yes := range want {
		if folders != nil {
			yes = yes && slices.Contains(b.get(id).Folders, folders[0])
		}
		if yes != found[id] {
			b.t.Errorf("%s by relevance: message %s: the scan says %v, the index %v", text, id, yes, found[id])
		}
	}
	if len(found) != len(ids) {
		b.t.Errorf("%s by relevance: some messages are there twice", text)
	}
	var total int64
	var having []int64
	if err := b.db.read(context.Background(), func(t *tx) error {
		return b.openSearch(context.Background(), t, q, func(s *search) error {
			r := &ranking{search: s}
			err := r.weigh()
			total, having = r.total, r.having
			return err
		})
	}); err != nil {
		b.t.Fatal(err)
	}
	scores := query.Rank(counts, total, having)
	for i := 1; i < len(scores); i++ {
		if scores[i] > scores[i-1] {
			b.t.Errorf("%s by relevance: %v", text, scores)
			break
		}
	}
}

// TestRelevance looks at more messages than are put in order at once.
func TestRelevance(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Archive")
		n := mostRanked + 200
		for from := 0; from < n; from += 100 {
			var batch Batch
			for i := from; i < from+100; i++ {
				l := letter{id: fmt.Sprint("m", i), subject: fmt.Sprint("number ", i), body: fmt.Sprintf("a word among others %d", i), day: i}
				f := "INBOX"
				switch i {
				case 1: // an old one that says it in its subject
					l.subject = "word"
				case n - 300: // and one that is all about it, in another folder
					l.body, f = "word, word, word", "Archive"
				case 3: // and one that matches in part
					l.body = "sword"
				}
				batch.New = append(batch.New, b.held(ref(f, mail.UID(i+1)), l))
			}
			b.do(batch)
		}
		b.index()
		list := func(text string, q MessageQuery) (subjects []string, next int64) {
			t.Helper()
			q.Search, q.ByRelevance = parseQuery(t, text), true
			msgs, next, err := b.Messages(t.Context(), q)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			for _, m := range msgs {
				subjects = append(subjects, m.Subject)
			}
			return subjects, next
		}
		got, next := list("word", MessageQuery{Limit: 4})
		if want := []string{"word", fmt.Sprint("number ", n-300), fmt.Sprint("number ", n-1), fmt.Sprint("number ", n-2)}; !slices.Equal(got, want) || next != 4 {
			t.Errorf("%v, %d", got, next)
		}
		if got, next := list("word", MessageQuery{Limit: 1000}); len(got) != mostRanked || next != 0 {
			t.Errorf("%d messages, then %d", len(got), next)
		}
		if got, next := list("word", MessageQuery{Limit: 7, Before: mostRanked - 3}); len(got) != 3 || next != 0 {
			t.Errorf("the last page has %d, then %d", len(got), next)
		}
		if got, _ := list("word", MessageQuery{Folders: []mail.FolderID{fid("Archive")}}); !slices.Equal(got, []string{fmt.Sprint("number ", n-300)}) {
			t.Errorf("in one folder: %v", got)
		}
		if got, _ := list("word in:Archive", MessageQuery{}); !slices.Equal(got, []string{fmt.Sprint("number ", n-300)}) {
			t.Errorf("in one folder, by the query: %v", got)
		}
		if got, _ := list(`BODY "sword"`, MessageQuery{Before: 5}); len(got) != 0 {
			t.Errorf("after the last: %v", got)
		}
		if _, _, err := b.Messages(t.Context(), MessageQuery{ByRelevance: true}); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("without a search: %v", err)
		}
	})
}

// TestRelevanceOutOfTime: a page by relevance that has no time to look at all that may match has a cursor, as one by date.
func TestRelevanceOutOfTime(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		var batch Batch
		for i := range mostRanked + 50 {
			l := letter{id: fmt.Sprint("m", i), subject: fmt.Sprint("number ", i), body: "word for word", day: i}
			if i == 1 || i == mostRanked {
				l.body = "for word word"
			}
			batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(i+1)), l))
		}
		b.do(batch)
		b.index()
		page := func(offset int64, limit time.Duration, wantNext int64, want ...string) {
			t.Helper()
			b.searchTime = limit
			list, next, err := b.Messages(t.Context(), MessageQuery{Search: parseQuery(t, `BODY "for word word"`), ByRelevance: true, Before: offset})
			var got []string
			for _, m := range list {
				got = append(got, m.Subject)
			}
			if err != nil || !slices.Equal(got, want) || next != wantNext {
				t.Errorf("from %d: %v, then %d (%v), want %v, then %d", offset, got, next, err, want, wantNext)
			}
		}
		newer, older := fmt.Sprint("number ", mostRanked), "number 1"
		page(0, 0, 1, newer)
		page(1, time.Hour, 0, older)
		page(1, 0, 0)
		page(0, time.Hour, 0, newer, older)
	})
}

func (b *box) wantThreads(text string, q *query.Query, want map[mail.ThreadID]bool, limit int) {
	b.t.Helper()
	tq := ThreadQuery{Search: q, Limit: limit}
	last := int64(1 << 62)
	for {
		list, next, err := b.Threads(context.Background(), tq)
		if err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
		for _, th := range list {
			if th.Row >= last || !want[th.ID] {
				b.t.Errorf("%s: thread %s is out of order, there twice, or has no such message", text, th.ID)
			}
			last = th.Row
			delete(want, th.ID)
		}
		if tq.Before = next; next == 0 {
			break
		}
	}
	if len(want) > 0 {
		b.t.Errorf("%s: %d threads are missing", text, len(want))
	}
}

func (b *box) wantFound(text string, want int) {
	b.t.Helper()
	list, _, err := b.Messages(context.Background(), MessageQuery{Search: parseQuery(b.t, text)})
	if err != nil || len(list) != want {
		b.t.Errorf("%s: %d messages (%v), want %d", text, len(list), err, want)
	}
}

// wantIndexed looks at how many messages the index has, and that it has all that can be searched.
func (b *box) wantIndexed(n, total int64) {
	b.t.Helper()
	if p, err := b.SearchProgress(context.Background()); err != nil || p != (SearchProgress{Indexed: n, Total: total}) {
		b.t.Errorf("the index has %+v, %v, want %d of %d", p, err, n, total)
	}
}

// execBlobs changes what the database holds of bodies.
func (b *box) execBlobs(sql string, args ...any) {
	b.t.Helper()
	if err := b.db.blobs.write(context.Background(), func(t *tx) error {
		_, err := t.exec(context.Background(), sql, args...)
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
}

// TestIndexFollows takes a mailbox through changes and asks in between.
func TestIndexFollows(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Archive")
		count := b.wantFound
		one, two := letter{id: "one", subject: "first", body: "alpha beta"}, letter{id: "two", subject: "second", body: "alpha gamma", day: 1}
		b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 1), one), b.held(ref("INBOX", 2), two)}})
		b.index()
		count("alpha", 1)
		count("subject:first", 0)
		b.wantIndexed(1, 2)
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 1), one)}})
		if p, err := b.SearchProgress(t.Context()); err != nil || !p.Behind {
			t.Errorf("progress %+v, %v", p, err)
		}
		b.index()
		count("alpha", 2)
		count("in:INBOX subject:first", 1)
		b.do(Batch{Quarantine: nil, Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 1), Flags: mail.FlagSeen}}}) // seen without the index
		count("alpha is:unread", 1)
		three := letter{id: "three", subject: "third", body: "alpha", day: 2}
		b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 3), three)}})
		b.do(Batch{Quarantine: []Trouble{{PlacementRef: ref("INBOX", 3), Reason: "no", NextTry: farFuture}}})
		b.index()
		count("alpha", 2)
		count("third", 1) // by its header
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 3), three)}})
		b.index()
		count("alpha", 3)
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 2)}})
		b.sweep(farFuture)
		count("gamma", 0)
		b.index()
		count("alpha", 2)
		b.ok()
		b.do(Batch{New: []NewMessage{b.held(ref("Archive", 9), two)}}) // the same row again
		b.index()
		count("gamma", 1)
		b.ok()
		if err := b.DropIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		count("alpha", 0)
		b.index()
		count("alpha", 3)
		b.ok()
	})
}

// A message whose bytes are damaged or lost is found by its header, and by its text once they are here again.
func TestIndexOfDamagedBytes(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		damage := []string{"DELETE FROM chunks WHERE {a}id >= ? AND id < ?", "DELETE FROM blobs WHERE {a}id * 65536 >= ? AND id * 65536 < ?"}
		var restored []Body
		for i, sql := range damage {
			l := letter{id: fmt.Sprint("m", i), subject: "hello", day: i, body: "the quayside ledger"}
			r := ref("INBOX", mail.UID(i+1))
			restored = append(restored, b.body(r, l))
			raw, err := b.RawBlob(t.Context(), b.do(Batch{New: []NewMessage{b.held(r, l)}}).IDs[r])
			if err != nil {
				t.Fatal(err)
			}
			b.execBlobs(sql, raw.ID<<16, (raw.ID+1)<<16)
		}
		b.index()
		b.wantFound("hello", len(damage))
		b.wantFound("quayside", 0)
		b.wantIndexed(2, 2)
		b.do(Batch{Restored: restored})
		b.index()
		b.wantFound("hello quayside", len(damage))
		b.wantIndexed(2, 2)
		b.ok()
		// Bytes that come back in another way: Check says that the index has to be made again.
		away := "UPDATE chunks SET id = -id WHERE {a}1=1"
		b.execBlobs(away)
		if err := b.DropIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.index()
		b.execBlobs(away)
		problems, err := b.Check(t.Context())
		if err != nil || len(problems) != 2 || !strings.Contains(problems[0].What, "has its header only") {
			t.Errorf("check: %v, %v", problems, err)
		}
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 1), Flags: mail.FlagSeen}, {PlacementRef: ref("INBOX", 2), Flags: mail.FlagSeen}}})
		b.index() // or their next change is enough
		b.ok()
	})
}

// A message at which the parser panics is found by its header, holds up no other, and is not read again and again.
func TestIndexOfWhatPanics(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		var panics atomic.Int32
		p.o.Panic = func() { panics.Add(1) }
		b := newBox(t, p)
		b.docOf = func(raw io.ReadSeeker) ([query.NumFields]string, int32, error) {
			if all, _ := io.ReadAll(raw); bytes.Contains(all, []byte("quayside")) {
				panic("stumbles")
			}
			_, _ = raw.Seek(0, io.SeekStart)
			return docOf(raw)
		}
		b.folders("INBOX")
		for i, body := range []string{"the first ledger", "the quayside ledger", "the quayside ledger" + strings.Repeat("\r\n"+strings.Repeat("x", 70), smallRaw/70), "the last ledger"} {
			b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(i+1)), letter{id: fmt.Sprint("m", i), subject: "hello", day: i, body: body})}})
		}
		b.index()
		b.wantFound("hello", 4)
		b.wantFound("ledger", 2)
		b.wantIndexed(4, 4)
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 2), Flags: mail.FlagSeen}}})
		b.index()
		if n := panics.Load(); n != 2 {
			t.Errorf("%d panics at two messages", n)
		}
		b.ok()
	})
}

// A message that is deleted and comes back before the index has looked leaves nothing behind: with another date it is another
// row, and without its bytes it has no text.
func TestIndexOfWhatComesAgain(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		l := letter{id: "a", subject: "hello", day: 1, body: "the quayside ledger"}
		first := b.held(ref("INBOX", 1), l)
		id := b.do(Batch{New: []NewMessage{first}}).IDs[first.PlacementRef]
		b.index()
		again := func(n NewMessage) {
			t.Helper()
			b.do(Batch{Removed: []PlacementRef{{Folder: n.Folder, UIDValidity: n.UIDValidity, UID: n.UID - 1}}})
			b.sweep(farFuture)
			if got := b.do(Batch{New: []NewMessage{n}}).IDs[n.PlacementRef]; got != id {
				t.Fatalf("it comes back as %s, was %s", got, id)
			}
			b.index()
		}
		later := b.held(ref("INBOX", 2), l)
		later.InternalDate = later.InternalDate.AddDate(0, 1, 0)
		again(later)
		b.wantFound("quayside", 1)
		b.wantIndexed(1, 1)
		b.ok()
		bare := b.at(ref("INBOX", 3), l)
		bare.InternalDate = later.InternalDate
		again(bare)
		b.wantFound("quayside", 0)
		b.wantIndexed(0, 1)
		b.do(Batch{Bodies: []Body{b.body(bare.PlacementRef, l)}})
		b.index()
		b.wantFound("quayside", 1)
		b.ok()
	})
}

// A search waits for an index that is a step behind. One that cannot catch up in time is not waited for: behind by a
// backlog, or resting while an initial sync goes on.
// Characters that are many when they are folded make a text longer than a block can be: what is too much of it is left out, and
// what came after it is found.
func TestIndexOfTextThatGrows(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		long := strings.Repeat("\ufdfa ", maxSearchText/4)
		b.do(Batch{New: []NewMessage{
			b.held(ref("INBOX", 1), letter{id: "a", subject: long[:100<<10], to: long[:100<<10], cc: long[:100<<10], from: long[:100<<10], body: "first\r\n" + long}),
			b.held(ref("INBOX", 2), letter{id: "b", subject: "second", body: "b"}),
		}})
		b.index()
		b.wantFound("body:first", 1)
		b.wantFound("second", 1)
		b.ok()
	})
}

func TestAwaitIndex(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		uid := mail.UID(0)
		deliver := func(n int) {
			var batch Batch
			for range n {
				uid++
				batch.New = append(batch.New, b.at(ref("INBOX", uid), letter{id: fmt.Sprint("m", uid), subject: "x"}))
			}
			b.do(batch)
		}
		waits := func(want bool, why string) {
			t.Helper()
			done := make(chan time.Time, 1)
			done <- time.Time{}
			if p, err := b.AwaitIndex(t.Context(), done); err != nil || !p.Behind || (len(done) == 0) != want {
				t.Errorf("%s: %+v, %v, waited: %v", why, p, err, len(done) == 0)
			}
		}
		deliver(1)
		waits(false, "an initial sync")
		b.do(Batch{Done: true})
		waits(true, "a message, no index yet")
		deliver(indexBatch)
		waits(false, "a backlog, no index yet")
		b.index()
		if p, err := b.AwaitIndex(t.Context(), nil); err != nil || p.Behind {
			t.Errorf("%+v, %v", p, err)
		}
		deliver(1)
		waits(true, "a message")
		deliver(indexBatch)
		waits(false, "a backlog")
	})
}

// TestIndexFilledByChanges: what the change log has told of need not be looked for among the older messages once more before searches
// are answered at once.
func TestIndexFilledByChanges(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		deliver := func(first, last int) {
			var batch Batch
			for n := first; n <= last; n++ {
				batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(n)), letter{id: fmt.Sprint("m", n), subject: "x", day: n}))
			}
			b.do(batch)
		}
		b.step()
		if s, _ := b.indexState(); s.version == 0 || s.below != 0 {
			t.Errorf("there is nothing, and older messages are to be taken in: %+v", s)
		}
		b.do(Batch{Done: true})

		deliver(1, 1)
		if err := b.DropIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.step()
		deliver(2, indexBatch+1)
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 1), Flags: mail.FlagSeen}}})
		b.step()
		b.step()
		if s, _ := b.indexState(); s.below == 0 {
			t.Fatalf("the older messages were looked at: %+v", s)
		}
		if p, err := b.SearchProgress(t.Context()); err != nil || p.Behind || p.Indexed != indexBatch+1 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// The text that is searched is the one that is shown: also where a header has bytes without a charset.
// TestSearchDocLinks: the address of a link does not come between the words around it, and is found too.
func TestSearchDocLinks(t *testing.T) {
	t.Parallel()
	text, _, err := docOf(strings.NewReader("Content-Type: text/html\r\n\r\n<p>see the <a href='https://example.org/r?id=7'>annual report</a> for details</p>"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(text[query.Body]), "see the annual report for details\n\nhttps://example.org/r?id=7"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSearchDocIsWhatIsShown(t *testing.T) {
	t.Parallel()
	raw := "Subject: [wm] \xe7ekili\xfeini ka\xe7\xfdrmay\xfdn\r\nFrom: ann@example.com\r\nContent-Type: text/plain; charset=iso-8859-9\r\n\r\nx\r\n"
	m, err := mime.Parse(strings.NewReader(raw), mime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := docOf(strings.NewReader(raw))
	if want := query.Fold(m.Subject); err != nil || text[query.Subject] != want || !strings.Contains(m.Subject, "çekilişini") {
		t.Errorf("shown as %q, searched as %q: %v", want, text[query.Subject], err)
	}
}
