package mime

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"
)

// ThreadKey is a keyed hash that messages of one thread share.
type ThreadKey [12]byte

// ID returns the public thread id minted from this key.
func (t ThreadKey) ID() string { return "t" + base64.RawURLEncoding.EncodeToString(t[:]) }

// ParseThreadID returns the key of a public thread id, false if the text is none.
func ParseThreadID(s string) (ThreadKey, bool) {
	var t ThreadKey
	if len(s) != 17 || s[0] != 't' {
		return t, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s[1:])
	if err != nil || len(b) != len(t) {
		return t, false
	}
	return ThreadKey(b), true
}

// Threading is what a message contributes to finding its thread. Two messages with a common key are in one thread.
//
// The keys are a function of the message alone, so the threads of a set of messages do not depend on the order in which
// they arrive: threads are the connected components.
type Threading struct {
	Mint    ThreadKey   // the id to mint if this message starts a thread; always among Keys
	Keys    []ThreadKey // each once
	Anchor  ThreadKey   // of Keys, the one that says "has this Message-ID" whatever the subject; zero if it has none
	Subject [12]byte    // hash of the folded base subject; all zero if that is empty
	IsReply bool        // the subject declares a reply: a prefix such as "Re:", or "(was: …)"
	Native  string      // the provider's own id of the thread; empty if it has none

	// Lone is a reply without In-Reply-To, References and Thread-Index. It joins messages with the same Subject within 45 days
	// if the sender of each is among the people of the other: not by keys, whoever holds the messages has to look.
	Lone bool
}

const (
	maxReferences = 200
	maxParents    = 20 // ids in In-Reply-To that are looked at
)

// ThreadKeys returns the threading keys of a message. native is the provider's own thread id (X-GM-THRID, THREADID), empty if it has
// none. If there is one it decides, as people compare us with what their provider shows. Beside it only the own Message-ID is kept:
// messages that the provider has not threaded, such as a reply that was just accepted, find the thread by it.
//
// The keys, S being the folded base subject:
//   - own(id, S) for the message's own id, its parent's and every reference: joins what has this id in its chain and
//     speaks of the same subject;
//   - anchor(id) for the own id, and for the parent's if the subject declares a reply: joins a reply that changed
//     the subject; also for the parent and the first reference of a numbered series ("[PATCH 2/7]"), whose subjects
//     all differ;
//   - index(GUID, S) from Thread-Index, which Outlook writes where References are missing;
//   - the fingerprint, if there is no usable Message-ID;
//   - own(id, X) for parent and references if the subject says "(was: X)" or, inside, "re: X".
//
// Subjects count without their blanks: some programs lose one, or make two of one, where a long line was folded.
func (k IDKey) ThreadKeys(m *Message, fp [16]byte, native ...string) Threading {
	h := newKeyed(k)
	subject := BaseSubject(m.threadSubject())
	subject.Base, subject.Was = strings.ReplaceAll(subject.Base, " ", ""), strings.ReplaceAll(subject.Was, " ", "")
	t := Threading{IsReply: subject.Reply, Native: cmp.Or(native...)}
	if subject.Base != "" {
		s := h.sum("subject", subject.Base)
		t.Subject = [12]byte(s[:12])
	}
	hasID := validID(m.MessageID)
	if t.Native != "" {
		t.Mint = h.key("native", t.Native)
		t.add(t.Mint)
		if hasID {
			t.add(h.key("own", m.MessageID, subject.Base))
			t.Anchor = h.key("anchor", m.MessageID)
			t.add(t.Anchor)
		}
		return t
	}

	refs := references(m.References)
	parent := ""
	for _, id := range m.InReplyTo[:min(len(m.InReplyTo), maxParents)] {
		if validID(id) && !m.names(id) {
			parent = id
			break
		}
	}
	if parent == "" && len(refs) > 0 {
		parent = refs[len(refs)-1]
	}

	if hasID {
		t.Mint = h.key("own", m.MessageID, subject.Base)
		t.add(t.Mint)
		t.Anchor = h.key("anchor", m.MessageID)
		t.add(t.Anchor)
	} else {
		t.Mint = h.key("fingerprint", string(fp[:]))
		t.add(t.Mint)
	}
	if parent != "" {
		t.add(h.key("own", parent, subject.Base))
		if subject.Reply || subject.Series {
			t.add(h.key("anchor", parent))
		}
	}
	if subject.Series && len(refs) > 0 {
		t.add(h.key("anchor", refs[0]))
	}
	for _, r := range refs {
		t.add(h.key("own", r, subject.Base))
	}
	if subject.Was != "" && subject.Was != subject.Base {
		if parent != "" {
			t.add(h.key("own", parent, subject.Was))
		}
		for _, r := range refs {
			t.add(h.key("own", r, subject.Was))
		}
	}
	guid := threadIndex(m.Header.Get("Thread-Index"))
	if guid != "" {
		t.add(h.key("index", guid, subject.Base))
	}
	if subject.Reply || subject.Series {
		// The thread is named after its first message, which every reply of it names first.
		switch {
		case len(refs) > 0:
			t.Mint = h.key("own", refs[0], subject.Base)
		case parent != "":
			t.Mint = h.key("own", parent, subject.Base)
		}
	}
	t.Lone = subject.Reply && subject.Base != "" && parent == "" && guid == ""
	return t
}

// names tells whether the message is from or to this address. Old programs write In-Reply-To: Message from Ann <ann@example.net> of "Mon, 2
// Mar" <1@example.net>. As the id of a parent, an address would join all answers to one person.
func (m *Message) names(address string) bool {
	for _, list := range [][]Address{m.From, m.ReplyTo, m.To, m.Cc} {
		if slices.ContainsFunc(list, func(a Address) bool { return strings.EqualFold(a.Email, address) }) {
			return true
		}
	}
	return false
}

// threadSubject decodes the subject without guessing: what a guess makes of it may change, keys must not.
func (m *Message) threadSubject() string {
	for i := range m.Header {
		if f := &m.Header[i]; strings.EqualFold(f.Name, "Subject") {
			raw := unfold(f.Value)
			if !utf8.ValidString(raw) {
				var b strings.Builder
				for j := range len(raw) {
					b.WriteRune(rune(raw[j]))
				}
				raw = b.String()
			}
			return texts{noDetect: true}.decodeWords(raw)
		}
	}
	return m.Subject
}

func (k *keyed) key(purpose string, parts ...string) ThreadKey {
	s := k.sum("thread "+purpose, parts...)
	return ThreadKey(s[:12])
}

func (t *Threading) add(key ThreadKey) {
	for _, x := range t.Keys {
		if x == key {
			return
		}
	}
	t.Keys = append(t.Keys, key)
}

// references returns the usable ids: the first and the last 199.
func references(list []string) []string {
	out := make([]string, 0, min(len(list), maxReferences))
	for _, r := range list {
		if validID(r) {
			out = append(out, r)
		}
	}
	if n := len(out); n > maxReferences {
		out = append(out[:1], out[n-maxReferences+1:]...)
	}
	return out
}

// threadIndex returns the GUID of a Thread-Index field, bytes 6 to 21 of it; "" if there is none.
func threadIndex(v string) string {
	if len(v) < 28 || len(v) > 8192 {
		return ""
	}
	var d base64Decoder
	b := d.flush(d.write(nil, []byte(v)))
	if len(b) < 22 {
		return ""
	}
	return string(b[6:22])
}
