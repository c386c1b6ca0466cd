package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// Problem is one violated invariant that Check found.
type Problem struct {
	Account mail.AccountID // "" in the control store
	What    string         // the invariant and the rows that break it, without mail content
}

const (
	maxProblems  = 100   // of one mailbox that are listed
	checkBatch   = 10000 // messages in memory at a time
	checkedBlobs = 200   // blobs of one mailbox that are read to the end, spread over all
)

// Check verifies one mailbox and lists what is wrong with it, at most 100 things. What must hold:
//
//   - The log is dense: changes are numbered from the oldest kept to the account's Seq, none is missing.
//   - Replaying the log from 1 gives the folders and messages that are stored: which exist, each message's thread, folders,
//     flags and keywords, each row's Seq of its last change, and the account's last state.
//   - A folder's Total and Unread count its placements that have not vanished; a folder that is gone has none.
//   - The account's counts are those of its rows.
//   - A placement names an existing folder and message; if it has not vanished, it is of the folder's generation of UIDs. If
//     its bytes are held, the message has bytes; in quarantine are only placements whose bytes are not held.
//   - A label is of a placement of the same message, with its flags, and vanishes with it.
//   - A message has a placement. Its flags, keywords and body state are what its placements say.
//   - A message's row id is of the second it was received; its public id is made from its fingerprint, or from fingerprint
//     and digest. No two messages share both.
//   - A message has a digest if and only if it has a raw blob. Blobs that messages name exist with the right size, and can be
//     read (some are tried).
//   - The keys of addresses are those of the messages' addresses.
//   - Threads are the partition of messages by their keys: all keys of a message are its thread's, every thread has messages,
//     and unless some were deleted, the keys of those it has connect them. A thread's public id is one of its keys.
//   - A thread's counts, first and last message and folders are those of its messages.
//   - An operation that has ended has no bytes.
//   - A send that has not ended has its bytes, one that has none; the log tells that it was accepted, and how it ended.
func (m *Mailbox) Check(ctx context.Context) ([]Problem, error) {
	c := &checker{ctx: ctx, m: m}
	if err := m.db.read(ctx, c.run); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	for _, step := range []func() error{c.checkBlobs, c.checkSearch} {
		if err := step(); err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
	}
	return c.problems, nil
}

var errEnough = errors.New("enough problems")

type checker struct {
	ctx      context.Context
	m        *Mailbox
	t        *tx
	problems []Problem

	st       stateRow
	counted  stateRow
	names    map[int64]mail.FolderID
	folders  map[int64]*checkFolder
	replayed *replay
	threads  map[int64]*checkThread
	blobs    []namedBlob
	seed     maphash.Seed

	addrs, tagged      int64 // keys that the messages should have
	addrSum, taggedSum uint64
}

type checkFolder struct {
	mail.Folder
	gone          bool
	total, unread int
}

type checkThread struct {
	threadRow
	counted threadRow
	maxSeq  int64
	inOf    map[int64]int64 // folder: messages
	parent  map[[12]byte][12]byte
}

type namedBlob struct {
	id, size int64
	of       string // what names it
}

func (c *checker) bad(format string, args ...any) error {
	c.problems = append(c.problems, Problem{Account: c.m.id, What: fmt.Sprintf(format, args...)})
	if len(c.problems) >= maxProblems {
		return errEnough
	}
	return nil
}

func (c *checker) run(t *tx) error {
	c.t, c.seed = t, maphash.MakeSeed()
	for _, step := range []func() error{c.readState, c.replayLog, c.readFolders, c.readThreads, c.checkMessages, c.checkOrphans, c.checkReplay,
		c.checkThreads, c.checkTwins, c.checkKeys, c.checkSends, c.checkOperations, c.checkCounts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readState() error {
	var err error
	c.st, err = readState(c.ctx, c.t)
	return err
}

func (c *checker) each(q string, fn func(*sql.Rows) error, args ...any) error {
	return each(c.ctx, c.t, q, args, fn)
}

// --- the log

// replay is the state that the log tells.
type replay struct {
	messages map[publicID]replayed
	folders  map[mail.FolderID]mail.Seq
	threads  map[mail.ThreadID]int
	merged   []struct {
		into int
		seq  mail.Seq
	}
	ids   []mail.ThreadID
	sends map[string]mail.SendState
	state *mail.ChangeData
	done  bool
	begun bool // the log goes on from what is no longer kept, so it may speak of what it did not tell
}

type replayed struct {
	thread   int
	seq      mail.Seq
	looks    uint64
	metadata uint64
}

func (r *replay) thread(id mail.ThreadID) int {
	n, ok := r.threads[id]
	if !ok || r.merged[n].into >= 0 { // unknown, or all of the thread it became part of was deleted and the id is used again
		n = len(r.ids)
		r.ids = append(r.ids, id)
		r.merged = append(r.merged, struct {
			into int
			seq  mail.Seq
		}{into: -1})
		r.threads[id] = n
	}
	return n
}

// looks hashes what the log tells of a message besides its thread.
func (c *checker) looks(flags mail.Flags, keywords []string, folders []mail.FolderID) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	fmt.Fprintf(&h, "%d %q %q", flags, keywords, folders)
	return h.Sum64()
}

func (c *checker) replayLog() error {
	var oldest, last mail.Seq
	if err := c.t.row(c.ctx, "SELECT min_seq FROM state WHERE {a}1=1").Scan(&oldest); err != nil {
		return err
	}
	r := &replay{messages: map[publicID]replayed{}, folders: map[mail.FolderID]mail.Seq{}, threads: map[mail.ThreadID]int{}, sends: map[string]mail.SendState{}, begun: oldest > 1}
	last = oldest - 1
	for {
		n := 0
		err := changesAfter(c.ctx, c.t, last, checkBatch, func(ch mail.Change) error {
			n++
			if ch.Seq != last+1 {
				if err := c.bad("the log has no change %d to %d", last+1, ch.Seq-1); err != nil {
					return err
				}
			}
			last = ch.Seq
			return c.replayChange(r, ch)
		})
		if err != nil {
			return err
		}
		if n < checkBatch {
			break
		}
	}
	if last != mail.Seq(c.st.seq) {
		if err := c.bad("the account's seq is %d, its last change %d", c.st.seq, last); err != nil {
			return err
		}
	}
	var before int64
	if err := c.t.row(c.ctx, "SELECT COUNT(*) FROM changes WHERE {a}seq < ?", int64(oldest)).Scan(&before); err != nil {
		return err
	}
	if before > 0 {
		if err := c.bad("the log has %d changes before the oldest, %d", before, oldest); err != nil {
			return err
		}
	}
	if oldest == 1 {
		c.replayed = r
	}
	return nil
}

func (c *checker) replayChange(r *replay, ch mail.Change) error {
	switch ch.Kind {
	case mail.FolderCreated, mail.FolderUpdated, mail.FolderReset:
		r.folders[mail.FolderID(ch.Object)] = ch.Seq
	case mail.FolderDeleted:
		delete(r.folders, mail.FolderID(ch.Object))
	case mail.MessageCreated, mail.MessageUpdated, mail.MessageDeleted:
		p, ok := parseMessageID(mail.MessageID(ch.Object))
		_, exists := r.messages[p]
		if !ok || exists == (ch.Kind == mail.MessageCreated) && (exists || !r.begun) {
			return c.bad("change %d is %v for message %s, which at that time did exist: %v", ch.Seq, ch.Kind, ch.Object, exists)
		}
		if ch.Kind == mail.MessageDeleted {
			delete(r.messages, p)
			return nil
		}
		r.messages[p] = replayed{r.thread(ch.Data.Thread), ch.Seq, c.looks(ch.Data.Flags, ch.Data.Keywords, ch.Data.Folders), r.messages[p].metadata}
	case mail.MessageTagged:
		p, ok := parseMessageID(mail.MessageID(ch.Object))
		m, exists := r.messages[p]
		if !ok || !exists && !r.begun {
			return c.bad("change %d is %v for message %s, which at that time did not exist", ch.Seq, ch.Kind, ch.Object)
		}
		m.seq, m.metadata = ch.Seq, c.tags(ch.Data.Metadata)
		r.messages[p] = m
	case mail.ThreadMerged:
		from, to := r.thread(mail.ThreadID(ch.Data.From)), r.thread(mail.ThreadID(ch.Object))
		if from == to {
			return c.bad("change %d merges thread %s with itself", ch.Seq, ch.Object)
		}
		r.merged[from].into, r.merged[from].seq = to, ch.Seq
	case mail.AccountState:
		r.state = &ch.Data
	case mail.SyncDone:
		r.done = true
	case mail.SyncGap, mail.MessageBounced, mail.ThreadReplied, mail.MessageOpened, mail.LinkClicked:
	case mail.SendAccepted, mail.SendSucceeded, mail.SendNotDone, mail.SendStopped:
		if was, known := r.sends[ch.Object]; known == (ch.Kind == mail.SendAccepted) && (known || !r.begun) || was.Ended() || was == mail.SendSent {
			return c.bad("change %d is %v for send %s, which was %q at that time", ch.Seq, ch.Kind, ch.Object, was)
		}
		r.sends[ch.Object] = ch.Data.Send
	default:
		return c.bad("change %d is of the unknown kind %d", ch.Seq, ch.Kind)
	}
	return nil
}

// checkReplay looks for what the log tells and the store does not have; checkMessages took out what it has.
func (c *checker) checkReplay() error {
	r := c.replayed
	if r == nil {
		return nil
	}
	for p := range r.messages {
		if err := c.bad("the log says that message %s exists, but it has no row", p.id()); err != nil {
			return err
		}
	}
	have := map[mail.FolderID]bool{}
	for _, f := range c.folders {
		if f.gone {
			continue
		}
		have[f.ID] = true
		if seq, ok := r.folders[f.ID]; !ok || seq != f.Seq {
			if err := c.bad("folder %s: its row is of change %d, the log says %d", f.ID, f.Seq, seq); err != nil {
				return err
			}
		}
	}
	for id := range r.folders {
		if !have[id] {
			if err := c.bad("the log says that folder %s exists, but it does not", id); err != nil {
				return err
			}
		}
	}
	if s := c.st.sync; (s == nil) != (r.state == nil) || s != nil && (s.State != r.state.State || s.Reason != r.state.Reason) {
		if err := c.bad("the account's state is not the one the log told last"); err != nil {
			return err
		}
	}
	if r.done != c.st.syncDone {
		return c.bad("the end of the initial sync: the row says %v, the log %v", c.st.syncDone, r.done)
	}
	return nil
}

// --- folders, messages and placements

func (c *checker) readFolders() error {
	c.folders, c.names = map[int64]*checkFolder{}, map[int64]mail.FolderID{}
	return c.each("SELECT "+folderColumns+" FROM folders WHERE {a}id > 0", func(r *sql.Rows) error {
		num, f, gone, err := scanFolder(r)
		if err != nil {
			return err
		}
		c.folders[num], c.names[num] = &checkFolder{Folder: f, gone: gone}, f.ID
		if num >= c.st.nextFolder {
			return c.bad("folder row %d is not below the next one, %d", num, c.st.nextFolder)
		}
		return nil
	})
}

// checkMessages goes through the messages in batches of rows, with their placements.
func (c *checker) checkMessages() error {
	low := int64(-1 << 62)
	for {
		var list []*checkedMessage
		rows := map[int64]*checkedMessage{}
		err := c.each("SELECT "+messageRowColumns+`, received_at, size, raw_blob, display_blob, addresses, metadata FROM messages WHERE {a}id > ? ORDER BY id LIMIT ?`,
			func(r *sql.Rows) error {
				m, err := scanChecked(r)
				if err != nil {
					return err
				}
				list = append(list, m)
				rows[m.row] = m
				return nil
			}, low, checkBatch)
		if err != nil || len(list) == 0 {
			return err
		}
		high := list[len(list)-1].row
		if err := c.checkPlacements(rows, low, high); err != nil {
			return err
		}
		keys := map[[12]byte]int64{}
		var ask [][]byte
		for _, m := range list {
			for k := m.keys; len(k) >= 12; k = k[12:] {
				if _, ok := keys[[12]byte(k)]; !ok {
					keys[[12]byte(k)] = -1
					ask = append(ask, k[:12])
				}
			}
		}
		err = queryIn(c.ctx, c.t, "SELECT key, thread_id FROM thread_keys WHERE {a}key IN (??)", nil, ask, func(r *sql.Rows) error {
			var k []byte
			var n int64
			err := r.Scan(&k, &n)
			keys[[12]byte(k)] = n
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range list {
			if err := c.checkMessage(m, keys); err != nil {
				return err
			}
		}
		low = high
	}
}

type checkedMessage struct {
	messageRow
	labels         []checkedLabel
	received, size int64
	raw, display   int64
	addresses      addresses
	metadata       map[string]string
}

func scanChecked(r *sql.Rows) (*checkedMessage, error) {
	m := &checkedMessage{messageRow: messageRow{stored: true}}
	var public, fp []byte
	var keywords, trouble, addrs, metadata sql.NullString
	var raw, display sql.NullInt64
	err := r.Scan(&m.row, &public, &fp, &m.split, &m.digest, &m.threadNum, &m.keys, &m.topic, &m.flags, &keywords, &m.body, &trouble, &m.hasAtt, &m.seq, &m.draft,
		&m.received, &m.size, &raw, &display, &addrs, &metadata)
	if err != nil {
		return nil, err
	}
	copy(m.public[:], public)
	copy(m.fp[:], fp)
	m.trouble, m.raw, m.display = trouble.String, raw.Int64, display.Int64
	if m.keywords, err = parseList[string](keywords); err != nil {
		return nil, err
	}
	m.was = m.messageLooks
	if metadata.Valid {
		if err := json.Unmarshal([]byte(metadata.String), &m.metadata); err != nil {
			return nil, err
		}
	}
	if addrs.Valid {
		err = json.Unmarshal([]byte(addrs.String), &m.addresses)
	}
	return m, err
}

// checkPlacements checks the placements of the messages with rows in (low, high], and gives them to their messages.
func (c *checker) checkPlacements(rows map[int64]*checkedMessage, low, high int64) error {
	return c.each("SELECT "+placementColumns+" FROM placements WHERE {a}message_id > ? AND message_id <= ?", func(r *sql.Rows) error {
		p, base, message, err := scanPlacement(r)
		if err != nil {
			return err
		}
		m, f := rows[message], c.folders[p.folder]
		name := fmt.Sprintf("placement %d/%d/%d", p.folder, p.uidvalidity, p.uid)
		switch {
		case m == nil:
			return c.bad("%s: its message row %d does not exist", name, message)
		case f == nil:
			return c.bad("%s: its folder does not exist", name)
		case base != 0:
			m.labels = append(m.labels, checkedLabel{placementKey{base, p.uidvalidity, p.uid}, takeLabel(p, message)})
			return nil
		}
		m.placements = append(m.placements, p)
		c.counted.placements += p.was.live
		c.counted.unheld += p.was.unheld
		c.counted.vanished += p.was.vanished
		f.total += int(p.was.live)
		f.unread += int(p.was.unread)
		switch {
		case p.was.live != 0 && f.gone:
			return c.bad("%s: its folder is gone, but it has not vanished", name)
		case p.was.live != 0 && (p.uidvalidity == f.UIDValidity) == (p.was.out != 0):
			return c.bad("%s: its folder has UIDVALIDITY %d", name, f.UIDValidity)
		case p.uid == 0 || p.uidvalidity == 0:
			return c.bad("%s: UID and UIDVALIDITY are never 0", name)
		case p.held && m.digest == nil:
			return c.bad("%s: is held, but message %s has no bytes", name, m.public.id())
		case p.held && p.trouble != "":
			return c.bad("%s: is held and in quarantine", name)
		}
		return nil
	}, low, high)
}

func (c *checker) checkMessage(m *checkedMessage, keys map[[12]byte]int64) error {
	id := m.public.id()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, c.bad("message %s: "+format, append([]any{id}, args...)...))
	}
	if len(m.placements) == 0 {
		bad("has no placement")
	} else {
		c.checkLabels(m, bad)
		m.settle()
		if m.flags != m.was.flags || !slices.Equal(m.keywords, m.was.keywords) || m.body != m.was.body || m.trouble != m.was.trouble {
			bad("flags, keywords or body state are not what its placements say")
		}
		m.messageLooks = m.was
	}
	if m.row>>rowBits != rowAt(fromMillis(sql.NullInt64{Int64: m.received, Valid: true}))>>rowBits {
		bad("its row id is not of the second it was received")
	}
	plain := c.m.publicID(m.fp) == m.public && !m.split
	exact := m.digest != nil && c.m.withDigest(m.fp, [32]byte(m.digest)) == m.public
	if !plain && !exact {
		bad("its id is not made from its fingerprint")
	}
	if (m.digest != nil) != (m.raw != 0) {
		bad("has digest: %v, has raw blob: %v", m.digest != nil, m.raw != 0)
	}
	if m.raw != 0 {
		c.blobs = append(c.blobs, namedBlob{m.raw, m.size, "message " + string(id)})
	}
	if m.display != 0 {
		c.blobs = append(c.blobs, namedBlob{m.display, -1, "message " + string(id)})
	}
	for _, k := range c.m.addressKeys(&m.addresses) {
		c.addrs++
		c.addrSum += c.keyHash(k, m.row)
	}
	for _, k := range c.m.metadataKeys(m.metadata) {
		c.tagged++
		c.taggedSum += c.keyHash(k, m.row)
	}
	c.counted.messages++
	c.counted.unread += bit(m.flags&mail.FlagSeen == 0)
	c.counted.starred += bit(m.flags&mail.FlagFlagged != 0)
	c.counted.held += bit(m.digest != nil)

	if len(m.keys) == 0 || len(m.keys)%12 != 0 {
		bad("its thread keys are damaged")
	}
	for k := m.keys; len(k) >= 12; k = k[12:] {
		if n, ok := keys[[12]byte(k)]; ok && n == 0 {
			continue // joins nothing
		} else if n < 0 {
			bad("one of its thread keys is missing")
			break
		} else if n != m.threadNum {
			bad("is in thread row %d, but one of its keys is of %d", m.threadNum, n)
			break
		}
	}
	th := c.threads[m.threadNum]
	if th == nil {
		bad("its thread row %d does not exist", m.threadNum)
	} else {
		th.take(m, keys)
		c.checkReplayed(m, th, bad)
	}
	return errors.Join(errs...)
}

func (c *checker) checkReplayed(m *checkedMessage, th *checkThread, bad func(string, ...any)) {
	r := c.replayed
	if r == nil {
		return
	}
	was, ok := r.messages[m.public]
	if !ok {
		bad("is not in the log")
		return
	}
	delete(r.messages, m.public)
	folders := make([]mail.FolderID, 0, len(m.folders))
	for _, f := range m.folders {
		folders = append(folders, c.names[f])
	}
	slices.Sort(folders)
	if was.looks != c.looks(m.flags, m.keywords, folders) {
		bad("flags, keywords or folders are not what the log says")
	}
	if was.metadata != c.tags(m.metadata) {
		bad("its metadata is not what the log says")
	}
	thread, seq := was.thread, was.seq
	for r.merged[thread].into >= 0 {
		seq = max(seq, r.merged[thread].seq)
		thread = r.merged[thread].into
	}
	if r.ids[thread] != threadID(th.public[:]) {
		bad("is in thread %s, the log says %s", threadID(th.public[:]), r.ids[thread])
	}
	if int64(seq) != m.seq {
		bad("its row is of change %d, the log says %d", m.seq, seq)
	}
}

func (c *checker) checkOrphans() error {
	for _, q := range []struct{ what, q string }{
		{"placements of messages that do not exist", "SELECT COUNT(*) FROM placements p WHERE {a:p}NOT EXISTS(SELECT 1 FROM messages m WHERE {a:m}m.id = p.message_id)"},
		{"address keys of messages that do not exist", "SELECT COUNT(*) FROM message_addresses x WHERE {a:x}NOT EXISTS(SELECT 1 FROM messages m WHERE {a:m}m.id = x.message_id)"},
		{"thread keys of threads that do not exist", "SELECT COUNT(*) FROM thread_keys k WHERE {a:k}k.thread_id <> 0 AND NOT EXISTS(SELECT 1 FROM threads h WHERE {a:h}h.id = k.thread_id)"},
		{"folders of threads that do not exist", "SELECT COUNT(*) FROM thread_folders f WHERE {a:f}NOT EXISTS(SELECT 1 FROM threads h WHERE {a:h}h.id = f.thread_id)"},
		{"threads whose own id does not name them", "SELECT COUNT(*) FROM threads h WHERE {a:h}NOT EXISTS(SELECT 1 FROM thread_keys k WHERE {a:k}k.key = h.public AND k.thread_id = h.id)"},
	} {
		var n int64
		if err := c.t.row(c.ctx, q.q).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			if err := c.bad("%d %s", n, q.what); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) checkTwins() error {
	return c.each("SELECT COUNT(*), MIN(id) FROM messages WHERE {a}digest IS NOT NULL GROUP BY fingerprint, digest HAVING COUNT(*) > 1", func(r *sql.Rows) error {
		var n, row int64
		if err := r.Scan(&n, &row); err != nil {
			return err
		}
		return c.bad("%d messages share fingerprint and digest, one is row %d", n, row)
	})
}

func (c *checker) keyHash(key, row int64) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(key))
	binary.BigEndian.PutUint64(b[8:], uint64(row))
	return maphash.Bytes(c.seed, b[:])
}

// checkKeys compares the tables of address and metadata keys with what the messages say.
func (c *checker) checkKeys() error {
	for _, x := range []struct {
		table, what string
		n           int64
		sum         uint64
	}{
		{"message_addresses", "address keys are not those of the messages' addresses", c.addrs, c.addrSum},
		{"message_metadata", "metadata keys are not those of the messages' metadata", c.tagged, c.taggedSum},
	} {
		var n int64
		var sum uint64
		err := c.each("SELECT key, message_id FROM "+x.table+" WHERE {a}1=1", func(r *sql.Rows) error {
			var key, row int64
			err := r.Scan(&key, &row)
			n++
			sum += c.keyHash(key, row)
			return err
		})
		if err == nil && (n != x.n || sum != x.sum) {
			err = c.bad("the %d %s, %d", n, x.what, x.n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkCounts() error {
	for _, num := range sortedKeys(c.folders) {
		f := c.folders[num]
		if f.Total != f.total || f.Unread != f.unread {
			if err := c.bad("folder %s: says %d messages and %d unread, has %d and %d", f.ID, f.Total, f.Unread, f.total, f.unread); err != nil {
				return err
			}
		}
	}
	s, n := &c.st, &c.counted
	for _, x := range []struct {
		what      string
		says, has int64
	}{
		{"messages", s.messages, n.messages}, {"unread", s.unread, n.unread}, {"starred", s.starred, n.starred}, {"held", s.held, n.held},
		{"placements", s.placements, n.placements}, {"unheld", s.unheld, n.unheld}, {"vanished", s.vanished, n.vanished},
	} {
		if x.says != x.has {
			if err := c.bad("the account's count of %s is %d, there are %d", x.what, x.says, x.has); err != nil {
				return err
			}
		}
	}
	return nil
}

// --- threads

func (c *checker) readThreads() error {
	c.threads = map[int64]*checkThread{}
	err := c.each("SELECT "+threadRowColumns+" FROM threads WHERE {a}id > 0", func(r *sql.Rows) error {
		th := &checkThread{inOf: map[int64]int64{}}
		var public []byte
		if err := r.Scan(&th.num, &public, &th.first, &th.last, &th.n, &th.unread, &th.starred, &th.att, &th.lost, &th.seq); err != nil {
			return err
		}
		copy(th.public[:], public)
		c.threads[th.num] = th
		if th.num >= c.st.nextThread {
			return c.bad("thread row %d is not below the next one, %d", th.num, c.st.nextThread)
		}
		return nil
	})
	return err
}

// take counts a message of the thread.
func (th *checkThread) take(m *checkedMessage, keys map[[12]byte]int64) {
	t := &th.counted
	if t.n == 0 {
		t.first = m.row
	}
	t.last = m.row
	t.add(1, &m.messageLooks)
	th.maxSeq = max(th.maxSeq, m.seq)
	for _, f := range m.folders {
		th.inOf[f]++
	}
	if th.parent == nil {
		th.parent = map[[12]byte][12]byte{}
	}
	for k := m.keys; len(k) >= 12; k = k[12:] {
		if keys[[12]byte(k)] != 0 {
			th.parent[th.find([12]byte(k))] = th.find([12]byte(m.keys))
		}
	}
}

func (th *checkThread) find(k [12]byte) [12]byte {
	for {
		p, ok := th.parent[k]
		if !ok {
			th.parent[k] = k
			return k
		}
		if p == k {
			return k
		}
		th.parent[k] = th.parent[p]
		k = p
	}
}

func (c *checker) checkThreads() error {
	for _, num := range sortedKeys(c.threads) {
		th := c.threads[num]
		t := &th.counted
		var err error
		switch {
		case t.n == 0:
			err = c.bad("thread row %d has no message", num)
		case t.n != th.n || t.unread != th.unread || t.starred != th.starred || t.att != th.att || t.first != th.first || t.last != th.last:
			err = c.bad("thread row %d: says %d messages, %d unread, %d starred, %d with attachments, from %d to %d; has %d, %d, %d, %d, %d, %d", num,
				th.n, th.unread, th.starred, th.att, th.first, th.last, t.n, t.unread, t.starred, t.att, t.first, t.last)
		case th.seq < th.maxSeq || th.seq > c.st.seq:
			err = c.bad("thread row %d is of change %d, its messages of up to %d", num, th.seq, th.maxSeq)
		case th.lost == 0:
			roots := map[[12]byte]bool{}
			for k := range th.parent {
				roots[th.find(k)] = true
			}
			if len(roots) > 1 {
				err = c.bad("thread row %d is held together by nothing: %d parts", num, len(roots))
			}
		}
		if err != nil {
			return err
		}
		th.parent = nil
	}
	err := c.each("SELECT thread_id, folder_id, last_id, n FROM thread_folders WHERE {a}thread_id > 0", func(r *sql.Rows) error {
		var num, folder, last, n int64
		if err := r.Scan(&num, &folder, &last, &n); err != nil {
			return err
		}
		th := c.threads[num]
		if th == nil {
			return nil // told by checkOrphans
		}
		has := th.inOf[folder]
		delete(th.inOf, folder)
		if has != n || last != th.last {
			return c.bad("thread row %d in folder row %d: says %d messages, the last %d; has %d, %d", num, folder, n, last, has, th.last)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, num := range sortedKeys(c.threads) {
		for _, folder := range sortedKeys(c.threads[num].inOf) {
			if err := c.bad("thread row %d has messages in folder row %d and no row there", num, folder); err != nil {
				return err
			}
		}
	}
	return nil
}
