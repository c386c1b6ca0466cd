package persona

import (
	"bufio"
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// session is one connection. Its own goroutine carries out commands; another one reads them.
type session struct {
	p     *Server
	c     net.Conn
	n     int
	lines chan string
	w     sync.Mutex    // of the connection's writing side
	out   *flate.Writer // nil: not compressed
	packs chan bool     // tells the reader whether what follows COMPRESS is compressed
	k     Knobs         // as they were when the command came
	cmd   Command
	tag   string
	buf   []string // what the command has said so far
	cut   bool     // the connection is over

	caps     map[string]bool
	in       bool // logged in
	ordered  int  // commands so far
	errors   int  // of them, answered by NO or BAD
	cur      *folder
	readOnly bool
	view     []uint32 // the UIDs the client knows of, by sequence number
	told     uint64   // MODSEQ up to which it was told of flags

	condstore, qresync, uidonly bool
	dirty                       bool // the command has changed the mailbox
}

func newSession(p *Server, c net.Conn, n int) *session {
	return &session{p: p, c: c, n: n, lines: make(chan string), packs: make(chan bool)}
}

func (s *session) run() {
	stop := make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	defer close(stop)
	defer s.c.Close()
	reader.Go(func() {
		defer close(s.lines)
		r := bufio.NewReader(s.c)
		for {
			l, err := s.readLine(r)
			if err != nil {
				return
			}
			select {
			case s.lines <- l:
			case <-stop:
				return
			}
			if _, cmd, _ := strings.Cut(l, " "); strings.EqualFold(cmd, "COMPRESS DEFLATE") {
				select {
				case packed := <-s.packs:
					if packed {
						r = bufio.NewReader(flate.NewReader(r))
					}
				case <-stop:
					return
				}
			}
		}
	})
	s.k = s.p.turned()
	greeting := "* OK [CAPABILITY " + s.capText() + "] persona ready"
	if s.k.Greeting != "" {
		greeting = s.k.Greeting
		s.act("Greeting", true)
	}
	s.say(greeting)
	if s.cut || strings.HasPrefix(greeting, "BYE") || strings.HasPrefix(greeting, "* BYE") {
		return
	}
	for l := range s.lines {
		if s.one(l); s.cut {
			return
		}
	}
}

// capText is what the server says it can do in this session.
func (s *session) capText() string {
	caps := s.k.Caps
	if s.k.CapsOf != nil {
		caps = s.k.CapsOf(s.n)
	}
	if caps == "" {
		caps = All
	}
	if s.k.Gmail && !strings.Contains(caps, "X-GM-EXT-1") {
		caps += " X-GM-EXT-1"
	}
	s.caps = map[string]bool{}
	for _, c := range strings.Fields(caps) {
		s.caps[strings.ToUpper(c)] = true
	}
	return caps
}

// messageLimit is n of MESSAGELIMIT=n, 0 without.
func (s *session) messageLimit() int {
	for c := range s.caps {
		if n, ok := strings.CutPrefix(c, "MESSAGELIMIT="); ok {
			v, _ := strconv.Atoi(n)
			return v
		}
	}
	return 0
}

// readLine reads a line with the literals in it, and asks for those that wait for it.
func (s *session) readLine(r *bufio.Reader) (string, error) {
	var out strings.Builder
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		l = strings.TrimRight(l, "\r\n")
		out.WriteString(l)
		open := strings.LastIndexByte(l, '{')
		if open < 0 || !strings.HasSuffix(l, "}") {
			return out.String(), nil
		}
		size, plus := strings.CutSuffix(l[open+1:len(l)-1], "+")
		n, err := strconv.Atoi(size)
		if err != nil || n > 64<<20 {
			return out.String(), nil
		}
		if !plus {
			if s.write("+ go on") != nil {
				return "", io.ErrClosedPipe
			}
		}
		out.WriteString("\r\n")
		if _, err := io.CopyN(&out, r, int64(n)); err != nil {
			return "", err
		}
	}
}

func (s *session) write(line string) error {
	return s.send(line + "\r\n")
}

func (s *session) send(text string) error {
	s.w.Lock()
	defer s.w.Unlock()
	if s.out == nil {
		_, err := io.WriteString(s.c, text)
		return err
	}
	_, err := io.WriteString(s.out, text)
	return errors.Join(err, s.out.Flush())
}

// reply is write for the goroutine that carries out commands.
func (s *session) reply(line string) { s.cut = s.write(line) != nil || s.cut }

// say puts a line on the wire, or what Say makes of it.
func (s *session) say(line string) {
	if s.cut {
		return
	}
	if s.k.Say != nil {
		truth := line
		line = s.k.Say(s.cmd, line)
		if s.act("Say", line != truth); line == "" {
			return
		}
	}
	if line == Cut {
		s.cut = true
		return
	}
	if part, cut := strings.CutSuffix(line, Cut); cut {
		_ = s.send(part) // the connection ends either way
		s.cut = true
		return
	}
	s.note(" S: ", line)
	s.reply(line)
}

// note logs a line, with its literals and tags left out.
func (s *session) note(who, line string) {
	if s.tag != "" {
		line = strings.TrimPrefix(line, s.tag+" ")
		line = strings.ReplaceAll(line, `TAG "`+s.tag+`"`, "TAG")
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.log = append(s.p.log, strconv.Itoa(s.n)+who+elide(line))
	close(s.p.logged)
	s.p.logged = make(chan struct{})
}

// elide takes the bytes of literals out of a line.
func elide(line string) string {
	var out strings.Builder
	for {
		at := strings.Index(line, "}\r\n")
		if at < 0 {
			out.WriteString(line)
			return out.String()
		}
		open := strings.LastIndexByte(line[:at], '{')
		n, err := strconv.Atoi(strings.TrimSuffix(line[open+1:at], "+"))
		if open < 0 || err != nil || at+3+n > len(line) {
			out.WriteString(line)
			return out.String()
		}
		out.WriteString(line[:at+1])
		line = line[at+3+n:]
	}
}

// one carries out one command.
func (s *session) one(line string) {
	tag, rest, _ := strings.Cut(line, " ")
	name, args, _ := strings.Cut(rest, " ")
	name = strings.ToUpper(name)
	if name == "UID" {
		var sub string
		sub, args, _ = strings.Cut(args, " ")
		name += " " + strings.ToUpper(sub)
	}
	s.tag = tag
	s.k = s.p.turned()
	s.cmd = Command{Session: s.n, Name: name, Args: args, Folder: s.folderOf(name, args)}
	shown := strings.TrimSpace(name + " " + args)
	if name == "LOGIN" || name == "AUTHENTICATE" {
		shown = name
	}
	s.note(" C: ", shown)
	if s.ordered++; s.k.Life > 0 && s.ordered > s.k.Life {
		s.act("Life", true)
		s.say("* BYE that was enough")
		s.cut = true
		return
	}
	if s.k.Answer != nil {
		a := s.k.Answer(s.cmd)
		s.act("Answer", a != "")
		switch {
		case a == "":
		case a == Cut:
			s.cut = true
			return
		case a == Hang:
			for range s.lines { // until the client goes
			}
			s.cut = true
			return
		case strings.HasPrefix(a, "BYE"):
			s.say("* " + a)
			s.cut = true
			return
		default:
			s.answer(a)
			if name == "COMPRESS" {
				s.packs <- false
			}
			return
		}
	}
	switch name {
	case "COMPRESS":
		s.compress()
		return
	case "IDLE":
		s.idle()
		return
	case "AUTHENTICATE":
		s.authenticate(args)
		return
	}
	s.p.mu.Lock()
	s.buf, s.dirty = s.buf[:0], false
	answer := s.handle(name, args)
	if name != "LOGOUT" && s.cur != nil {
		s.update()
	}
	if s.dirty {
		close(s.p.changed)
		s.p.changed = make(chan struct{})
	}
	s.p.mu.Unlock()
	for _, l := range s.buf {
		s.say(l)
	}
	s.answer(answer)
	s.cut = s.cut || name == "LOGOUT"
}

// answer says the tagged answer to a command.
func (s *session) answer(text string) {
	s.say(s.tag + " " + text)
	if strings.HasPrefix(text, "OK") {
		return
	}
	if s.errors++; s.k.Errors > 0 && s.errors >= s.k.Errors && !s.cut {
		s.act("Errors", true)
		s.say("* BYE Connection closed. 14")
		s.cut = true
	}
}

func (s *session) folderOf(name, args string) string {
	switch name {
	case "SELECT", "EXAMINE", "STATUS", "CREATE", "DELETE", "RENAME", "APPEND", "SUBSCRIBE":
		if a := parse(args); len(a) > 0 {
			return a[0].s
		}
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.cur != nil {
		return s.cur.name
	}
	return ""
}

func (s *session) authenticate(args string) {
	f := strings.Fields(args)
	if len(f) == 0 || !strings.EqualFold(f[0], "PLAIN") {
		s.say(s.tag + " NO no such mechanism")
		return
	}
	if len(f) == 1 {
		s.reply("+ ")
		l, ok := <-s.lines
		if !ok {
			s.cut = true
			return
		}
		f = append(f, l)
	}
	b, err := base64.StdEncoding.DecodeString(f[1])
	parts := strings.Split(string(b), "\x00")
	if err != nil || len(parts) != 3 {
		s.say(s.tag + " BAD malformed")
		return
	}
	s.say(s.tag + " " + s.login(parts[2]))
}

func (s *session) login(password string) string {
	if password != Password {
		return "NO [AUTHENTICATIONFAILED] wrong password"
	}
	if s.k.Conns > 0 && s.p.Open() > s.k.Conns {
		s.act("Conns", true)
		return "NO [ALERT] Too many simultaneous connections. (Failure)"
	}
	s.in = true
	s.p.mu.Lock()
	s.p.logins++
	s.p.mu.Unlock()
	return "OK [CAPABILITY " + s.capText() + "] logged in"
}

// compress answers COMPRESS (RFC 4978); what follows is compressed in both directions.
func (s *session) compress() {
	if !s.caps["COMPRESS=DEFLATE"] || s.out != nil {
		s.answer("BAD no COMPRESS")
		s.packs <- false
		return
	}
	s.say(s.tag + " OK compressed")
	out, err := flate.NewWriter(s.c, flate.BestSpeed)
	if err != nil {
		panic(err) // of a level that does not exist
	}
	s.out = out
	s.packs <- true
}

// idle tells of changes until DONE.
func (s *session) idle() {
	if !s.caps["IDLE"] {
		s.say(s.tag + " BAD no IDLE")
		return
	}
	s.say("+ idling")
	for {
		s.p.mu.Lock()
		changed := s.p.changed
		s.k = s.p.knobs
		s.buf = s.buf[:0]
		if s.cur != nil {
			s.update()
		}
		s.p.mu.Unlock()
		for _, l := range s.buf {
			s.say(l)
		}
		if s.cut {
			return
		}
		select {
		case l, ok := <-s.lines:
			if !ok {
				s.cut = true
				return
			}
			if strings.EqualFold(l, "DONE") {
				s.say(s.tag + " OK idled")
				return
			}
			s.say(s.tag + " BAD expected DONE")
			return
		case <-changed:
		}
	}
}

// visible are the messages of a folder that this client is shown.
func (s *session) visible(f *folder) []*placed {
	if n := s.k.Limited; n > 0 && len(f.msgs) > n && !s.uidonly {
		s.act("Limited", true)
		return f.msgs[len(f.msgs)-n:]
	}
	return f.msgs
}

// update tells of what has happened in the open folder since the client was last told.
func (s *session) update() {
	if s.k.Mute {
		s.act("Mute", s.told < s.p.modseq)
		return
	}
	var gone []uint32
	have := map[uint32]bool{}
	visible := s.visible(s.cur)
	for _, m := range visible {
		have[m.uid] = true
	}
	for i := len(s.view) - 1; i >= 0; i-- {
		if uid := s.view[i]; !have[uid] {
			gone = append(gone, uid)
			s.view = slices.Delete(s.view, i, i+1)
			if !s.qresync && !s.uidonly {
				s.put("* %d EXPUNGE", i+1)
			}
		}
	}
	if len(gone) > 0 && (s.qresync || s.uidonly) {
		slices.Sort(gone)
		s.put("* VANISHED %s", Set(gone))
	}
	known := map[uint32]bool{}
	for _, uid := range s.view {
		known[uid] = true
	}
	grown := false
	for _, m := range visible {
		if !known[m.uid] {
			s.view = append(s.view, m.uid)
			grown = true
		}
	}
	if grown {
		slices.Sort(s.view)
		s.put("* %d EXISTS", len(s.view))
	}
	for i, uid := range s.view {
		if m, _ := s.cur.find(uid); m != nil && m.modseq > s.told && m.modseq != m.silent && known[uid] {
			items := []string{"UID", "FLAGS"}
			if s.condstore {
				items = append(items, "MODSEQ")
			}
			s.row(i+1, m, items)
		}
	}
	s.told = s.p.modseq
}
