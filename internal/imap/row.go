package imap

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
)

// FetchOptions say what Fetch asks for. UID is always asked.
type FetchOptions struct {
	Flags, InternalDate, Size, Envelope, BodyStructure, ModSeq bool

	Header     []string // BODY.PEEK[HEADER.FIELDS (...)]; ignored when FullHeader is set
	FullHeader bool     // BODY.PEEK[HEADER]
	Body       bool     // BODY.PEEK[]
	// Offset and Length ask for a piece of Body only: how a huge message is resumed. Both 0: all of it.
	Offset, Length int64
	Sections       []Section // further pieces; they go to the sink, too
	ObjectID       bool      // EMAILID and THREADID, where the server offers OBJECTID (RFC 8474)
	Thread         bool      // THREADID or X-GM-THRID, whichever the server offers
	Gmail          bool      // X-GM-MSGID, X-GM-THRID and X-GM-LABELS, where it offers X-GM-EXT-1

	Items []string // further items by name, such as X-GM-MSGID; they arrive in Row.Raw

	// ChangedSince asks for rows with a MODSEQ above it only (RFC 7162 3.1.4.1). It needs CONDSTORE.
	ChangedSince uint64
	// Vanished asks to be told, on Options.OnUnilateral as earlier, which messages of the set are gone since then
	// (RFC 7162 3.2.6). It needs ChangedSince and QRESYNC enabled.
	Vanished bool
	// Window asks for a page of the set only (RFC 9394 3.4). It needs PARTIAL, and a set that fits into one command.
	Window Window

	// Sink is asked for a writer before the first byte of each body. A nil writer skips that body: it then counts as
	// missing. An error ends the Fetch and the session. A nil Sink collects bodies in memory up to Limits.Literal;
	// larger ones are skipped and the row says so in Err.
	Sink func(Literal) (io.Writer, error)
}

// Literal announces the bytes of one body.
type Literal struct {
	Section string // what is between the brackets, in upper case; empty for the whole message
	Binary  bool   // without its transfer encoding
	Offset  int64  // where in the section the bytes begin
	Size    int64
	Seq     uint32
	UID     uint32 // 0 when the server names it only after the body
}

// Row is one message of a FETCH answer. An item that is not marked as present was missing from the answer, which is
// not the same as empty.
//
// A Row and the Header and Raw in it are valid only until the function that received it returns; Clone
// keeps them. Flags and Body.Bytes may be kept as they are, but Flags must not be changed.
type Row struct {
	Seq, UID uint32

	HasFlags, HasInternalDate, HasSize, HasModSeq, HasHeader bool

	Flags         []string
	InternalDate  time.Time // UTC
	Size          int64     // RFC822.SIZE, a hint only: servers are wrong about it
	ModSeq        uint64
	Header        []byte
	Body          Body
	Sections      []SectionBody
	Envelope      *Envelope
	BodyStructure *BodyStructure
	EmailID       string // RFC 8474; empty: missing
	ThreadID      string // RFC 8474; empty: missing, or the server keeps none for this message

	GmailMsgID, GmailThreadID uint64   // 0: missing
	GmailLabels               []string // decoded; special ones begin with a backslash
	HasGmailLabels            bool

	Raw map[string][]byte // items unknown to us, by upper-case name, as they were on the wire

	// Err is set when the answer for this message could not be read as a whole: what is present was read before
	// that. UID may be 0. Ask again by UID with fewer items.
	Err error
}

// Body is the message, or a piece of it.
type Body struct {
	Bytes  []byte    // collected in memory; owned by the caller
	W      io.Writer // the sink's writer, to which exactly Size bytes have been written
	Size   int64
	Offset int64 // where the bytes begin; 0 also when the server ignored the offset asked for
	Has    bool
}

// Clone returns a copy that stays valid.
func (r *Row) Clone() *Row {
	c := *r
	c.Header = bytes.Clone(r.Header)
	c.Raw = maps.Clone(r.Raw)
	for k, v := range c.Raw {
		c.Raw[k] = bytes.Clone(v)
	}
	c.Flags = slices.Clone(r.Flags)
	c.Sections = slices.Clone(r.Sections)
	return &c
}

// NativeThread is the server's own id of the message's thread; empty if it told none.
func (r *Row) NativeThread() string {
	if r.ThreadID == "" && r.GmailThreadID != 0 {
		return strconv.FormatUint(r.GmailThreadID, 10)
	}
	return r.ThreadID
}

// Envelope is the server's reading of a header (RFC 3501 7.4.2). Texts are as sent: not decoded (RFC 2047), may not
// be UTF-8.
type Envelope struct {
	Date, Subject                      string
	From, Sender, ReplyTo, To, Cc, Bcc []Address
	InReplyTo, MessageID               string
}

// Address is one address of an Envelope; Mailbox and Host are the parts around the @.
type Address struct{ Name, Mailbox, Host string }

// BodyStructure is the server's reading of a message's parts (RFC 3501 7.4.2). Servers are often wrong about it.
type BodyStructure struct {
	Type, Subtype     string // lower case
	Params            Params
	ID, Description   string
	Encoding          string // lower case
	Size              int64
	Lines             int64
	Parts             []*BodyStructure // of multipart; of message/rfc822 the one message
	Envelope          *Envelope        // of message/rfc822
	MD5               string
	Disposition       string // lower case
	DispositionParams Params
	Language          []string
	Location          string
}

// Params are the parameters of a part, in the server's order.
type Params []Param

// Param is one of them; its name is in lower case.
type Param struct{ Name, Value string }

// Get returns the value of the first parameter of that name, given in lower case, or "".
func (p Params) Get(name string) string {
	for _, x := range p {
		if x.Name == name {
			return x.Value
		}
	}
	return ""
}
