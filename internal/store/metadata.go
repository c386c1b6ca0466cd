package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"

	"github.com/posthorn/posthorn/internal/mail"
)

// MetadataIndexed are the names of metadata that messages can be filtered by.
func MetadataIndexed() []string { return []string{"key1", "key2", "key3", "key4", "key5"} }

// metadataKeys returns the index keys of the pairs that are indexed, ascending.
func (m *Mailbox) metadataKeys(metadata map[string]string) []int64 {
	var keys []int64
	for _, name := range MetadataIndexed() {
		value, ok := metadata[name]
		if !ok {
			continue
		}
		b := append(m.key[:len(m.key):len(m.key)], "\x00metadata\x00"+name+"\x00"...)
		h := sha256.Sum256(append(b, clean(value)...))
		keys = append(keys, int64(binary.BigEndian.Uint64(h[:8])))
	}
	return sortedSet(keys)
}

// SetMetadata replaces what applications keep with a message; an empty map removes it. It needs no term: nothing of it
// comes from the mail server. NotFound: no such message. What is stored already changes nothing.
func (m *Mailbox) SetMetadata(ctx context.Context, id mail.MessageID, metadata map[string]string) error {
	stored := make(map[string]string, len(metadata))
	for k, v := range metadata {
		stored[clean(k)] = clean(v)
	}
	changed := false
	err := m.db.write(ctx, func(t *tx) error {
		row, err := rowOf(ctx, t, id)
		if err != nil {
			return err
		}
		list, err := m.messagesByRow(ctx, t, []int64{row})
		if err != nil || maps.Equal(list[0].Metadata, stored) {
			return err
		}
		var term mail.Term
		if err := t.row(ctx, "SELECT term FROM state WHERE {a}1=1").Scan(&term); err != nil {
			return err
		}
		a, err := m.begin(ctx, t, term, mail.OriginAPI)
		if err != nil {
			return err
		}
		a.tell(mail.MessageTagged, string(id), mail.ChangeData{Metadata: stored}, nil)
		changed = true
		var column any
		if len(stored) > 0 {
			b, err := json.Marshal(stored)
			if err != nil {
				return err
			}
			column = string(b)
		}
		if _, err := t.exec(ctx, "UPDATE messages SET metadata = ?, seq = ? WHERE {a}id = ?", column, a.st.seq, row); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE threads SET seq = ? WHERE {a}id = (SELECT thread_id FROM messages m WHERE {a:m}m.id = ?)", a.st.seq, row); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "DELETE FROM message_metadata WHERE {a}message_id = ?", row); err != nil {
			return err
		}
		var keys [][]any
		for _, k := range m.metadataKeys(stored) {
			keys = append(keys, []any{k, row})
		}
		if err := t.insertMany(ctx, "message_metadata", []string{"key", "message_id"}, keys, ""); err != nil {
			return err
		}
		if err := a.writeChanges(); err != nil {
			return err
		}
		return a.writeState()
	})
	if err == nil && changed && m.hint != nil {
		m.hint()
	}
	return err
}

// tags hashes metadata.
func (c *checker) tags(metadata map[string]string) uint64 {
	if len(metadata) == 0 {
		return 0
	}
	b, _ := json.Marshal(metadata) // strings only; ordered by name
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:8])
}
