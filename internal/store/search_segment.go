package store

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/vault"
)

// A segment of the search index holds, for up to maxSegment messages, which index terms they have. It is written once. Its
// blocks: a head with the messages in row order, where their texts are, and the first term of every block of terms; then for
// each block of terms the sorted terms themselves, so that they can be searched by their middle, and their lists of messages.
//
// Terms are kept in groups that are seldom wanted together; the first byte of a key is its group.
const (
	groupFields byte = '1' // from, to, cc, bcc, subject, attachment names: with a mask of fields for each message
	groupBody   byte = '2'
	groupHeader byte = '3'
)

const fieldsMask = query.Fields(1<<query.Body - 1) // of groupFields; From to Filename are numbered below Body

func groupOf(f query.Field) byte {
	switch {
	case f < query.Body:
		return groupFields
	case f == query.Body:
		return groupBody
	}
	return groupHeader
}

const (
	maxSegment    = 128 << 10 // messages
	blockTerms    = 16 << 10  // bytes of terms in a block
	blockPostings = 32 << 10  // bytes of lists in a block, unless a single one is longer
)

// segHead is the head of a segment.
type segHead struct {
	rows   []int64  // ascending
	texts  []int64  // block that the message's text is in
	sums   []uint32 // start of the digest of its bytes, never 0; 0: made from its header alone
	firsts []string // key of the first term of each block of terms
}

func (h *segHead) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(h.rows)))
	row, text := int64(0), int64(0)
	for i := range h.rows {
		b = binary.AppendUvarint(b, uint64(h.rows[i]-row))
		b = binary.AppendVarint(b, h.texts[i]-text)
		b = binary.BigEndian.AppendUint32(b, h.sums[i])
		row, text = h.rows[i], h.texts[i]
	}
	b = binary.AppendUvarint(b, uint64(len(h.firsts)))
	for _, f := range h.firsts {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

// bytesReader reads what encode wrote; bad is set when it ends too early.
type bytesReader struct {
	b   []byte
	bad bool
}

func (r *bytesReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *bytesReader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *bytesReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func decodeHead(b []byte) (*segHead, error) {
	r := bytesReader{b: b}
	n := r.uint()
	if n > 2*maxSegment {
		return nil, vault.ErrDamaged
	}
	h := &segHead{rows: make([]int64, n), texts: make([]int64, n), sums: make([]uint32, n)}
	row, text := int64(0), int64(0)
	for i := range h.rows {
		row += int64(r.uint())
		text += r.int()
		h.rows[i], h.texts[i] = row, text
		if s := r.take(4); s != nil {
			h.sums[i] = binary.BigEndian.Uint32(s)
		}
	}
	for k := r.uint(); k > 0 && !r.bad; k-- {
		h.firsts = append(h.firsts, string(r.take(r.uint())))
	}
	if r.bad {
		return nil, vault.ErrDamaged
	}
	return h, nil
}

func (h *segHead) size() int64 { return int64(len(h.rows))*20 + int64(len(h.firsts))*48 }

// last is the newest row.
func (h *segHead) last() int64 {
	if len(h.rows) == 0 {
		return 0
	}
	return h.rows[len(h.rows)-1]
}

// find returns the place of a row. Most segments are of a time of their own, which rules them out at once.
func (h *segHead) find(row int64) (int, bool) {
	n := len(h.rows)
	if n == 0 || row < h.rows[0] {
		return 0, false
	}
	if row > h.rows[n-1] {
		return n, false
	}
	return slices.BinarySearch(h.rows, row)
}

// termBlock is a block of terms, all of one group.
type termBlock struct {
	terms string   // joined by zero bytes, with one at the end
	start []uint32 // of each term
	lists []uint32 // end of each term's list in the block of lists
}

func decodeTerms(b []byte) (*termBlock, error) {
	r := bytesReader{b: b}
	n := r.uint()
	text := r.take(r.uint())
	if n > uint64(len(text)) {
		return nil, vault.ErrDamaged
	}
	t := &termBlock{terms: string(text), start: make([]uint32, 0, n+1), lists: make([]uint32, n)}
	pos := 0
	for i := range t.lists {
		end := strings.IndexByte(t.terms[pos:], 0)
		if end < 0 {
			return nil, vault.ErrDamaged
		}
		t.start = append(t.start, uint32(pos))
		pos += end + 1
		last := uint32(0)
		if i > 0 {
			last = t.lists[i-1]
		}
		t.lists[i] = last + uint32(r.uint())
	}
	t.start = append(t.start, uint32(pos))
	if r.bad || pos != len(t.terms) {
		return nil, vault.ErrDamaged
	}
	return t, nil
}

func (t *termBlock) term(i int) string { return t.terms[t.start[i] : t.start[i+1]-1] }

func (t *termBlock) size() int64 { return int64(len(t.terms) + 8*len(t.lists)) }

// list returns where the list of a term is in the block of lists.
func (t *termBlock) list(i int) (from, to uint32) {
	if i > 0 {
		from = t.lists[i-1]
	}
	return from, t.lists[i]
}

// firstAt returns the first term that is not below s.
func (t *termBlock) firstAt(s string) int {
	return sort.Search(len(t.lists), func(i int) bool { return t.term(i) >= s })
}

// segWriter writes the blocks of terms of a segment.
type segWriter struct {
	emit   func(n int64, plain []byte) error // n counts the blocks of a segment from 1
	firsts []string
	n      uint64
	terms  []byte
	lens   []byte
	lists  []byte
	group  byte
}

// add writes the next term: keys come in ascending order, messages likewise, masks only in groupFields.
func (w *segWriter) add(key string, docs []uint32, masks []byte) error {
	if w.n > 0 && (key[0] != w.group || len(w.terms) >= blockTerms || len(w.lists) >= blockPostings) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.n == 0 {
		w.firsts = append(w.firsts, key)
		w.group = key[0]
	}
	w.n++
	w.terms = append(w.terms, key[1:]...)
	w.terms = append(w.terms, 0)
	from, last := len(w.lists), uint32(0)
	for i, d := range docs {
		w.lists = binary.AppendUvarint(w.lists, uint64(d-last))
		if w.group == groupFields {
			w.lists = append(w.lists, masks[i])
		}
		last = d
	}
	w.lens = binary.AppendUvarint(w.lens, uint64(len(w.lists)-from))
	return nil
}

func (w *segWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	b := binary.AppendUvarint(nil, w.n)
	b = binary.AppendUvarint(b, uint64(len(w.terms)))
	b = append(append(b, w.terms...), w.lens...)
	k := int64(len(w.firsts))
	if err := w.emit(2*k-1, b); err != nil {
		return err
	}
	err := w.emit(2*k, w.lists)
	w.n, w.terms, w.lens, w.lists = 0, w.terms[:0], w.lens[:0], w.lists[:0]
	return err
}

// eachPosting calls fn with each message of a list, and in groupFields its mask.
func eachPosting(list []byte, masks bool, fn func(doc uint32, mask byte)) bool {
	doc := uint64(0)
	for len(list) > 0 {
		v, n := binary.Uvarint(list)
		if n <= 0 {
			return false
		}
		list = list[n:]
		doc += v
		mask := byte(0)
		if masks {
			if len(list) == 0 {
				return false
			}
			mask, list = list[0], list[1:]
		}
		fn(uint32(doc), mask)
	}
	return true
}

// bitset marks messages of a segment.
type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i uint32)   { b[i>>6] |= 1 << (i & 63) }
func (b bitset) clear(i uint32) { b[i>>6] &^= 1 << (i & 63) }
func (b bitset) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }
func (b bitset) and(x bitset)   { each64(b, x, func(p *uint64, v uint64) { *p &= v }) }
func (b bitset) or(x bitset)    { each64(b, x, func(p *uint64, v uint64) { *p |= v }) }
func each64(b, x bitset, fn func(*uint64, uint64)) {
	for i := range b {
		fn(&b[i], x[i])
	}
}

func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// below returns the last one that is set below i, -1 if there is none.
func (b bitset) below(i int) int {
	if i <= 0 {
		return -1
	}
	i--
	w := b[i>>6] << (63 - i&63)
	if w != 0 {
		return i - bits.LeadingZeros64(w)
	}
	for k := i>>6 - 1; k >= 0; k-- {
		if b[k] != 0 {
			return k<<6 + 63 - bits.LeadingZeros64(b[k])
		}
	}
	return -1
}

// all sets the first n.
func (b bitset) all(n int) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	if n&63 != 0 {
		b[len(b)-1] = 1<<(n&63) - 1
	}
}
