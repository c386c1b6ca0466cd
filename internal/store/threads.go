package store

import (
	"bytes"
	"cmp"
	"database/sql"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// threadRow is a thread in a writing transaction.
//
// Threads are the connected components of messages that share a key (mime.ThreadKeys, pairLone): they do not depend on the
// order in which messages arrive. Keys stay as long as the thread, also those of deleted messages, so a thread never falls apart,
// and an id that was minted from any of its keys goes on naming it.
type threadRow struct {
	num         int64
	public      [12]byte
	first, last int64
	n           int64
	unread      int64
	starred     int64
	att         int64
	lost        int64
	seq         int64

	stored  bool
	dirty   bool
	into    *threadRow // merged
	recount bool       // first or last message is gone
	grew    bool       // a stored thread became part of it
	apart   bool       // was taken apart: its counts begin at nothing
	was     threadMarks
	folders map[int64]*threadFolder // those read or changed
}

// threadMarks is what indexes know of a thread.
type threadMarks struct{ last, unread, starred, att int64 }

func (th *threadRow) marks() threadMarks {
	return threadMarks{th.last, th.unread, th.starred, th.att}
}

type threadFolder struct {
	n      int64 // messages before this transaction, those of merged threads too
	delta  int64
	stored bool
	was    int64 // n in the row
}

// merge is a thread that became part of another.
type merge struct {
	from, to *threadRow
	seq      int64
}

func (th *threadRow) root() *threadRow {
	for th.into != nil {
		th = th.into
	}
	return th
}

const threadRowColumns = "id, public, first_id, last_id, n, unread, starred, has_att, lost, seq"

func (a *applier) loadThreads(nums []int64) error {
	nums = slices.DeleteFunc(nums, func(n int64) bool { return a.threads[n] != nil })
	return queryIn(a.ctx, a.t, "SELECT "+threadRowColumns+" FROM threads WHERE {a}id IN (??)", nil, nums, func(r *sql.Rows) error {
		th := &threadRow{stored: true}
		var public sql.RawBytes
		if err := r.Scan(&th.num, &public, &th.first, &th.last, &th.n, &th.unread, &th.starred, &th.att, &th.lost, &th.seq); err != nil {
			return err
		}
		copy(th.public[:], public)
		th.was = th.marks()
		if th.apart = a.isApart(th.num); th.apart {
			th.n, th.unread, th.starred, th.att, th.recount, th.dirty = 0, 0, 0, 0, true, true
		}
		a.threads[th.num] = th
		return nil
	})
}

// thread finds the threads of new messages, merges threads that they connect, tells the merges, and brings the threads'
// counts up to date.
func (a *applier) thread() error {
	var fresh []*messageRow
	var nums []int64
	keys := map[[12]byte]*threadRow{}
	var ask [][]byte
	for _, m := range a.order {
		switch {
		case m.void():
		case m.stored && (!m.rejoins || m.gone):
			nums = append(nums, m.threadNum)
		default:
			if m.stored {
				nums = append(nums, m.threadNum)
			}
			fresh = append(fresh, m)
			for k := m.keys; len(k) > 0; k = k[12:] {
				if _, ok := keys[[12]byte(k)]; !ok {
					keys[[12]byte(k)] = nil
					ask = append(ask, k[:12])
				}
			}
		}
	}
	if err := a.readKeys(ask); err != nil {
		return err
	}
	found := map[[12]byte]int64{}
	for k := range keys {
		if row := a.keyRows[k]; row != nil {
			found[k] = row.thread
			if row.thread != 0 {
				nums = append(nums, row.thread)
			}
		}
	}
	a.anchorKeys(keys)
	if err := a.loadThreads(sortedSet(nums)); err != nil {
		return fmt.Errorf("read threads: %w", err)
	}
	for k, num := range found {
		if num == 0 || keys[k] == joinsNothing {
			keys[k] = joinsNothing
			continue
		}
		if keys[k] = a.threads[num]; keys[k] == nil {
			return fmt.Errorf("a thread key names thread row %d, which does not exist", num)
		}
	}
	if err := a.takeApart(keys, found); err != nil {
		return err
	}
	a.join(fresh, keys)
	for k, th := range keys {
		if _, ok := found[k]; !ok {
			a.newKeys = append(a.newKeys, newKey{k, th})
		}
	}
	a.rehome(keys)
	a.tellMerges()
	a.countThreads()
	return nil
}

type newKey struct {
	key    [12]byte
	thread *threadRow
}

// join gives new messages, oldest first, their threads.
func (a *applier) join(fresh []*messageRow, keys map[[12]byte]*threadRow) {
	slices.SortFunc(fresh, func(x, y *messageRow) int { return cmp.Compare(x.row, y.row) })
	for _, m := range fresh {
		var th *threadRow
		for k := m.keys; len(k) > 0; k = k[12:] {
			other := keys[[12]byte(k)]
			if other == nil || other == joinsNothing {
				continue
			}
			if other = other.root(); th == nil {
				th = other
			} else if th != other {
				th = a.union(th, other)
			}
		}
		if th == nil {
			th = &threadRow{num: a.st.nextThread, public: [12]byte(m.keys), first: m.row, last: m.row}
			a.st.nextThread++
			a.threads[th.num] = th
		}
		for k := m.keys; len(k) > 0; k = k[12:] {
			if keys[[12]byte(k)] == nil {
				keys[[12]byte(k)] = th
			}
		}
		m.thread = th
	}
	for _, m := range a.order {
		switch {
		case m.void():
		case m.stored && (!m.rejoins || m.gone):
			m.thread = a.threads[m.threadNum].root()
		default:
			m.thread = m.thread.root()
		}
	}
}

func (a *applier) tellMerges() {
	slices.SortFunc(a.merges, func(x, y merge) int { return cmp.Compare(x.from.num, y.from.num) })
	for i := range a.merges {
		g := &a.merges[i]
		g.to = g.from.root()
		a.tell(mail.ThreadMerged, string(threadID(g.to.public[:])), mail.ChangeData{From: string(threadID(g.from.public[:]))}, func(s mail.Seq) {
			g.seq = int64(s)
			g.to.seq = max(g.to.seq, g.seq)
		})
	}
}

// union makes two threads one. A thread that applications know wins over a new one, else the one with the older first
// message.
func (a *applier) union(x, y *threadRow) *threadRow {
	if y.stored && !x.stored || x.stored == y.stored && (y.first < x.first || y.first == x.first && y.num < x.num) {
		x, y = y, x
	}
	y.into = x
	x.recount = x.recount || y.recount
	if y.stored {
		x.grew = true
		a.merges = append(a.merges, merge{from: y})
		x.n, x.unread, x.starred, x.att, x.lost = x.n+y.n, x.unread+y.unread, x.starred+y.starred, x.att+y.att, x.lost+y.lost
		x.seq = max(x.seq, y.seq)
		x.last = max(x.last, y.last)
		x.first = min(x.first, y.first)
	} else {
		x.last = max(x.last, y.last)
		if !x.stored {
			x.first = min(x.first, y.first)
		}
	}
	x.dirty = true
	return x
}

// countThreads brings the counts of threads, and of their folders, up to date with the messages.
func (a *applier) countThreads() {
	for _, m := range a.order {
		if m.void() || m.stored && !m.gone && !m.rejoins && !m.looksDifferent() {
			continue
		}
		th := m.thread
		th.dirty = true
		if m.stored && !m.rejoins {
			th.add(-1, &m.was)
			for _, f := range m.foldersWere {
				th.folder(f).delta--
			}
		}
		if m.gone {
			th.lost++
			th.recount = th.recount || m.row == th.first || m.row == th.last
			continue
		}
		th.add(1, &m.messageLooks)
		th.first, th.last = min(th.first, m.row), max(th.last, m.row)
		for _, f := range m.folders {
			th.folder(f).delta++
		}
	}
}

func (th *threadRow) add(n int64, l *messageLooks) {
	th.n += n
	th.unread += n * bit(l.flags&mail.FlagSeen == 0)
	th.starred += n * bit(l.flags&mail.FlagFlagged != 0)
	th.att += n * bit(l.hasAtt)
}

func (th *threadRow) folder(num int64) *threadFolder {
	if th.folders == nil {
		th.folders = map[int64]*threadFolder{}
	}
	f := th.folders[num]
	if f == nil {
		f = &threadFolder{}
		th.folders[num] = f
	}
	return f
}

// writeMerges moves the messages and keys of merged threads. It comes before messages are written: those that change
// themselves get a later Seq.
func (a *applier) writeMerges() error {
	for _, g := range a.merges {
		for _, q := range []struct {
			q    string
			args []any
		}{
			{"UPDATE messages SET thread_id=?, seq=? WHERE {a}thread_id=?", []any{g.to.num, g.seq, g.from.num}},
			{"UPDATE thread_keys SET thread_id=? WHERE {a}thread_id=?", []any{g.to.num, g.from.num}},
			{"DELETE FROM threads WHERE {a}id=?", []any{g.from.num}},
		} {
			if _, err := a.t.exec(a.ctx, q.q, q.args...); err != nil {
				return fmt.Errorf("merge threads: %w", err)
			}
		}
	}
	return nil
}

// writeThreads stores threads, their folders and new keys, after the messages.
func (a *applier) writeThreads() error {
	if err := a.recountThreads(); err != nil {
		return err
	}
	if err := a.loadThreadFolders(); err != nil {
		return err
	}
	var fresh, same, changed, drop, dropFrom, freshFolders, folders, dropFolders [][]any
	for _, num := range sortedKeys(a.threads) {
		th := a.threads[num]
		if th.into != nil {
			if th.stored {
				dropFrom = append(dropFrom, []any{th.num})
			}
			continue
		}
		if !th.dirty {
			continue
		}
		if th.n == 0 {
			if th.stored {
				drop = append(drop, []any{th.num})
			}
			continue
		}
		rows := &changed
		if !th.stored {
			rows = &fresh
		} else if th.marks() == th.was {
			rows = &same
		}
		*rows = append(*rows, []any{th.num, th.public[:], th.first, th.last, th.n, th.unread, th.starred, th.att, th.lost, th.seq})
		for _, f := range sortedKeys(th.folders) {
			tf := th.folders[f]
			switch n := tf.n + tf.delta; {
			case n == 0 && tf.stored:
				dropFolders = append(dropFolders, []any{th.num, f})
			case n != 0 && !tf.stored:
				freshFolders = append(freshFolders, []any{th.num, f, th.last, n})
			case n != 0 && (n != tf.was || th.last != th.was.last):
				folders = append(folders, []any{th.num, f, th.last, n})
			}
		}
	}
	for _, w := range []struct {
		q    string
		rows [][]any
	}{
		{"DELETE FROM thread_folders WHERE {a}thread_id=?", append(dropFrom, drop...)},
		{"DELETE FROM threads WHERE {a}id=?", drop},
		{"DELETE FROM thread_keys WHERE {a}thread_id=?", drop},
		{"DELETE FROM thread_folders WHERE {a}thread_id=? AND folder_id=?", dropFolders},
	} {
		if len(w.rows) > 0 {
			if _, err := a.t.execMany(a.ctx, w.q, w.rows); err != nil {
				return fmt.Errorf("write threads: %w", err)
			}
		}
	}
	// What is set in a row goes out of its indexes and into them again, also when it is what it was.
	const counts = "ON CONFLICT({ai}id) DO UPDATE SET public=excluded.public, first_id=excluded.first_id, n=excluded.n, lost=excluded.lost, seq=excluded.seq"
	const marks = ", last_id=excluded.last_id, unread=excluded.unread, starred=excluded.starred, has_att=excluded.has_att"
	threads := []string{"id", "public", "first_id", "last_id", "n", "unread", "starred", "has_att", "lost", "seq"}
	of := []string{"thread_id", "folder_id", "last_id", "n"}
	for _, w := range []struct {
		table  string
		cols   []string
		rows   [][]any
		suffix string
	}{
		{"threads", threads, fresh, ""},
		{"threads", threads, same, counts},
		{"threads", threads, changed, counts + marks},
		{"thread_folders", of, freshFolders, ""},
		{"thread_folders", of, folders, "ON CONFLICT({ai}thread_id, folder_id) DO UPDATE SET last_id=excluded.last_id, n=excluded.n"},
	} {
		if err := a.t.insertMany(a.ctx, w.table, w.cols, w.rows, w.suffix); err != nil {
			return err
		}
	}
	slices.SortFunc(a.newKeys, func(x, y newKey) int { return bytes.Compare(x.key[:], y.key[:]) })
	keys := make([][]any, len(a.newKeys))
	for i := range a.newKeys {
		keys[i] = []any{a.newKeys[i].key[:], a.newKeys[i].thread.root().num, a.ownerOf(a.newKeys[i].key)}
	}
	if err := a.t.insertMany(a.ctx, "thread_keys", []string{"key", "thread_id", "owner"}, keys, ""); err != nil {
		return err
	}
	return a.writeOldKeys()
}

// recountThreads finds the oldest and newest message of threads that lost theirs.
func (a *applier) recountThreads() error {
	for _, num := range sortedKeys(a.threads) {
		th := a.threads[num]
		if th.into != nil || !th.recount || th.n == 0 {
			continue
		}
		err := a.t.row(a.ctx, "SELECT MIN(id), MAX(id) FROM messages WHERE {a}thread_id=?", num).Scan(&th.first, &th.last)
		if err != nil {
			return fmt.Errorf("recount thread row %d: %w", num, err)
		}
	}
	return nil
}

// loadThreadFolders reads what is stored of the folders of threads that changed in a way that matters to them.
func (a *applier) loadThreadFolders() error {
	var nums []int64
	for num, th := range a.threads {
		if !th.stored {
			continue
		}
		r := th.root()
		matters := th != r || r.grew || r.apart || r.last != r.was.last
		for _, f := range r.folders {
			matters = matters || f.delta != 0
		}
		if matters && r.n != 0 {
			nums = append(nums, num)
		}
	}
	return queryIn(a.ctx, a.t, "SELECT thread_id, folder_id, n FROM thread_folders WHERE {a}thread_id IN (??)", nil, sortedSet(nums), func(r *sql.Rows) error {
		var num, folder, n int64
		if err := r.Scan(&num, &folder, &n); err != nil {
			return err
		}
		th := a.threads[num]
		f := th.root().folder(folder)
		if !th.apart {
			f.n += n
		}
		if th.into == nil {
			f.stored, f.was = true, n
		}
		return nil
	})
}
