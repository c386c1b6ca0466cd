package store

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/mime"
)

const (
	// loneDays is how far apart a reply that names no parent and what it answers may be.
	loneDays = 45
	loneRows = int64(loneDays*24*3600) << rowBits
	// maxLone bounds how many messages of one subject are looked at.
	maxLone = 500
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
	known := map[int64][]*lonely{} // by topic without its lowest bit
	read := func(r *sql.Rows) error {
		l := new(lonely)
		var addrs sql.NullString
		if err := r.Scan(&l.row, &l.topic, &l.thread, &l.key, &addrs); err != nil {
			return err
		}
		if addrs.Valid && len(l.key) >= 12 {
			var list addresses
			if err := json.Unmarshal([]byte(addrs.String), &list); err != nil {
				return fmt.Errorf("addresses of message %d: %w", l.row, err)
			}
			l.key, l.addresses = l.key[:12], a.m.addressKeys(&list)
			known[l.topic&^1] = append(known[l.topic&^1], l)
		}
		return nil
	}
	var topics, lone []int64
	for _, m := range fresh {
		topics = append(topics, m.topic|1)
		if m.topic&1 == 1 {
			lone = append(lone, m.topic)
		}
	}
	const q = "SELECT id, thread_subject, thread_id, thread_keys, addresses FROM messages WHERE {a}thread_subject <> 0 AND id BETWEEN ? AND ? AND thread_subject IN (??)"
	span := []any{fresh[0].row - loneRows, fresh[len(fresh)-1].row + loneRows}
	if err := queryIn(a.ctx, a.t, q+" LIMIT 5000", span, sortedSet(topics), read); err != nil {
		return fmt.Errorf("read replies: %w", err)
	}
	for _, topic := range sortedSet(lone) {
		if err := queryIn(a.ctx, a.t, q+" ORDER BY id DESC LIMIT "+fmt.Sprint(maxLone), span, []int64{topic &^ 1}, read); err != nil {
			return fmt.Errorf("read what is replied to: %w", err)
		}
	}
	for _, m := range fresh {
		l := &lonely{row: m.row, topic: m.topic, key: m.keys[:12], addresses: a.m.addressKeys(&m.facts.addresses)}
		list := known[m.topic&^1]
		for _, key := range l.partners(list) {
			if !hasKey(m.keys, key) {
				m.keys = append(m.keys, key...)
			}
		}
		if len(list) < maxLone {
			known[m.topic&^1] = append(list, l)
		}
	}
	return nil
}

func hasKey(keys, key []byte) bool {
	for ; len(keys) >= 12; keys = keys[12:] {
		if string(keys[:12]) == string(key) {
			return true
		}
	}
	return false
}
