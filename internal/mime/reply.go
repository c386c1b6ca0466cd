package mime

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

// AnswerTo makes the composition a reply to a message: In-Reply-To and References (RFC 5322 3.6.4), and where the
// original has them Thread-Topic and a Thread-Index one level deeper (MS-OXOMSG 2.2.1.3), by which Outlook groups.
// It leaves subject and recipients alone.
func (c *Composition) AnswerTo(original *Message, now time.Time) {
	var chain []string
	for _, r := range references(original.References) {
		if plainID(r) {
			chain = append(chain, r)
		}
	}
	if len(chain) == 0 && len(original.InReplyTo) == 1 && plainID(original.InReplyTo[0]) {
		chain = []string{original.InReplyTo[0]}
	}
	c.InReplyTo = nil
	if plainID(original.MessageID) {
		c.InReplyTo = []string{original.MessageID}
		chain = append(chain, original.MessageID)
	}
	c.References = chain
	c.ThreadTopic = ""
	if topic := (texts{}).decodeWords(original.Header.Get("Thread-Topic")); checkText(topic) == "" {
		c.ThreadTopic = topic
	}
	c.ThreadIndex = childIndex(original.Header.Get("Thread-Index"), now)
}

// maxThreadIndex bounds the levels of a Thread-Index.
const maxThreadIndex = 4 << 10

// childIndex decodes a Thread-Index and appends a response level to it; nil if it is none.
func childIndex(v string, now time.Time) []byte {
	index, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v), ""))
	if err != nil || len(index) < 22 || len(index) > maxThreadIndex {
		return nil
	}
	// The specification leaves out 24 low bits of the time after a byte of 1; what Outlook wrote for long leaves out 16,
	// and its first byte is 1 because the time's is. Their second bytes tell them apart until the year 2057.
	var begun uint64
	if index[1] == 1 {
		begun = binary.BigEndian.Uint64(append([]byte{0, 0, 0}, index[1:6]...)) << 24
	} else {
		begun = binary.BigEndian.Uint64(append([]byte{0, 0}, index[:6]...)) << 16
	}
	const unixEpoch = 116444736000000000 // in units of 100 ns since 1601
	passed := max(int64(uint64(now.UnixNano()/100)+unixEpoch-begun), 0)
	level := uint32(passed>>18) & 0x7fffffff
	if passed>>32&0x00fe0000 != 0 { // 1.7 years or more
		level = uint32(passed>>23)&0x7fffffff | 1<<31
	}
	out := binary.BigEndian.AppendUint32(index, level)
	var random [1]byte
	rand.Read(random[:]) // never fails
	return append(out, random[0])
}

// CompositionOf is what has to be composed to get a message with the content of m again, its files aside: all texts, and
// the fields that can be chosen.
func CompositionOf(m *Message) Composition {
	c := Composition{
		From: m.From, ReplyTo: m.ReplyTo, To: m.To, Cc: m.Cc, Bcc: m.Bcc, Subject: m.Subject, Text: m.TextAll, HTML: m.HTMLAll,
		Date: m.Date, MessageID: m.MessageID, References: m.References, InReplyTo: m.InReplyTo,
		ThreadTopic: (texts{}).decodeWords(m.Header.Get("Thread-Topic")),
	}
	if index, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(m.Header.Get("Thread-Index")), "")); err == nil && len(index) <= maxThreadIndex {
		c.ThreadIndex = index
	}
	for _, f := range m.Header {
		f.Value = (texts{}).decodeWords(unfold(f.Value))
		if checkField(f) == "" && !strings.EqualFold(f.Name, RevisionField) {
			c.Headers = append(c.Headers, f)
		}
	}
	return c
}
