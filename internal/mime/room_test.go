package mime

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestMessagesShareNoBuffers: what was read of a message stays as it is when the buffers that it was read in are used for others.
func TestMessagesShareNoBuffers(t *testing.T) {
	list := [][]byte{samplePlain(), sampleAlternative(), sampleAttachment()}
	for _, c := range structures {
		list = append(list, []byte(crlf(c.raw)))
	}
	for i, raw := range list {
		m, err := Parse(bytes.NewReader(raw), Options{})
		if err != nil {
			t.Fatal(err)
		}
		before, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var rooms []*parseRoom
		for range 4 {
			room := parseRooms.Get().(*parseRoom)
			rooms = append(rooms, room)
			for _, b := range [][]byte{room.read[:], room.text[:cap(room.text)]} {
				for i := range b {
					b[i] = 'X'
				}
			}
		}
		for _, r := range rooms {
			parseRooms.Put(r)
		}
		if after, err := json.Marshal(m); err != nil || !bytes.Equal(before, after) {
			t.Errorf("message %d became %.500s, was %.500s, %v", i, after, before, err)
		}
	}
}
