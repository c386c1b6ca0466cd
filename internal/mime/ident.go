package mime

// Fingerprint identifies a message by the headers that servers keep: Message-ID, Date, From, To, Cc, Subject and the
// Received chain, each with white space normalised. strong is false when there is no usable Message-ID; then different
// messages may share it and the caller adds the digest of the raw bytes by WithDigest.
func Fingerprint(m *Message) (fp [16]byte, strong bool) { return fp, false }

// WithDigest derives the fingerprint of the message with these headers and these very bytes (their SHA-256).
func WithDigest(fp [16]byte, digest [32]byte) [16]byte { return fp }

// IDKey is the key of one mailbox from which its public ids are made, so that ids of two mailboxes never compare.
type IDKey [32]byte

// MailboxKey derives the key from the mailbox's own identity: the lower-cased login, or login@host.
func MailboxKey(identity string) IDKey { return IDKey{} }

// MessageID returns the public id of the message with this fingerprint.
func (k IDKey) MessageID(fp [16]byte) string { return "" }

// FolderID returns a public folder id made from a seed.
func (k IDKey) FolderID(seed string) string { return "" }
