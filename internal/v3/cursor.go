package v3

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// CursorKind tells the lists apart, so that a token of one is refused by another.
type CursorKind byte

// The lists that page with tokens.
const (
	CursorMessages CursorKind = 'm'
	CursorThreads  CursorKind = 't'
	CursorFolders  CursorKind = 'f'
	CursorRanked   CursorKind = 'r' // messages by relevance
)

// Cursor makes the opaque page token for a position. The checksum only catches tokens that were mangled or made up;
// a position is no secret and reading from it needs the same rights as any other.
func Cursor(kind CursorKind, pos int64) string {
	b := make([]byte, 13)
	b[0] = byte(kind)
	binary.BigEndian.PutUint64(b[1:], uint64(pos))
	binary.BigEndian.PutUint32(b[9:], crc32.ChecksumIEEE(b[:9]))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads a page token of the list kind; "" is the start.
func ParseCursor(kind CursorKind, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 13 || b[0] != byte(kind) || binary.BigEndian.Uint32(b[9:]) != crc32.ChecksumIEEE(b[:9]) {
		return 0, invalid("read page_token", "page_token is not a next_cursor of this list")
	}
	pos := int64(binary.BigEndian.Uint64(b[1:9]))
	if pos <= 0 {
		return 0, invalid("read page_token", "page_token is not a next_cursor of this list")
	}
	return pos, nil
}
