package store

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/posthorn/posthorn/internal/mime"
)

const (
	// loneDays is how far apart a reply that names no parent and what it answers may be.
	loneDays = 45
	loneRows = int64(loneDays*24*3600) << rowBits
	// maxLone is how many messages of one subject are looked at before a message, and after it: the nearest.
	maxLone = 500
	// loneAtOnce is up to how many messages of some subjects are all read.
	loneAtOnce = 5000
	// leastLone is maxLone where a transaction has very many messages of one subject that has very many more.
	leastLone = 8
)

// topicOf returns the column thread_subject.
func topicOf(t *mime.Threading) int64 {
	topic := int64(binary.BigEndian.Uint64(t.Subject[:8])) &^ 1
	if topic != 0 && t.Lone {
		topic |= 1
	}
	return topic
}

// lonely is a message as a partner of replies that name no parent.
type lonely struct {
	row       int64
	topic     int64
	thread    int64   // 0: not stored yet
	key       []byte  // one of its keys
	addresses []int64 // addressKeys
}

// pairs tells whether two messages of one subject belong together although neither names the other: one is a reply that
// names no parent, they are at most 45 days apart, and who sent each is among the people of the other. It is the same
// from both sides, so it does not matter which of them is seen first.
func (x *lonely) pairs(y *lonely) bool {
	return x.topic != 0 && x.topic|1 == y.topic|1 && (x.topic|y.topic)&1 == 1 && max(x.row-y.row, y.row-x.row) <= loneRows &&
		sentBy(x.addresses, y.addresses) && sentBy(y.addresses, x.addresses)
}

// partners returns a key of each that it pairs with. Of those that pair with each other, and so are in one thread already,
// one is enough: of a subject that comes a thousand times each would else bring the keys of all before it.
func (x *lonely) partners(list []*lonely) (keys [][]byte) {
	var found []*lonely
	for _, y := range list {
		if x.pairs(y) {
			found = append(found, y)
		}
	}
	slices.SortFunc(found, func(a, b *lonely) int { return compareRows(a.row, b.row) })
	for i, y := range found {
		if i == 0 || !y.pairs(found[i-1]) || y.thread != 0 && found[i-1].thread != 0 && y.thread != found[i-1].thread {
			keys = append(keys, y.key)
		}
	}
	return keys
}

// sentBy tells whether a sender of one message is among the addresses of another.
func sentBy(from, among []int64) bool {
	for _, k := range from {
		if k&3 != 0 {
			continue
		}
		if i, _ := slices.BinarySearch(among, k); i < len(among) && among[i]>>2 == k>>2 {
			return true
		}
	}
	return false
}

// pairLone gives new messages a key of those they belong with although neither names the other.
func (a *applier) pairLone() error {
	var fresh []*messageRow
	for _, m := range a.order {
		if !m.stored && !m.void() && m.topic != 0 {
			fresh = append(fresh, m)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(fresh, func(x, y *messageRow) int { return compareRows(x.row, y.row) })
	known := map[int64][]*lonely{} // by topic
	of := map[int64][]*lonely{}    // the new ones, by topic without its lowest bit
	news := make([]*lonely, len(fresh))
	var topics []int64
	for i, m := range fresh {
		people, err := m.facts.people()
		if err != nil {
			return err
		}
		l := &lonely{row: m.row, topic: m.topic, key: m.keys[:12], addresses: a.m.addressKeys(people)}
		news[i] = l
		known[l.topic] = append(known[l.topic], l)
		of[l.topic&^1] = append(of[l.topic&^1], l)
		if topics = append(topics, m.topic|1); m.topic&1 == 1 {
			topics = append(topics, m.topic&^1)
		}
	}
	if err := a.readLone(sortedSet(topics), of, known); err != nil {
		return fmt.Errorf("read replies and what they are to: %w", err)
	}
	for _, list := range known {
		slices.SortFunc(list, func(x, y *lonely) int { return compareRows(x.row, y.row) })
	}
	for i, m := range fresh {
		l := news[i]
		near := l.near(known[l.topic|1])
		if l.topic&1 == 1 {
			near = slices.Concat(near, l.near(known[l.topic&^1]))
		}
		for _, key := range l.partners(near) {
			if !hasKey(m.keys, key) {
				m.keys = append(m.keys, key...)
			}
		}
	}
	return nil
}

// near returns what is near in a list in the order of rows, without new messages that come later: these look at x.
func (x *lonely) near(list []*lonely) []*lonely {
	at, _ := slices.BinarySearchFunc(list, x.row, func(y *lonely, row int64) int { return compareRows(y.row, row) })
	var out []*lonely
	for _, y := range list[max(at-maxLone, 0):min(at+maxLone, len(list))] {
		if y.row < x.row || y.thread != 0 {
			out = append(out, y)
		}
	}
	return out
}

// readLone reads the stored messages of some topics around the new ones: all, or of topics that have very many the nearest. So it does
// not depend on which of two messages comes first whether they are seen to belong together.
func (a *applier) readLone(topics []int64, of, known map[int64][]*lonely) error {
	if len(topics) == 0 {
		return nil
	}
	l := loneReader{a: a}
	if err := l.around(topics, of); err != nil {
		return err
	}
	if l.n >= loneAtOnce {
		if half := len(topics) / 2; half > 0 {
			if err := a.readLone(topics[:half], of, known); err != nil {
				return err
			}
			return a.readLone(topics[half:], of, known)
		}
		l = loneReader{a: a}
		if err := l.nearest(topics[0], of[topics[0]&^1]); err != nil {
			return err
		}
	}
	for _, x := range l.list {
		known[x.topic] = append(known[x.topic], x)
	}
	return nil
}

// loneReader reads stored messages as partners of replies that name no parent.
type loneReader struct {
	a    *applier
	list []*lonely
	n    int64 // rows read
	row  int64 // the last of them
}

const selectLone = "SELECT id, thread_subject, thread_id, thread_keys, addresses FROM messages WHERE {a}thread_subject <> 0 AND "

// loneAround goes on with the topics: for PostgreSQL as one parameter. Of many parameters it thinks, in a plan for any values, that they
// are not worth their index, and reads all messages of the time.
const loneAround = selectLone + "id BETWEEN ? AND ? AND thread_subject "

func (l *loneReader) read(r *sql.Rows) error {
	x := new(lonely)
	var addrs sql.NullString
	if err := r.Scan(&x.row, &x.topic, &x.thread, &x.key, &addrs); err != nil {
		return err
	}
	l.n, l.row = l.n+1, x.row
	if addrs.Valid && len(x.key) >= 12 {
		var all addresses
		if err := json.Unmarshal([]byte(addrs.String), &all); err != nil {
			return fmt.Errorf("addresses of message %d: %w", x.row, err)
		}
		x.key, x.addresses = x.key[:12], l.a.m.addressKeys(&all)
		l.list = append(l.list, x)
	}
	return nil
}

// around reads all messages of some topics that may belong with the new ones, but no more than loneAtOnce.
func (l *loneReader) around(topics []int64, of map[int64][]*lonely) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, topic := range topics {
		ms := of[topic&^1]
		first, last = min(first, ms[0].row), max(last, ms[len(ms)-1].row)
	}
	span := []any{first - loneRows, last + loneRows}
	if l.a.t.texts.d == postgres {
		return each(l.a.ctx, l.a.t, loneAround+"= ANY(?) LIMIT "+fmt.Sprint(loneAtOnce), append(span, topics), l.read)
	}
	return queryIn(l.a.ctx, l.a.t, loneAround+"IN (??) LIMIT "+fmt.Sprint(loneAtOnce), span, slices.Clone(topics), l.read)
}

// nearest reads, for each of the new messages of a topic, which are in the order of rows, those that are nearest before it and after it.
func (l *loneReader) nearest(topic int64, news []*lonely) error {
	most := min(maxLone, max(int64(4*loneAtOnce/len(news)), leastLone))
	upTo := int64(math.MinInt64) // what is nearest before it is read
	for _, m := range news {
		if upTo < m.row {
			if err := l.some("id > ? AND id < ? ORDER BY id DESC LIMIT ?", topic, max(m.row-loneRows-1, upTo), m.row, most); err != nil {
				return err
			}
			upTo = m.row
		}
		l.n = 0
		if err := l.some("id > ? AND id <= ? ORDER BY id LIMIT ?", topic, upTo, m.row+loneRows, most); err != nil {
			return err
		}
		if l.n == most {
			upTo = l.row
		} else {
			upTo = max(upTo, m.row+loneRows)
		}
	}
	return nil
}

// some reads the messages of one topic that fulfil a condition.
func (l *loneReader) some(where string, args ...any) error {
	return each(l.a.ctx, l.a.t, selectLone+"thread_subject = ? AND "+where, args, l.read)
}

func hasKey(keys, key []byte) bool {
	for ; len(keys) >= 12; keys = keys[12:] {
		if string(keys[:12]) == string(key) {
			return true
		}
	}
	return false
}
