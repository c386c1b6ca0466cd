// Package persona is an IMAP server inside the test that lies as real ones do: a small mailbox in memory behind real sockets,
// and a knob for each lie.
//
// It is for what Dovecot and Cyrus cannot be made to do; what they can do is tested with them. It shares no code with the
// product. A test starts a [Server] with [Knobs], changes its mailbox by calls (Deliver, Flag, Expunge, Move, ...), turns
// knobs while sessions run (Turn), and reads what the clients asked (Log, Count).
//
//	p := persona.Start(t, persona.Knobs{Caps: persona.Without(persona.All, "QRESYNC")})
//	uid := p.Deliver("INBOX", raw, `\Seen`)
//	p.Turn(func(k *persona.Knobs) { k.UIDValidity = func(c persona.Command, v uint32) string { return "7" } })
//
// It counts how often each knob has made a difference ([Server.Acted]), so that a test can tell a lie that was withstood from one
// that nobody heard. [Lies] lists the single ones, [Personas] what providers are made of, and [Rows] what there is to tell of providers and
// where each of it is tested.
//
// Every user has one mailbox, whatever the name, and the password "pass". A command or a parameter of an extension that is
// not among the capabilities is answered with BAD, so that a client that uses what it was not offered fails.
package persona

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// All is what the server can do at most. MESSAGELIMIT=n is understood beside them.
const All = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN CONDSTORE QRESYNC ESEARCH " +
	"LIST-EXTENDED LIST-STATUS SPECIAL-USE OBJECTID UIDONLY PARTIAL"

// Basic is IMAP4rev1 and nothing else.
const Basic = "IMAP4rev1 AUTH=PLAIN"

// Without returns a list of capabilities without some of them.
func Without(caps string, drop ...string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(caps), func(c string) bool { return slices.Contains(drop, c) }), " ")
}

// Password is that of every user.
const Password = "pass"

// Knobs are the lies. The zero value tells the truth. Functions are called without any lock held, so that they may call
// the Server: to make something happen between a command and its answer, say. They are called by many sessions at once.
type Knobs struct {
	Greeting string                   // instead of "* OK ready"; "BYE" first closes, empty: the truth
	Caps     string                   // capabilities, separated by blanks; "": All
	CapsOf   func(session int) string // capabilities of a session, counted from 1; nil: Caps

	// Answer is asked before a command is carried out. "" carries it out; else the command is not: a text that begins with
	// NO, BAD or OK is its tagged answer, one that begins with BYE is said before the connection is closed, Cut closes it
	// without a word, and Hang says nothing more until the client goes.
	Answer func(Command) string
	// Say is given every response line with its literals, without CRLF, and returns what is said in its place: "" nothing,
	// Cut closes the connection there, and text that ends with it is said without an end of the line before. Untagged lines begin with "* ", the tagged one with the tag.
	Say func(c Command, line string) string

	// What SELECT and STATUS say of a folder in place of the truth; "" leaves the item out. nil: the truth.
	UIDValidity   func(c Command, v uint32) string
	UIDNext       func(c Command, v uint32) string
	HighestModSeq func(c Command, v uint64) string // "NOMODSEQ" says that in SELECT
	// Vanished returns the set that VANISHED (EARLIER) names instead of gone; "" says nothing.
	Vanished func(c Command, gone []uint32) string
	// Hide tells that a message is left out of the answer to a FETCH whose items are those.
	Hide func(c Command, uid uint32) bool
	// Found tells whether SEARCH names a message; hit is the truth.
	Found func(c Command, uid uint32, hit bool) bool

	// Bytes returns what FETCH gives of a message in place of the truth.
	Bytes func(c Command, uid uint32, raw []byte) []byte
	// Kept returns what APPEND stores of a message that it is given.
	Kept func(c Command, raw []byte) []byte

	Ascending bool   // sets that do not ascend are refused
	Errors    int    // after so many commands answered by NO or BAD a session is ended by BYE; 0: never
	Conns     int    // how many connections there may be; a login on a further one is refused. 0: any number
	Limited   int    // only so many, the newest, are shown of a folder to whoever has not enabled UIDONLY; 0: all
	Mute      bool   // says nothing unasked: IDLE is accepted and never tells anything
	Unenabled bool   // ENABLE is obeyed without an untagged ENABLED
	Life      int    // after so many commands a session is ended by BYE; 0: never
	CaseBlind bool   // names of folders that differ in nothing but case are one folder's, and CREATE of one says that it is reserved (Exchange)
	Alias     string // with that before them folders have a second name, under which they are listed too, and are what they are (Dovecot, by its settings)
	Prefix    string // below which all folders but INBOX lie, its last letter between the levels of names; Start takes it, Turn does not
	Hidden    string // name of a folder that the server neither lists nor opens
	// Gmail makes the folders labels: a message delivered lies in [Gmail]/All Mail too, and X-GM-EXT-1 tells its labels.
	Gmail bool
}

// Command is one that a client sent.
type Command struct {
	Session int    // which connection, counted from 1
	Name    string // in upper case: "UID FETCH"
	Args    string // as sent, literals inline
	Folder  string // that it names (SELECT, EXAMINE, STATUS, ...), else the open one; "": none
}

// What Answer and Say may return beside text.
const (
	Cut  = "\x00cut"
	Hang = "\x00hang"
)

// Server is a running persona. Its methods may be called by many goroutines.
type Server struct {
	Host string // "127.0.0.1"
	Port int    // without TLS
	Addr string

	tb   testing.TB
	ln   net.Listener
	wg   sync.WaitGroup
	done chan struct{}

	mu       sync.Mutex
	knobs    Knobs
	conns    map[net.Conn]struct{}
	sessions int
	logins   int
	log      []string
	logged   chan struct{} // closed and replaced at each line of log
	acts     acts
	changed  chan struct{} // closed and replaced at each change of the mailbox
	model
}

// Start starts a server with INBOX, Sent, Drafts, Trash and Junk, or as Gmail with those of Gmail. It ends with the test.
func Start(tb testing.TB, k Knobs) *Server {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	p := &Server{Host: "127.0.0.1", Port: addr.Port, Addr: addr.String(), tb: tb, ln: ln, done: make(chan struct{}),
		knobs: k, conns: map[net.Conn]struct{}{}, changed: make(chan struct{}), logged: make(chan struct{}), model: newModel(k)}
	p.wg.Go(p.serve)
	tb.Cleanup(p.Close)
	return p
}

// Close ends everything and waits for it. It may be called twice.
func (p *Server) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	_ = p.ln.Close()
	p.mu.Unlock()
	p.Drop()
	p.wg.Wait()
}

// Drop closes every connection without a word.
func (p *Server) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Turn changes the knobs, for running sessions too.
func (p *Server) Turn(change func(*Knobs)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.knobs)
}

func (p *Server) turned() Knobs {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.knobs
}

// Log returns all that was said, in the order in which it was: "1 C: UID FETCH 1:3 (UID FLAGS)" by the client of session 1,
// "1 S: * 1 FETCH (UID 1 FLAGS ())" by the server, with literals cut to their sizes and tags left out.
func (p *Server) Log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Await waits until cond holds; it is asked again whenever something is said. It ends the test when that takes too long.
func (p *Server) Await(what string, cond func() bool) {
	p.tb.Helper()
	late := time.After(60 * time.Second)
	for {
		p.mu.Lock()
		logged := p.logged
		p.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-logged:
		case <-late:
			p.tb.Fatalf("waited a minute for %s; %d lines were said", what, len(p.Log()))
		}
	}
}

// Count returns how many commands that begin with the given text were sent: Count("UID FETCH").
func (p *Server) Count(prefix string) (n int) {
	for _, l := range p.Log() {
		if _, cmd, ok := strings.Cut(l, " C: "); ok && strings.HasPrefix(cmd, prefix) {
			n++
		}
	}
	return n
}

// Logins returns how many logins have succeeded.
func (p *Server) Logins() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logins
}

// Open returns how many connections are open.
func (p *Server) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Server) serve() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		select {
		case <-p.done:
			p.mu.Unlock()
			_ = c.Close()
			return
		default:
		}
		p.conns[c] = struct{}{}
		p.sessions++
		n := p.sessions
		p.mu.Unlock()
		p.wg.Go(func() {
			newSession(p, c, n).run()
			_ = c.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}
