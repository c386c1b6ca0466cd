package mime

// ThreadKey is a keyed hash that messages of one thread share.
type ThreadKey [12]byte

// ID returns the public thread id minted from this key.
func (t ThreadKey) ID() string { return "" }

// ParseThreadID returns the key of a public thread id, false if the text is none.
func ParseThreadID(s string) (ThreadKey, bool) { return ThreadKey{}, false }

// PersonKey is a keyed hash of a lower-cased address.
type PersonKey [8]byte

// Threading is what a message contributes to finding its thread. Two messages with a common key are in one thread.
type Threading struct {
	Mint    ThreadKey   // the id to mint if this message starts a thread; always among Keys
	Keys    []ThreadKey // each once
	Anchor  ThreadKey   // of Keys, the one that says "has this Message-ID" whatever the subject; zero if it has none
	Subject [12]byte    // hash of the folded base subject; all zero if that is empty
	IsReply bool        // the subject declares a reply: a prefix such as "Re:", or "(was: …)"

	// The fallback for replies without In-Reply-To, References and Thread-Index: such a message (Lone) joins one with
	// the same Subject within 45 days if the sender of each is among the people of the other.
	Lone   bool
	Sender PersonKey   // zero if unknown
	People []PersonKey // sender and recipients, each once
}

// ThreadKeys returns the threading keys of a message. native is the provider's own thread id (X-GM-THRID, THREADID);
// if it is given and not empty, it alone decides.
func (k IDKey) ThreadKeys(m *Message, fp [16]byte, native ...string) Threading { return Threading{} }
