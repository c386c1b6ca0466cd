package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	mrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/binary"
)

// million stores a mailbox of a million messages, or -n, and one of a tenth of that, the way a first synchronisation does, but without
// a mail server: first the headers, which makes the threads, then the bytes, then the search index. Then it starts the program on them
// and asks its API. Each figure is printed as soon as it is known.
func million(ctx context.Context, o options) error {
	dir := o.data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "posthorn-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	master := sha256.Sum256([]byte("a mailbox that nobody reads"))
	keys, err := vault.NewKeyring(master[:])
	if err != nil {
		return err
	}
	data, list := filepath.Join(dir, "data"), filepath.Join(dir, "accounts.json")
	fmt.Printf("%s, %d CPUs; %s\n\n", runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly))
	var boxes []*manyBox
	made, err := os.ReadFile(list)
	switch {
	case err == nil:
		err = json.Unmarshal(made, &boxes)
	case errors.Is(err, fs.ErrNotExist):
		if boxes, err = fillAll(ctx, data, keys, o); err == nil && o.data != "" {
			if made, err = json.Marshal(boxes); err == nil {
				err = os.WriteFile(list, made, 0o600)
			}
		}
	}
	if err != nil {
		return err
	}
	if o.profile != "" {
		pprof.StopCPUProfile()
	}
	debug.FreeOSMemory()

	s, err := binary.Start(ctx, binary.Options{Path: o.bin, Dir: data, Crypt: hex.EncodeToString(master[:]), Env: append([]string{"POSTHORN_LOG_LEVEL=error"}, o.env...)})
	if err != nil {
		return err
	}
	defer s.Kill()
	for _, b := range boxes {
		if err := b.ask(ctx, s, o.requests); err != nil {
			return err
		}
	}
	fmt.Printf("\npeak memory of the server: %d MiB\n", s.PeakRSS()>>20)
	return s.Stop(ctx)
}

// fillAll makes the mailboxes.
func fillAll(ctx context.Context, data string, keys *vault.Keyring, o options) (boxes []*manyBox, err error) {
	s, err := store.Open(ctx, store.Options{Dir: data, Keys: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, n := range []int{o.n / 10, o.n} {
		b, err := newManyBox(ctx, s, data, n, o.seed)
		if err != nil {
			return nil, err
		}
		if err := b.fill(ctx); err != nil {
			return nil, err
		}
		boxes = append(boxes, b)
	}
	return boxes, nil
}

// manyBox is a mailbox whose message i is always the same.
type manyBox struct {
	*store.Mailbox `json:"-"`
	ID             mail.AccountID
	N              int
	Inbox, Archive mail.FolderID

	dir     string // of its files
	n       int
	seed    uint64
	words   []string // the index of the frequent ones is there more often
	folders []mail.Folder
	term    mail.Term
	text    int64 // bytes of all messages
}

func newManyBox(ctx context.Context, s *store.Store, dir string, n int, seed uint64) (*manyBox, error) {
	app, err := s.DefaultApp(ctx)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	now := time.Now().Truncate(time.Millisecond).UTC()
	user := fmt.Sprintf("many%d@example.com", n)
	a := mail.Account{
		ID: mail.AccountID(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])), App: app.ID, Email: user, Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "127.0.0.1", Port: 9, Security: mail.SecurityNone, Username: user}}, // nobody is there
		Sync:     mail.SyncStatus{State: mail.StateConnecting, Since: now}, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.CreateAccount(ctx, a, mail.Credentials{IMAPPassword: mail.NewSecret("none")}); err != nil {
		return nil, err
	}
	m, err := s.Mailbox(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	b := &manyBox{Mailbox: m, ID: a.ID, N: n, dir: filepath.Join(dir, "acct", string(a.ID[:2]), string(a.ID)), n: n, seed: seed, words: manyWords()}
	if b.term, err = m.NextTerm(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{"INBOX", "Archive", "Sent", "Lists"} {
		f := mail.Folder{ID: mail.FolderID(m.IDKey().FolderID(name)), RawName: name, Name: name, Delimiter: "/", Selectable: true, UIDValidity: 1}
		if name == "Sent" {
			f.Role = mail.RoleSent
		}
		b.folders = append(b.folders, f)
	}
	b.Inbox, b.Archive = b.folders[0].ID, b.folders[1].ID
	_, err = m.Apply(ctx, store.Batch{Term: b.term, Origin: mail.OriginInitial, Folders: b.folders})
	return b, err
}

// manyWords draws a million words of 60,000, as frequent as words are.
func manyWords() []string {
	z := mrand.NewZipf(mrand.New(mrand.NewPCG(2, 3)), 1.2, 4, 60000)
	out := make([]string, 1<<20)
	for i := range out {
		out[i] = manyWord(z.Uint64())
	}
	return out
}

// manyWord is one of the words, the most frequent first.
func manyWord(i uint64) string { return fmt.Sprintf("w%x", i*2654435761%1000003) }

func (b *manyBox) random(i int, what uint64) *mrand.Rand {
	return mrand.New(mrand.NewPCG(b.seed^what<<32, uint64(i)))
}

func (b *manyBox) messageID(i int) string {
	return fmt.Sprintf("<%x.%d@mx.example>", b.random(i, 1).Uint64(), i)
}

// parent is the message that i answers, a little older, or -1.
func (b *manyBox) parent(i int) int {
	r := b.random(i, 2)
	if i == 0 || r.IntN(100) >= 60 {
		return -1
	}
	return max(0, i-1-int(r.ExpFloat64()*100))
}

const manyStart = 1420070400 // 2015-01-01

// message makes the bytes of message i: a header of 700 bytes and a text of a kilobyte or two.
func (b *manyBox) message(i int) (raw []byte, n store.NewMessage) {
	r := b.random(i, 3)
	at := time.Unix(manyStart+int64(i)*int64(10*365*24*3600/b.n), 0).UTC()
	who := int(math.Pow(r.Float64(), 3) * 2000)
	subject, refs := i, []string(nil)
	for p := b.parent(i); p >= 0; p = b.parent(p) {
		subject = p
		if len(refs) < 8 {
			refs = append(refs, b.messageID(p))
		}
	}
	word := func(r *mrand.Rand) string { return b.words[r.IntN(len(b.words))] }
	out := bytes.NewBuffer(make([]byte, 0, 4096))
	fmt.Fprintf(out, "Return-Path: <person%d@example%d.com>\r\nReceived: from relay%d.example (relay%d.example [192.0.2.%d])\r\n\tby mx.example with ESMTPS id %x;\r\n\t%s\r\nDate: %s\r\nFrom: Person %d <person%d@example%d.com>\r\nTo: Ada <ada@example.com>, person%d@example.org\r\n",
		who, who%50, i%9, i%9, i%250, r.Uint64(), at.Format(time.RFC1123Z), at.Format(time.RFC1123Z), who, who, who%50, r.IntN(500))
	if len(refs) > 0 {
		slices.Reverse(refs)
		fmt.Fprintf(out, "In-Reply-To: %s\r\nReferences: %s\r\n", refs[len(refs)-1], strings.Join(refs, "\r\n "))
	}
	sr := b.random(subject, 4)
	out.WriteString("Subject: ")
	if subject != i {
		out.WriteString("Re: ")
	}
	for range 5 {
		out.WriteString(word(sr) + " ")
	}
	fmt.Fprintf(out, "%d\r\nMessage-ID: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", subject%1000, b.messageID(i))
	col := 0
	for range min(int(math.Exp(5+0.7*r.NormFloat64())), 5000) {
		w := word(r)
		out.WriteString(w)
		if col += len(w) + 1; col > 66 {
			out.WriteString("\r\n")
			col = 0
		} else {
			out.WriteByte(' ')
		}
	}
	out.WriteString("\r\n")
	var flags mail.Flags
	if r.IntN(20) > 0 {
		flags |= mail.FlagSeen
	}
	if r.IntN(50) == 0 {
		flags |= mail.FlagFlagged
	}
	folder := b.folders[[]int{0, 0, 0, 0, 0, 1, 1, 1, 2, 3}[r.IntN(10)]]
	return out.Bytes(), store.NewMessage{
		PlacementRef: store.PlacementRef{Folder: folder.ID, UIDValidity: 1, UID: mail.UID(i + 1)}, Flags: flags, InternalDate: at, Size: int64(out.Len()),
	}
}

// header is what the first look at message i stores.
func (b *manyBox) header(i int) store.NewMessage {
	raw, n := b.message(i)
	end := bytes.Index(raw, []byte("\r\n\r\n"))
	n.Head = mime.ParseHeader(bytes.Clone(raw[:end+4]))
	n.FP, n.Strong = mime.Fingerprint(n.Head)
	n.Threading = b.IDKey().ThreadKeys(n.Head, n.FP)
	return n
}

// body is message i with its bytes, and what is shown of it.
func (b *manyBox) body(i int) (store.Body, [2]store.BlobData, error) {
	raw, n := b.message(i)
	m, err := mime.Parse(bytes.NewReader(raw), mime.Options{})
	if err != nil {
		return store.Body{}, [2]store.BlobData{}, err
	}
	out := store.Body{PlacementRef: n.PlacementRef, Content: store.Content{Digest: sha256.Sum256(raw), Size: int64(len(raw)), Snippet: mime.Snippet(m.Text, m.HTML)}}
	shown, html := mime.DisplayBody(m)
	out.DisplayHTML = html
	m.Text, m.HTML, m.TextAll, m.HTMLAll = "", "", "", ""
	out.Head = m
	return out, [2]store.BlobData{{Kind: store.BlobRaw, Data: raw}, {Kind: store.BlobDisplay, Data: []byte(shown)}}, nil
}

// ahead makes batches from the newest message down, one ahead of who takes them.
func ahead[T any](n, batch int, prepare func(from, to int) (T, error), take func(T) error) error {
	type prepared struct {
		v   T
		err error
	}
	next, stop := make(chan prepared, 1), make(chan struct{})
	defer close(stop)
	go func() {
		defer close(next)
		for to := n; to > 0; to -= batch {
			v, err := prepare(max(0, to-batch), to)
			select {
			case next <- prepared{v, err}:
			case <-stop:
				return
			}
		}
	}()
	for p := range next {
		if p.err != nil {
			return p.err
		}
		if err := take(p.v); err != nil {
			return err
		}
	}
	return nil
}

// stage measures a part of the work.
type stage struct {
	began time.Time
	cpu   time.Duration
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func begin() stage { return stage{time.Now(), ownCPU()} }

func (s stage) String() string { return s.of(0) }

func (s stage) of(n int) string {
	took, used := time.Since(s.began), ownCPU()-s.cpu
	out := fmt.Sprintf("%.1f s, CPU %.1f s", took.Seconds(), used.Seconds())
	if n > 0 {
		out += fmt.Sprintf("; %.0f a second, CPU %.0f µs each", float64(n)/took.Seconds(), used.Seconds()*1e6/float64(n))
	}
	return out
}

// fill stores the mailbox.
func (b *manyBox) fill(ctx context.Context) error {
	fmt.Printf("%d messages\n", b.n)
	all := begin()
	part, done := begin(), 0
	var slowest time.Duration
	progress := func(what string, n int) {
		if done += n; done%max(100_000, b.n/5) < n && done > n && done < b.n {
			fmt.Printf("  %s: %d after %v\n", what, done, part)
		}
	}
	if err := ahead(b.n, 1000, func(from, to int) ([]store.NewMessage, error) {
		list := make([]store.NewMessage, 0, to-from)
		for i := to - 1; i >= from; i-- {
			list = append(list, b.header(i))
		}
		return list, ctx.Err()
	}, func(list []store.NewMessage) error {
		from := time.Now()
		_, err := b.Apply(ctx, store.Batch{Term: b.term, Origin: mail.OriginInitial, New: list})
		slowest = max(slowest, time.Since(from))
		progress("listed and threaded", len(list))
		return err
	}); err != nil {
		return err
	}
	disk, _, err := diskUsage(b.dir)
	if err != nil {
		return err
	}
	threads := map[int]bool{}
	for i := range b.n {
		if b.parent(i) < 0 {
			threads[i] = true
		}
	}
	c, err := b.Counts(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("listed and threaded (made by parents: %d threads): %s; the longest batch of 1000 %d ms; %.0f bytes of disk each; peak memory %d MiB\n", len(threads), part.of(b.n),
		slowest.Milliseconds(), float64(disk)/float64(b.n), peakRSS()>>20)
	if int(c.Messages) != b.n {
		return fmt.Errorf("%d messages are stored", c.Messages)
	}

	part, done, slowest = begin(), 0, 0
	type bodies struct {
		list  []store.Body
		blobs []store.BlobData
	}
	if err := ahead(b.n, 500, func(from, to int) (out bodies, err error) {
		for i := to - 1; i >= from; i-- {
			body, blobs, err := b.body(i)
			if err != nil {
				return out, err
			}
			out.list, out.blobs = append(out.list, body), append(out.blobs, blobs[:]...)
		}
		return out, ctx.Err()
	}, func(list bodies) error {
		from := time.Now()
		refs, err := b.PutBlobs(ctx, list.blobs)
		if err != nil {
			return err
		}
		for i := range list.list {
			list.list[i].Raw, list.list[i].Display = refs[2*i], refs[2*i+1]
			b.text += list.list[i].Size
		}
		_, err = b.Apply(ctx, store.Batch{Term: b.term, Origin: mail.OriginInitial, Bodies: list.list})
		slowest = max(slowest, time.Since(from))
		progress("bodies", len(list.list))
		return err
	}); err != nil {
		return err
	}
	if _, err := b.Apply(ctx, store.Batch{Term: b.term, Origin: mail.OriginInitial, Done: true}); err != nil { // until then segments of the index wait
		return err
	}
	if disk, _, err = diskUsage(b.dir); err != nil {
		return err
	}
	fmt.Printf("bodies of %.0f MB stored: %s; the longest batch of 500 %d ms; %.0f bytes of disk each with all of before\n", float64(b.text)/1e6, part.of(b.n), slowest.Milliseconds(), float64(disk)/float64(b.n))

	part, done, slowest = begin(), 0, 0
	var index int64
	for more, last := true, int64(0); more; {
		from := time.Now()
		if more, err = b.Index(ctx); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(from))
		p, err := b.SearchProgress(ctx)
		if err != nil {
			return err
		}
		progress("indexed", int(p.Indexed-last))
		last = p.Indexed
	}
	for more := true; more; {
		if more, err = b.Merge(ctx); err != nil {
			return err
		}
	}
	if _, index, err = diskUsage(b.dir); err != nil {
		return err
	}
	fmt.Printf("indexed: %s; the longest step %d ms; the index is %.2f of the bytes of the messages; peak memory %d MiB\n", part.of(b.n), slowest.Milliseconds(), float64(index)/float64(b.text), peakRSS()>>20)

	var took []time.Duration
	for i := range 200 { // mail that arrives: one at a time
		n := b.header(i * (b.n / 200))
		n.UID += mail.UID(b.n)
		n.Head.MessageID = fmt.Sprintf("late.%d@mx.example", i)
		n.FP, n.Strong = mime.Fingerprint(n.Head)
		n.Threading = b.IDKey().ThreadKeys(n.Head, n.FP)
		from := time.Now()
		if _, err := b.Apply(ctx, store.Batch{Term: b.term, New: []store.NewMessage{n}}); err != nil {
			return err
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	fmt.Printf("one more message stored and threaded: p50 %.1f ms, p99 %.1f ms\n", took[len(took)/2].Seconds()*1e3, took[len(took)*99/100].Seconds()*1e3)
	fmt.Printf("all: %v\n\n", all)
	return nil
}

// peakRSS is the most that this process had resident; 0 where the system does not tell.
func peakRSS() (n int64) {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(rest, &n)
	return n << 10
}

// ask measures the API on the mailbox, one request after the other, each for something else.
func (b *manyBox) ask(ctx context.Context, s *binary.Server, n int) error {
	base := "/v3/grants/" + string(b.ID)
	var ids, threads []string
	for k := range 10 { // from all times
		var p struct{ Data []binary.Message }
		if err := s.Get(ctx, fmt.Sprintf("%s/messages?limit=40&select=id,thread_id&received_before=%d", base, manyStart+(k+1)*365*24*3600), &p); err != nil {
			return err
		}
		for _, m := range p.Data {
			ids, threads = append(ids, m.ID), append(threads, m.ThreadID)
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("nothing to list")
	}
	search := func(text, more string) string {
		return base + "/messages?limit=50&select=id,subject,from,date" + more + "&search_query_native=" + url.QueryEscape(text)
	}
	word := func(i, from int) string { return manyWord(uint64(from + i)) }
	then := func(i int) int { return manyStart + (i*7919%3600)*24*3600 + 30*24*3600 }
	inbox, archive := url.QueryEscape(string(b.Inbox)), url.QueryEscape(string(b.Archive))
	fmt.Printf("| %d messages, ms | p50 | p99 |\n|---|---|---|\n", b.N)
	for _, k := range []struct {
		what string
		path func(i int) string
	}{
		{"list 50", func(int) string { return base + "/messages?limit=50" }},
		{"list 50, of some time before", func(i int) string { return fmt.Sprintf("%s/messages?limit=50&received_before=%d", base, then(i)) }},
		{"list 50, ids and subjects", func(i int) string {
			return fmt.Sprintf("%s/messages?limit=50&select=id,subject,from,date&received_before=%d", base, then(i))
		}},
		{"list 50, unread in a folder", func(i int) string {
			return fmt.Sprintf("%s/messages?limit=50&unread=true&in=%s&received_before=%d", base, inbox, then(i))
		}},
		{"list 50, from somebody", func(i int) string {
			return fmt.Sprintf("%s/messages?limit=50&from=person%d@example%d.com", base, i*7%2000, i*7%2000%50)
		}},
		{"get one", func(i int) string { return base + "/messages/" + ids[i*7%len(ids)] }},
		{"20 threads", func(int) string { return base + "/threads?limit=20" }},
		{"20 threads, of some time before", func(i int) string {
			return fmt.Sprintf("%s/threads?limit=20&latest_message_before=%d", base, then(i))
		}},
		{"one thread", func(i int) string { return base + "/threads/" + threads[i*7%len(ids)] }},
		{"search: word", func(i int) string { return search(word(i, 3), "") }},
		{"search: two words and a sender", func(i int) string {
			return search(fmt.Sprintf("%s %s from:person%d", word(i, 5), word(i, 20), i*7%2000), "")
		}},
		{"search: a whole address, a word", func(i int) string {
			return search(fmt.Sprintf("from:person%d@example%d.com %s", i*7%2000, i*7%2000%50, word(i, 9)), "")
		}},
		{"search: word, unread, in a folder, in a month", func(i int) string {
			return search(fmt.Sprintf("%s is:unread in:INBOX on:%d-%02d", word(i, 10), 2015+i%10, i%12+1), "")
		}},
		{"search: word, starred, with filters of the API", func(i int) string { return search(word(i, 50)+" is:starred", "&in="+archive+"&to=ada@example.com") }},
		{"search: rare word or another, not a third", func(i int) string {
			return search(fmt.Sprintf("(%s OR %s) -%s", word(i*5, 9000), word(i, 700), word(i, 2)), "")
		}},
		{"search: not a word, unread", func(i int) string { return search("-"+word(i%40, 0), "&unread=true") }},
		{"search: word of the subject", func(i int) string { return search("subject:"+word(i, 9), "") }},
		{"search: phrase", func(i int) string { return search(fmt.Sprintf(`"%s %s"`, word(i%9, 1), word(i, 9)), "") }},
		{"search: prefix", func(i int) string { return search(fmt.Sprintf("w%x*", 0x100+i), "") }},
		{"search: piece of a subject (IMAP)", func(i int) string { return search(fmt.Sprintf("SUBJECT %q", word(i, 5)[1:]), "") }},
		{"search: piece of a body (IMAP)", func(i int) string { return search(fmt.Sprintf("BODY %q", word(i, 700)[1:]), "") }},
		{"search: nothing", func(i int) string { return search(fmt.Sprint("nowhere", i), "") }},
		{"search: threads", func(i int) string {
			return base + "/threads?limit=20&search_query_native=" + url.QueryEscape(word(i, 30)+fmt.Sprintf(" from:person%d", i*7%2000))
		}},
		{"search: word, by relevance", func(i int) string { return search(word(i, 3), "&search_order=relevance") }},
	} {
		var took []time.Duration
		for began := time.Now(); len(took) < n && (time.Since(began) < 15*time.Second || len(took) == 0); {
			path := k.path(len(took))
			from := time.Now()
			if err := s.Get(ctx, path, nil); err != nil {
				return fmt.Errorf("%s: %w", k.what, err)
			}
			took = append(took, time.Since(from))
		}
		slices.Sort(took)
		fmt.Printf("| %s | %.1f | %.1f |\n", k.what, took[len(took)/2].Seconds()*1e3, took[len(took)*99/100].Seconds()*1e3)
	}
	return nil
}
