package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// clean makes a string fit for both databases: PostgreSQL refuses invalid UTF-8 and NUL where SQLite takes them.
// Every string of a message, folder or status passes here on its way into a row.
func clean(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// text is a nullable column: nil for "".
func text(s string) any {
	if s = clean(s); s == "" {
		return nil
	}
	return s
}

// number is a nullable column: nil for 0.
func number(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// jsonList is a nullable column: nil for an empty list. Strings within have been cleaned.
func jsonList[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, numbers and booleans only
	}
	return string(b)
}

func parseList[T any](s sql.NullString) ([]T, error) {
	if !s.Valid {
		return nil, nil
	}
	var list []T
	if err := json.Unmarshal([]byte(s.String), &list); err != nil {
		return nil, fmt.Errorf("a list in a row: %w", err)
	}
	return list, nil
}

func cleanList(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s)
	}
	return out
}

// millis is a nullable column: nil for the zero time.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func fromMillis(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64).UTC()
}

// A message's row id is date-ordered: the seconds of INTERNALDATE, then 22 bits that tell messages of one second apart.
const rowBits = 22

const (
	minRowSecond = 315532800  // 1980
	maxRowSecond = 4102444800 // 2100
)

// rowAt returns the first row id of t's second; dates that no mail can have are clamped.
func rowAt(t time.Time) int64 {
	return min(max(t.Unix(), minRowSecond), maxRowSecond) << rowBits
}

// publicID is a message's id without the letter in front.
type publicID [16]byte

func (p publicID) id() mail.MessageID {
	return mail.MessageID("m" + base64.RawURLEncoding.EncodeToString(p[:]))
}

func parseMessageID(id mail.MessageID) (publicID, bool) {
	var p publicID
	if len(id) != 23 || id[0] != 'm' {
		return p, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(p[:], []byte(id[1:]))
	return p, err == nil && n == len(p)
}

func (m *Mailbox) publicID(fp [16]byte) publicID {
	p, ok := parseMessageID(mail.MessageID(m.key.MessageID(fp)))
	if !ok {
		panic("store: the message id is not of the form that rows hold")
	}
	return p
}

// threadID is the public id minted from a key.
func threadID(k []byte) mail.ThreadID {
	var t mime.ThreadKey
	copy(t[:], k)
	return mail.ThreadID(t.ID())
}

// The fields that addresses are filtered by: the lowest bits of an address key.
const (
	fieldFrom = iota
	fieldTo
	fieldCc
	fieldBcc
)

// addressKey is the row key of one address in one field.
func (m *Mailbox) addressKey(field int, addr string) int64 {
	var buf [128]byte
	b := append(buf[:0], m.key[:]...)
	b = append(b, "\x00address\x00"...)
	b = append(b, strings.ToLower(strings.TrimSpace(addr))...)
	h := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(h[:8]))&^3 | int64(field)
}

// addresses is the JSON of messages.addresses.
type addresses struct {
	From    []mail.Address `json:"from,omitempty"`
	To      []mail.Address `json:"to,omitempty"`
	Cc      []mail.Address `json:"cc,omitempty"`
	Bcc     []mail.Address `json:"bcc,omitempty"`
	ReplyTo []mail.Address `json:"reply_to,omitempty"`
	Sender  []mail.Address `json:"sender,omitempty"`
}

// maxAddresses bounds how many addresses of a message can be filtered by.
const maxAddresses = 1000

// keys returns the address keys of a message, each once.
func (m *Mailbox) addressKeys(a *addresses) []int64 {
	keys := make([]int64, 0, len(a.From)+len(a.To)+len(a.Cc)+len(a.Bcc))
	for field, list := range [][]mail.Address{a.From, a.To, a.Cc, a.Bcc} {
		for i, ad := range list {
			if ad.Email == "" || len(keys) >= maxAddresses || i > 0 && ad.Email == list[i-1].Email {
				continue
			}
			keys = append(keys, m.addressKey(field, ad.Email))
		}
	}
	return sortedSet(keys)
}

// storedKeys returns the address keys of addresses as they are stored.
func (m *Mailbox) storedKeys(stored string) ([]int64, error) {
	a, err := parseAddresses(stored)
	return m.addressKeys(&a), err
}

func parseAddresses(stored string) (a addresses, err error) {
	if stored != "" {
		if err = json.Unmarshal([]byte(stored), &a); err != nil {
			err = fmt.Errorf("addresses of a message: %w", err)
		}
	}
	return a, err
}

func addressList(list []mime.Address) []mail.Address {
	if len(list) == 0 {
		return nil
	}
	out := make([]mail.Address, len(list))
	for i, a := range list {
		out[i] = mail.Address{Name: clean(a.Name), Email: clean(a.Email)}
	}
	return out
}

// queryIn runs q once for every so many of list, which take the place of its `??`, after the other arguments. scan is
// called with each row and must not query.
func queryIn[T any](ctx context.Context, t *tx, q string, before []any, list []T, scan func(*sql.Rows) error) error {
	for len(list) > 0 {
		n := 1
		for _, s := range []int{512, 128, 64, 32, 8} { // few sizes, so that prepared statements are reused
			if len(list) > s/2 {
				n = s
				break
			}
		}
		args := append(make([]any, 0, len(before)+n), before...)
		take := min(n, len(list))
		for i := range n {
			args = append(args, list[min(i, take-1)])
		}
		list = list[take:]
		if err := each(ctx, t, strings.Replace(q, "??", strings.Repeat("?, ", n-1)+"?", 1), args, scan); err != nil {
			return err
		}
	}
	return nil
}

// each calls scan with each row of a query.
func each(ctx context.Context, t *tx, q string, args []any, scan func(*sql.Rows) error) error {
	rows, err := t.query(ctx, q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// folderNames remembers the public ids of folder rows: a number, once committed, means one folder for ever.
type folderNames struct {
	mu sync.RWMutex
	m  map[int64]mail.FolderID
}

// all returns the public id of every folder row, gone ones too, reading them anew if want is not among those known.
func (f *folderNames) all(ctx context.Context, t *tx, want ...int64) (map[int64]mail.FolderID, error) {
	f.mu.RLock()
	m := f.m
	f.mu.RUnlock()
	missing := m == nil
	for _, n := range want {
		if _, ok := m[n]; !ok {
			missing = true
		}
	}
	if !missing {
		return m, nil
	}
	m = map[int64]mail.FolderID{}
	err := each(ctx, t, "SELECT id, public FROM folders WHERE {a}id > 0", nil, func(r *sql.Rows) error {
		var n int64
		var id string
		if err := r.Scan(&n, &id); err != nil {
			return err
		}
		m[n] = mail.FolderID(id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.m = m
	f.mu.Unlock()
	return m, nil
}

// sortedSet returns the list sorted and each value once.
func sortedSet[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
