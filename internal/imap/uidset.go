package imap

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sort"
	"strconv"
)

// Star stands for `*`, the highest UID of the folder, as the end of a range.
const Star uint32 = math.MaxUint32

// UIDRange is the UIDs Start to Stop, both included. Stop may be Star.
type UIDRange struct{ Start, Stop uint32 }

// UIDSet is a set of UIDs: ascending ranges with gaps between them. The zero value is empty.
// A copy shares memory with the original until one of them changes; use Clone to keep both.
type UIDSet struct{ r []UIDRange }

// UIDs returns the set of the given UIDs.
func UIDs(uids ...uint32) UIDSet {
	var s UIDSet
	for _, u := range uids {
		s.Add(u)
	}
	return s
}

// Range returns the set start:stop.
func Range(start, stop uint32) UIDSet {
	var s UIDSet
	s.AddRange(start, stop)
	return s
}

// Add puts one UID into the set. 0 is no UID and is ignored.
func (s *UIDSet) Add(uid uint32) { s.AddRange(uid, uid) }

// AddRange puts start to stop into the set, in either order. Zeros are no UIDs and are left out.
func (s *UIDSet) AddRange(start, stop uint32) {
	if start > stop {
		start, stop = stop, start
	}
	if stop == 0 {
		return
	}
	start = max(start, 1)
	n := len(s.r)
	// The usual case: ascending input.
	if n == 0 || start > s.r[n-1].Stop && start-1 > s.r[n-1].Stop {
		s.r = append(s.r, UIDRange{start, stop})
		return
	}
	if last := &s.r[n-1]; start >= last.Start {
		last.Stop = max(last.Stop, stop)
		return
	}
	// i: first range that touches or follows start; j: first range that lies wholly behind stop.
	i := sort.Search(n, func(i int) bool { return s.r[i].Stop >= start-1 })
	j := sort.Search(n, func(j int) bool { return stop != Star && s.r[j].Start > stop+1 })
	if i < j {
		start = min(start, s.r[i].Start)
		stop = max(stop, s.r[j-1].Stop)
	}
	s.r = slices.Replace(s.r, i, j, UIDRange{start, stop})
}

// AddSet puts all of o into the set.
func (s *UIDSet) AddSet(o UIDSet) {
	for _, r := range o.r {
		s.AddRange(r.Start, r.Stop)
	}
}

// Contains reports whether uid is in the set. A range that ends in Star contains everything from its start on.
func (s UIDSet) Contains(uid uint32) bool {
	i := sort.Search(len(s.r), func(i int) bool { return s.r[i].Stop >= uid })
	return i < len(s.r) && s.r[i].Start <= uid && uid != 0
}

// Empty reports whether nothing is in the set.
func (s UIDSet) Empty() bool { return len(s.r) == 0 }

// Open reports whether the set ends in Star, so that its size is not known.
func (s UIDSet) Open() bool { return len(s.r) > 0 && s.r[len(s.r)-1].Stop == Star }

// Len returns the number of UIDs; of an open set it is meaningless but large.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s.r {
		n += int(r.Stop-r.Start) + 1
	}
	return n
}

// Ranges returns the ranges in ascending order. The caller must not change them.
func (s UIDSet) Ranges() []UIDRange { return s.r }

// All calls yield for every UID in ascending order until it returns false. Of an open set the last range is left
// out, as its end is not known.
func (s UIDSet) All(yield func(uint32) bool) {
	for _, r := range s.r {
		if r.Stop == Star {
			return
		}
		for u := r.Start; ; u++ {
			if !yield(u) {
				return
			}
			if u == r.Stop {
				break
			}
		}
	}
}

// Clone returns a copy that shares nothing.
func (s UIDSet) Clone() UIDSet { return UIDSet{slices.Clone(s.r)} }

// String returns the set as IMAP writes it: ascending, `1:3,7,9:*`. The empty set gives "".
func (s UIDSet) String() string { return string(s.append(nil)) }

func (s UIDSet) append(b []byte) []byte {
	for i, r := range s.r {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.append(b)
	}
	return b
}

func (r UIDRange) append(b []byte) []byte {
	b = appendUID(b, r.Start)
	if r.Stop != r.Start {
		b = append(b, ':')
		b = appendUID(b, r.Stop)
	}
	return b
}

func appendUID(b []byte, u uint32) []byte {
	if u == Star {
		return append(b, '*')
	}
	return strconv.AppendUint(b, uint64(u), 10)
}

// Split cuts the set into sets whose String is at most maxBytes long (at least one range each). Together they are
// the set, in ascending order. They share the set's memory.
func (s UIDSet) Split(maxBytes int) []UIDSet {
	var out []UIDSet
	var tmp [24]byte
	from, size := 0, 0
	for i, r := range s.r {
		n := len(r.append(tmp[:0])) + 1
		if i > from && size+n-1 > maxBytes {
			out = append(out, UIDSet{s.r[from:i:i]})
			from, size = i, 0
		}
		size += n
	}
	if from < len(s.r) {
		out = append(out, UIDSet{s.r[from:len(s.r):len(s.r)]})
	}
	return out
}

var errUIDSet = errors.New("imap: malformed UID set")

// ParseUIDSet reads what String writes, and what servers write: any order, overlapping, ranges in either direction.
// It fails on anything else, on 0 and on numbers above 2^32-1. An empty string is the empty set.
func ParseUIDSet(text string) (UIDSet, error) {
	s, ok := parseUIDSet([]byte(text))
	if !ok {
		return UIDSet{}, errUIDSet
	}
	return s, nil
}

func parseUIDSet(b []byte) (s UIDSet, ok bool) {
	if len(b) == 0 {
		return s, true
	}
	sorted := true
	var rs []UIDRange
	for i := 0; ; i++ {
		start, n := parseUID(b[i:])
		if n == 0 {
			return UIDSet{}, false
		}
		i += n
		stop := start
		if i < len(b) && b[i] == ':' {
			i++
			if stop, n = parseUID(b[i:]); n == 0 {
				return UIDSet{}, false
			}
			i += n
		}
		if start > stop {
			start, stop = stop, start
		}
		if k := len(rs) - 1; k >= 0 && start <= rs[k].Stop {
			sorted = false
		}
		if k := len(rs) - 1; k >= 0 && sorted && start == rs[k].Stop+1 {
			rs[k].Stop = stop
		} else {
			rs = append(rs, UIDRange{start, stop})
		}
		if i == len(b) {
			break
		}
		if b[i] != ',' {
			return UIDSet{}, false
		}
	}
	return normal(rs, sorted), true
}

// normal makes a set of ranges. Sorting first keeps a hostile descending set at n log n.
func normal(rs []UIDRange, sorted bool) (s UIDSet) {
	if sorted {
		return UIDSet{rs}
	}
	slices.SortFunc(rs, func(a, b UIDRange) int { return cmp.Compare(a.Start, b.Start) })
	for _, r := range rs {
		s.AddRange(r.Start, r.Stop)
	}
	return s
}

// parseUID reads a number or `*`; n is 0 when there is none.
func parseUID(b []byte) (u uint32, n int) {
	if len(b) > 0 && b[0] == '*' {
		return Star, 1
	}
	var v uint64
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		v = v*10 + uint64(b[n]-'0')
		if v > math.MaxUint32 {
			return 0, 0
		}
		n++
	}
	if v == 0 {
		return 0, 0
	}
	return uint32(v), n
}

// without adds to out what is in s and not in minus.
func (s UIDSet) without(minus UIDSet, out *UIDSet) {
	for _, r := range s.r {
		start := uint64(r.Start)
		i := sort.Search(len(minus.r), func(i int) bool { return minus.r[i].Stop >= r.Start })
		for ; i < len(minus.r) && minus.r[i].Start <= r.Stop && start <= uint64(r.Stop); i++ {
			if uint64(minus.r[i].Start) > start {
				out.AddRange(uint32(start), minus.r[i].Start-1)
			}
			start = max(start, uint64(minus.r[i].Stop)+1)
		}
		if start <= uint64(r.Stop) {
			out.AddRange(uint32(start), r.Stop)
		}
	}
}

func (r UIDRange) String() string { return string(r.append(nil)) }

// setBuilder puts many sets together, in whatever order a server sends them, without moving everything for each.
type setBuilder struct {
	rs    []UIDRange
	limit int // beyond it they are put in order
}

func (b *setBuilder) add(s UIDSet) {
	if b.rs = append(b.rs, s.r...); len(b.rs) > max(b.limit, 1024) {
		b.rs = slices.Clip(normal(b.rs, false).r)
		b.limit = 2 * len(b.rs)
	}
}

func (b *setBuilder) set() UIDSet { return normal(b.rs, false) }
