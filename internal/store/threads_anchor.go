package store

import (
	"bytes"
	"database/sql"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/mime"
)

// threading is what a message brings for finding its thread.
type threading struct {
	keys   []byte // 12 bytes each, the one to mint from first
	topic  int64  // thread_subject
	anchor mime.ThreadKey
}

func threadingOf(t *mime.Threading) threading {
	keys := append(make([]byte, 0, 12*(len(t.Keys)+1)), t.Mint[:]...)
	for _, k := range t.Keys {
		if k != t.Mint {
			keys = append(keys, k[:]...)
		}
	}
	return threading{keys: keys, topic: topicOf(t), anchor: t.Anchor}
}

// joinsNothing stands for the thread of keys that join nothing.
var joinsNothing = &threadRow{}

// anchor is the key "has this Message-ID, whatever the subject". It joins replies with a new subject to what they answer,
// until messages of different subjects claim the Message-ID: then it joins nothing any more, and what it joined is taken
// apart.
type anchor struct {
	stored, owned, dead, dirty bool
	owner                      int64
	thread                     int64
}

func (a *anchor) claim(topic int64) (conflict bool) {
	switch topic &^= 1; {
	case a.dead:
	case !a.owned:
		a.owned, a.owner, a.dirty = true, topic, true
	case a.owner != topic:
		a.dead, a.dirty, a.owned = true, true, false
		return true
	}
	return false
}

// findAnchors looks which Message-IDs new messages share with messages of another subject, and reads the messages of the
// threads that this takes apart.
func (a *applier) findAnchors() error {
	a.anchors = map[mime.ThreadKey]*anchor{}
	var ask [][]byte
	for _, m := range a.order {
		if !m.stored && !m.void() {
			for k := m.keys; len(k) >= 12; k = k[12:] {
				ask = append(ask, k[:12])
			}
		}
	}
	if err := a.readKeys(ask); err != nil {
		return err
	}
	var apart []int64
	for _, m := range a.order {
		if m.stored || m.void() || m.anchor == (mime.ThreadKey{}) {
			continue
		}
		an := a.anchors[m.anchor]
		if an == nil {
			an = &anchor{}
			if row := a.keyRows[m.anchor]; row != nil {
				*an = anchor{stored: true, owned: row.owner.Valid, dead: row.thread == 0, owner: row.owner.Int64, thread: row.thread}
			}
			a.anchors[m.anchor] = an
		}
		if an.claim(m.topic) && an.stored {
			apart = append(apart, an.thread)
		}
	}
	if len(apart) == 0 {
		return nil
	}
	a.apart = sortedSet(apart)
	var rows []int64
	if err := queryIn(a.ctx, a.t, "SELECT id FROM messages WHERE {a}thread_id IN (??)", nil, a.apart, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		if a.messages[id] == nil {
			rows = append(rows, id)
		}
		return err
	}); err != nil {
		return fmt.Errorf("read threads: %w", err)
	}
	if err := a.loadMessages("id", sortedSet(rows)); err != nil {
		return err
	}
	for _, m := range a.order {
		m.rejoins = m.stored && a.isApart(m.threadNum)
	}
	return nil
}

// keyRow is a stored key.
type keyRow struct {
	thread int64
	owner  sql.NullInt64
}

// readKeys reads those of the keys that were not read yet.
func (a *applier) readKeys(list [][]byte) error {
	if a.keyRows == nil {
		a.keyRows = make(map[[12]byte]*keyRow, len(list))
	}
	ask := list[:0:0]
	for _, k := range list {
		if _, asked := a.keyRows[[12]byte(k)]; !asked {
			a.keyRows[[12]byte(k)] = nil
			ask = append(ask, k)
		}
	}
	slices.SortFunc(ask, bytes.Compare)
	err := queryIn(a.ctx, a.t, "SELECT key, thread_id, owner FROM thread_keys WHERE {a}key IN (??)", nil, ask, func(r *sql.Rows) error {
		var k sql.RawBytes
		row := new(keyRow)
		if err := r.Scan(&k, &row.thread, &row.owner); err != nil {
			return err
		}
		a.keyRows[[12]byte(k)] = row
		return nil
	})
	if err != nil {
		return fmt.Errorf("read thread keys: %w", err)
	}
	return nil
}

func (a *applier) isApart(thread int64) bool {
	_, ok := slices.BinarySearch(a.apart, thread)
	return ok
}

// ownerOf returns the column owner of a key.
func (a *applier) ownerOf(key [12]byte) any {
	if an := a.anchors[key]; an != nil && an.owned {
		return an.owner
	}
	return nil
}

// anchorKeys makes the keys that join nothing do so.
func (a *applier) anchorKeys(keys map[[12]byte]*threadRow) {
	for k, an := range a.anchors {
		if an.dead {
			keys[k] = joinsNothing
		}
	}
}

// rehomed is a key of a thread that was taken apart.
type rehomed struct {
	key  [12]byte
	from *threadRow
	to   *threadRow
}

// takeApart lets go of the keys of threads that are taken apart, but for the one that is their id.
func (a *applier) takeApart(keys map[[12]byte]*threadRow, found map[[12]byte]int64) error {
	return queryIn(a.ctx, a.t, "SELECT key, thread_id FROM thread_keys WHERE {a}thread_id IN (??)", nil, a.apart, func(r *sql.Rows) error {
		var raw sql.RawBytes
		var num int64
		if err := r.Scan(&raw, &num); err != nil {
			return err
		}
		k, th := [12]byte(raw), a.threads[num]
		found[k] = num
		switch {
		case keys[k] == joinsNothing:
			return nil // written with the anchors
		case k == th.public:
			keys[k] = th
		default:
			keys[k] = nil
			a.oldKeys = append(a.oldKeys, rehomed{key: k, from: th})
		}
		return nil
	})
}

// rehome gives the keys of threads that were taken apart to the threads that came of them, and each of these threads, if
// nothing has its id, to the oldest of what it held.
func (a *applier) rehome(keys map[[12]byte]*threadRow) {
	for _, num := range a.apart {
		th := a.threads[num]
		var oldest *messageRow
		for _, m := range a.order {
			if !m.rejoins || m.gone || m.threadNum != num {
				continue
			}
			if m.thread == th.root() {
				oldest = nil
				break
			}
			if oldest == nil || m.row < oldest.row {
				oldest = m
			}
		}
		if oldest != nil {
			a.union(th.root(), oldest.thread)
		}
	}
	for _, m := range a.order {
		if m.thread != nil {
			m.thread = m.thread.root()
		}
	}
	for i := range a.oldKeys {
		k := &a.oldKeys[i]
		if k.to = keys[k.key]; k.to == nil { // of messages that were deleted
			k.to = k.from
		}
	}
}

// writeOldKeys stores what became of keys that were there before.
func (a *applier) writeOldKeys() error {
	var moved, claimed, dead [][]any
	for _, k := range a.oldKeys {
		if to := k.to.root(); to != k.from.root() {
			moved = append(moved, []any{to.num, k.key[:]})
		}
	}
	for k, an := range a.anchors {
		switch {
		case !an.stored || !an.dirty:
		case an.dead:
			dead = append(dead, []any{k[:]})
		default:
			claimed = append(claimed, []any{an.owner, k[:]})
		}
	}
	for _, w := range []struct {
		q    string
		rows [][]any
	}{
		{"UPDATE thread_keys SET thread_id=? WHERE {a}key=?", moved},
		{"UPDATE thread_keys SET owner=? WHERE {a}key=?", claimed},
		{"UPDATE thread_keys SET thread_id=0, owner=NULL WHERE {a}key=?", dead},
	} {
		if len(w.rows) > 0 {
			if _, err := a.t.execMany(a.ctx, w.q, w.rows); err != nil {
				return fmt.Errorf("write thread keys: %w", err)
			}
		}
	}
	return nil
}

// moved tells whether a stored message is in another thread than before, other than by a merge.
func (m *messageRow) moved() bool { return m.rejoins && m.thread != nil && m.thread.num != m.threadNum }
