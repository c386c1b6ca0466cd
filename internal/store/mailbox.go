package store

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
)

// Mailbox is one account's mail: folders, messages, threads and the log of their changes. It is safe for concurrent use.
type Mailbox struct {
	id     mail.AccountID
	key    mime.IDKey
	db     *mailDB
	now    func() time.Time
	log    *slog.Logger                                 // may be nil
	mirror func(context.Context, mail.SyncStatus) error // copies the account's status to the control store; may be nil
	hint   func()                                       // tells that there are changes; may be nil

	panicked   func()                                                                       // may be nil
	docOf      func(raw io.ReadSeeker) (text [query.NumFields]string, day int32, err error) // but in tests docOf
	searchTime time.Duration                                                                // but in tests searchTime

	names folderNames
}

// IDKey returns the key that this mailbox's public ids are made with. It is fixed when the mailbox is made.
func (m *Mailbox) IDKey() mime.IDKey { return m.key }

// PlacementRef names one copy of a message at the server.
type PlacementRef struct {
	Folder      mail.FolderID
	UIDValidity mail.UIDValidity
	UID         mail.UID
}

// Batch is what Apply stores in one transaction. Its parts take effect in the order of the fields, whatever the order in
// which they were found.
type Batch struct {
	Term   mail.Term   // from NextTerm; an outdated one is refused
	Origin mail.Origin // goes into every change

	// Folders are created or brought up to date by ID. Name, role, attributes and the like come from here; UIDNext,
	// HighestModSeq, HeadersDone and BackfillBelow move by Cursors only, Total and Unread are the store's. UIDValidity 0
	// keeps what is stored. Another UIDValidity than the stored one (from non-0) marks all placements of the folder
	// vanished (see OutOfView), sets its cursors back to nothing, and is told as folder.reset.
	Folders []mail.Folder
	// Renewed folders are other ones than they were, though name and UIDVALIDITY are the same: as for another UIDVALIDITY, all
	// placements vanish, the cursors go back to nothing, and folder.reset is told. Unknown ones are ignored.
	Renewed []mail.FolderID
	// OutOfView are those of them whose placements do not vanish with their generation: until it is found again under another UID, or
	// named as vanished, each stays in the folder as it was, and counts. Only OutOfView names them: the server cannot be asked for them.
	OutOfView   []mail.FolderID
	GoneFolders []mail.FolderID // their placements vanish; folder.deleted. Unknown ones are ignored
	Unlabelled  []mail.FolderID // the labels of all copies in these vanish, the copies stay

	Vanished   []PlacementRef // no longer at the server: kept and marked until swept or seen again. Unknown ones are ignored
	Removed    []PlacementRef // as Vanished, but asked for by us: swept whatever the time that Sweep is given
	Flags      []FlagUpdate   // unknown and vanished placements are ignored
	New        []NewMessage   // copies seen for the first time; one that is stored already is ignored
	Bodies     []Body         // bytes fetched for placements that had none. Unknown and held ones are ignored
	Restored   []Body         // the bytes of held placements once more, for messages of which Sound tells that they are not whole. Others are ignored
	Quarantine []Trouble      // bodies that could not be fetched. Unknown and held ones are ignored

	Cursors []Cursor
	State   *mail.SyncStatus // what the account says of itself; a change if state, reason or action differ from the last
	Done    bool             // the initial sync is complete; a change the first time
	Gap     *Gap             // a time of which not everything can be told
	Memory  []byte           // what the sync wants to know again after a restart; nil keeps what is stored
}

// NewMessage is one copy of a message, with the facts of its header.
type NewMessage struct {
	PlacementRef
	Flags        mail.Flags
	Keywords     []string
	ModSeq       mail.ModSeq
	InternalDate time.Time
	Size         int64 // RFC822.SIZE
	Labels       Labels

	Head      *mime.Message  // what the list shows of it
	FP        [16]byte       // mime.Fingerprint
	Strong    bool           // FP identifies it; else Content must be given
	Draft     bool           // FP is mime.DraftFingerprint: of copies with different bytes the newest is the message
	Threading mime.Threading // mime.IDKey.ThreadKeys
	Content   *Content       // nil: the bytes were not fetched yet
}

// Content is what was found in the bytes of one copy.
type Content struct {
	Digest       [32]byte // SHA-256 of the raw bytes
	Raw, Display BlobRef  // written by PutBlobs or NewBlob before; Display.ID 0: nothing to display
	DisplayHTML  bool
	Size         int64 // length of the raw bytes
	Snippet      string
	Attachments  []mail.Part
	Listed       bool          // has at least one attachment that is not inline
	Partial      bool          // the parser could read only part of it
	Bounced      string        // Message-ID, without <>, of the message that this one reports as not delivered; "" if it does not
	Head         *mime.Message // fuller header facts than at header time; nil: those stay
}

// Body is the content of a known placement. It is for the message that lies there; if another one does by now, for none.
type Body struct {
	PlacementRef
	Message mail.MessageID // "": whichever lies there
	Content
}

// FlagUpdate is the state of one placement's flags at the server.
type FlagUpdate struct {
	PlacementRef
	Flags    mail.Flags
	Keywords []string
	ModSeq   mail.ModSeq // 0: unknown, the stored one stays
	Labels   Labels
}

// Trouble is a placement whose bytes could not be fetched or read.
type Trouble struct {
	PlacementRef
	Reason  string // in words, for people
	NextTry time.Time
	Message mail.MessageID // told by Troubles, not read by Apply
}

// Gap is a time in which things may have come and gone at the server unseen.
type Gap struct {
	Since, Until time.Time
	Reason       string // in words
}

// Cursor says how far a folder is stored. Zero values keep what is stored.
type Cursor struct {
	Folder        mail.FolderID
	UIDValidity   mail.UIDValidity
	UIDNext       mail.UID
	HighestModSeq mail.ModSeq
	BackfillBelow mail.UID
	HeadersDone   bool
}

// BlobRef names stored bytes of one account. ID 0 is none.
type BlobRef struct {
	ID   int64
	Size int64 // plain bytes
}

// Result tells what Apply and Sweep did.
type Result struct {
	Seq     mail.Seq                        // of the account's last change
	Changes int                             // how many were written now
	IDs     map[PlacementRef]mail.MessageID // of Batch.New
}

// Counts are totals over one account.
type Counts struct {
	Messages   int64
	Held       int64 // messages whose bytes are stored
	Placements int64 // not vanished
	Unheld     int64 // of them, those whose bytes are still to be fetched or compared
	Vanished   int64 // waiting to be swept
}

// MessageQuery selects messages; filters that are set must all hold.
type MessageQuery struct {
	Limit  int   // at most 1000; 0 is 50
	Before int64 // only rows below it: the cursor of the page before; 0 from the newest

	Folders               []mail.FolderID // in any of them
	Thread                mail.ThreadID
	Unread, Starred       *bool
	HasAttachment, Drafts *bool
	IsDraft               bool     // marked as a draft, or in the folder of drafts
	From, To, Cc, Bcc     []string // any of these addresses in the field
	AnyEmail              []string // any of these addresses in any of the four fields
	Subject               string   // contained in it, whatever the case
	After, BeforeDate     time.Time
	Metadata              map[string]string // these pairs; only the names MetadataIndexed can be asked for

	// Search asks the search index. A page may then end early, even empty, when much has to be looked at: there is more as
	// long as there is a cursor. Messages that the index has not taken in are left out (SearchProgress).
	Search *query.Query
	// ByRelevance asks for the most relevant of what Search finds, a few hundred at most, rather than the newest; Before is
	// then how many came before. It needs a Search that has Asks.
	ByRelevance bool
}

// ThreadQuery selects threads; filters that are set must all hold. Folders and addresses hold if they hold for any
// message of the thread, Unread and Starred if true for at least one, Subject for the newest message. After and
// BeforeDate are about the newest message.
type ThreadQuery struct {
	Limit  int
	Before int64

	Folders                        []mail.FolderID
	Unread, Starred, HasAttachment *bool
	From, To, Cc, Bcc, AnyEmail    []string
	Subject                        string
	After, BeforeDate              time.Time
	Search                         *query.Query // as for messages; any message of the thread
}

// Display is what to show of a message's body.
type Display struct {
	Body    string
	HTML    bool
	Damaged bool // what is stored of it is lost or damaged
}
