package realsrv

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Session is a small IMAP client over a plain socket. It shares no code with the product, so that the two can be compared.
// It fails its test on the first error.
type Session struct {
	tb   testing.TB
	conn net.Conn
	r    *bufio.Reader
	n    int
}

// Response is one untagged response: its text with every literal replaced by {}, and the literals in order.
type Response struct {
	Text     string
	Literals [][]byte
}

// Login opens a session of user. It ends with the test.
func (d *IMAP) Login(tb testing.TB, user string) *Session {
	tb.Helper()
	d.AddUser(tb, user)
	return Dial(tb, d.Addr, user, d.Password)
}

// Dial opens a session at any plaintext server. It ends with the test.
func Dial(tb testing.TB, addr, user, password string) *Session {
	tb.Helper()
	// From another loopback address where the system has more than one, so that a limit per user and address
	// counts what is tested and not the test.
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		dialer.LocalAddr = nil
		conn, err = dialer.Dial("tcp", addr)
	}
	if err != nil {
		tb.Fatal(err)
	}
	s := &Session{tb: tb, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	tb.Cleanup(s.Close)
	if _, err := s.line(); err != nil {
		tb.Fatal(err)
	}
	s.Do("LOGIN " + Quote(user) + " " + Quote(password))
	return s
}

// Close ends the session. It may be called twice.
func (s *Session) Close() { s.conn.Close() }

// Quote writes a quoted string; a folder name should go through EncodeName first.
func Quote(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

// Do runs one command and returns its untagged responses. Anything but OK fails the test.
func (s *Session) Do(command string) []Response {
	s.tb.Helper()
	rows, status := s.Try(command)
	if !strings.HasPrefix(status, "OK") {
		s.tb.Fatalf("IMAP %.200q: %s", command, status)
	}
	return rows
}

// Try runs one command and returns its untagged responses and the tagged status ("OK ...", "NO ..." or "BAD ..."); "BYE ..." is that
// the connection has ended.
// A line end within the command is sent as a literal would be: "{n}\r\n" must be followed by the n bytes.
func (s *Session) Try(command string) (rows []Response, status string) {
	s.tb.Helper()
	s.n++
	tag := "r" + strconv.Itoa(s.n)
	s.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	head, rest, literal := strings.Cut(command, "}\r\n")
	if literal {
		fmt.Fprintf(s.conn, "%s %s}\r\n", tag, head)
	} else if _, err := fmt.Fprintf(s.conn, "%s %s\r\n", tag, command); err != nil {
		return nil, "BYE " + err.Error()
	}
	for {
		row, err := s.line()
		if err != nil {
			return nil, "BYE " + err.Error()
		}
		switch {
		case literal && strings.HasPrefix(row.Text, "+"):
			if _, err := io.WriteString(s.conn, rest+"\r\n"); err != nil {
				s.tb.Fatal(err)
			}
		case strings.HasPrefix(row.Text, "* "):
			row.Text = row.Text[2:]
			rows = append(rows, row)
		case strings.HasPrefix(row.Text, tag+" "):
			return rows, row.Text[len(tag)+1:]
		}
	}
}

// Wait reads untagged responses, outside of a command, until match accepts one or a minute is over.
func (s *Session) Wait(match func(Response) bool) {
	s.tb.Helper()
	s.conn.SetDeadline(time.Now().Add(time.Minute))
	for {
		row, err := s.line()
		if err != nil {
			s.tb.Fatal(err)
		}
		if match(row) {
			return
		}
	}
}

func (s *Session) line() (Response, error) {
	var row Response
	var text strings.Builder
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return row, err
		}
		line = strings.TrimRight(line, "\r\n")
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			text.WriteString(line)
			row.Text = text.String()
			return row, nil
		}
		size, err := strconv.Atoi(line[open+1 : len(line)-1])
		if err != nil {
			text.WriteString(line)
			row.Text = text.String()
			return row, nil
		}
		lit := make([]byte, size)
		if _, err := io.ReadFull(s.r, lit); err != nil {
			return row, err
		}
		text.WriteString(line[:open] + "{}")
		row.Literals = append(row.Literals, lit)
	}
}

// Append stores a message in a folder, which is created when missing, and returns its UID.
// A zero date leaves the date to the server.
func (s *Session) Append(folder string, raw []byte, flags []string, date time.Time) uint32 {
	s.tb.Helper()
	var when string
	if !date.IsZero() {
		when = date.Format(` "02-Jan-2006 15:04:05 -0700"`)
	}
	command := fmt.Sprintf("APPEND %s (%s)%s {%d}\r\n%s", Quote(EncodeName(folder)), strings.Join(flags, " "), when, len(raw), raw)
	_, status := s.Try(command)
	if strings.Contains(status, "[TRYCREATE]") {
		s.CreateFolder(folder)
		_, status = s.Try(command)
	}
	var validity, uid uint32
	if _, err := fmt.Sscanf(status, "OK [APPENDUID %d %d]", &validity, &uid); err != nil {
		s.tb.Fatalf("APPEND to %q: %s", folder, status)
	}
	return uid
}

// CreateFolder creates a folder and subscribes to it.
func (s *Session) CreateFolder(folder string) {
	s.tb.Helper()
	s.Do("CREATE " + Quote(EncodeName(folder)))
	s.Do("SUBSCRIBE " + Quote(EncodeName(folder)))
}

// Append stores one message by a session of its own. See [Session.Append].
func (d *IMAP) Append(tb testing.TB, user, folder string, raw []byte, flags []string, date time.Time) uint32 {
	tb.Helper()
	s := d.Login(tb, user)
	defer s.Close()
	return s.Append(folder, raw, flags, date)
}

// CreateFolder creates a folder by a session of its own.
func (d *IMAP) CreateFolder(tb testing.TB, user, folder string) {
	tb.Helper()
	s := d.Login(tb, user)
	defer s.Close()
	s.CreateFolder(folder)
}

// Folder is one folder as the server lists it.
type Folder struct {
	Raw, Name string // on the wire; decoded
	Attrs     []string
}

// Folders lists all folders, also those that hold no messages.
func (s *Session) Folders() []Folder {
	s.tb.Helper()
	var all []Folder
	for _, row := range s.Do(`LIST "" "*"`) {
		// LIST (\HasNoChildren) "/" name
		rest, ok := strings.CutPrefix(row.Text, "LIST (")
		if !ok {
			continue
		}
		attrs, rest, _ := strings.Cut(rest, ") ")
		_, raw, _ := strings.Cut(rest, " ")
		switch {
		case raw == "{}":
			raw = string(row.Literals[0])
		case strings.HasPrefix(raw, `"`):
			raw = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(raw[1 : len(raw)-1])
		}
		all = append(all, Folder{Raw: raw, Name: DecodeName(raw), Attrs: strings.Fields(attrs)})
	}
	return all
}

// Remote is one message as the server holds it.
type Remote struct {
	Folder      string // decoded name
	UIDValidity uint32
	UID         uint32
	Flags       []string // sorted, without \Recent
	Size        int64
	SHA256      [32]byte // of the raw bytes
	Raw         []byte   // only when asked for
}

// Everything reads all messages of all folders: the truth that a synchronised copy is compared with.
// Their bytes are kept only when withRaw is set.
func (s *Session) Everything(withRaw bool) []Remote {
	s.tb.Helper()
	var all []Remote
	for _, f := range s.Folders() {
		if slices.ContainsFunc(f.Attrs, func(a string) bool {
			return strings.EqualFold(a, `\Noselect`) || strings.EqualFold(a, `\NonExistent`)
		}) {
			continue
		}
		var validity, exists uint32
		for _, row := range s.Do("EXAMINE " + Quote(f.Raw)) {
			fmt.Sscanf(row.Text, "OK [UIDVALIDITY %d]", &validity)
			if n, ok := strings.CutSuffix(row.Text, " EXISTS"); ok {
				fmt.Sscan(n, &exists)
			}
		}
		if exists == 0 {
			continue
		}
		for _, row := range s.Do("UID FETCH 1:* (UID FLAGS BODY.PEEK[])") {
			m := Remote{Folder: f.Name, UIDValidity: validity}
			if !strings.Contains(row.Text, " FETCH (") || len(row.Literals) != 1 {
				continue
			}
			if _, err := fmt.Sscan(after(row.Text, "UID "), &m.UID); err != nil {
				s.tb.Fatalf("FETCH without UID: %s", row.Text)
			}
			flags, _, _ := strings.Cut(after(row.Text, "FLAGS ("), ")")
			m.Flags = slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` })
			slices.Sort(m.Flags)
			m.Size = int64(len(row.Literals[0]))
			m.SHA256 = sha256.Sum256(row.Literals[0])
			if withRaw {
				m.Raw = bytes.Clone(row.Literals[0])
			}
			all = append(all, m)
		}
	}
	return all
}

// Everything reads all messages of a user by a session of its own. See [Session.Everything].
func (d *IMAP) Everything(tb testing.TB, user string) []Remote {
	tb.Helper()
	s := d.Login(tb, user)
	defer s.Close()
	return s.Everything(false)
}

func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return rest
}
