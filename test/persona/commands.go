package persona

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// needs names the capability without which a command is refused.
var needs = map[string]string{"IDLE": "IDLE", "ENABLE": "ENABLE", "ID": "ID", "NAMESPACE": "NAMESPACE", "MOVE": "MOVE", "UID MOVE": "MOVE",
	"UNSELECT": "UNSELECT", "UID EXPUNGE": "UIDPLUS"}

// handle carries out a command under the server's lock and returns its tagged answer.
func (s *session) handle(name, args string) string {
	if c := needs[name]; c != "" && !s.caps[c] {
		return "BAD " + name + " is not offered"
	}
	a := parse(args)
	switch name {
	case "CAPABILITY":
		s.put("* CAPABILITY %s", s.capText())
		return "OK done"
	case "NOOP", "CHECK":
		return "OK done"
	case "LOGOUT":
		s.put("* BYE goodbye")
		return "OK done"
	case "LOGIN":
		if len(a) != 2 {
			return "BAD malformed"
		}
		s.p.mu.Unlock()
		defer s.p.mu.Lock()
		return s.login(a[1].s)
	}
	if !s.in {
		return "BAD log in first"
	}
	switch name {
	case "ID":
		s.put(`* ID ("name" "persona")`)
		return "OK done"
	case "ENABLE":
		return s.enable(a)
	case "NAMESPACE":
		s.put(`* NAMESPACE ((%s %s)) NIL NIL`, quote(s.p.prefix), quote(s.p.delim))
		return "OK done"
	case "LIST":
		return s.list(a)
	case "STATUS":
		if len(a) != 2 || !a[1].isList {
			return "BAD malformed"
		}
		f := s.find(a[0].s)
		if f == nil || noselect(f) {
			return "NO [NONEXISTENT] no such mailbox"
		}
		return s.status(f, a[0].s, a[1].list)
	case "SELECT", "EXAMINE":
		return s.open(a, name == "EXAMINE")
	case "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE":
		return s.manage(name, a)
	case "APPEND":
		return s.append(a)
	}
	if s.cur == nil {
		return "BAD open a mailbox first"
	}
	switch name {
	case "UNSELECT", "CLOSE":
		s.cur, s.view = nil, nil
		return "OK done"
	case "FETCH", "UID FETCH":
		return s.fetch(a, name == "UID FETCH")
	case "SEARCH", "UID SEARCH":
		return s.search(a, name == "UID SEARCH")
	}
	if s.readOnly {
		return "NO the mailbox is open for reading only"
	}
	switch name {
	case "STORE", "UID STORE":
		return s.store(a, name == "UID STORE")
	case "UID COPY", "UID MOVE":
		return s.transfer(a, name == "UID MOVE")
	case "EXPUNGE", "UID EXPUNGE":
		return s.expunge(a, name == "UID EXPUNGE")
	}
	return "BAD unknown command"
}

// find is the folder of a name, unless it is hidden.
func (s *session) find(name string) *folder {
	if s.k.Hidden != "" && name == s.k.Hidden {
		s.act("Hidden", true)
		return nil
	}
	return s.named(name)
}

// named is the folder of a name, or of one that means the same.
func (s *session) named(name string) *folder {
	if f := s.p.find(name); f != nil {
		return f
	}
	if s.k.CaseBlind {
		if i := slices.IndexFunc(s.p.folders, func(f *folder) bool { return strings.EqualFold(f.name, name) }); i >= 0 {
			s.act("CaseBlind", true)
			return s.p.folders[i]
		}
	}
	if rest, ok := strings.CutPrefix(name, s.k.Alias); ok && s.k.Alias != "" {
		s.act("Alias", true)
		return s.p.find(rest)
	}
	return nil
}

func noselect(f *folder) bool { return strings.Contains(strings.ToLower(f.attrs), `\noselect`) }

func (s *session) enable(a []node) string {
	var on []string
	for _, n := range a {
		c := strings.ToUpper(n.s)
		if !s.caps[c] {
			continue
		}
		switch c {
		case "CONDSTORE":
			s.condstore = true
		case "QRESYNC":
			s.qresync, s.condstore = true, true
		case "UIDONLY":
			s.uidonly = true
		default:
			continue
		}
		on = append(on, c)
	}
	if s.act("Unenabled", s.k.Unenabled); !s.k.Unenabled {
		s.put("* ENABLED %s", strings.Join(on, " "))
	}
	return "OK done"
}

func (s *session) list(a []node) string {
	if len(a) < 2 {
		return "BAD malformed"
	}
	var items []node
	if len(a) > 2 {
		if !s.caps["LIST-EXTENDED"] && !s.caps["LIST-STATUS"] || !strings.EqualFold(a[2].s, "RETURN") || len(a) < 4 {
			return "BAD what is RETURN?"
		}
		for i, n := range a[3].list {
			if strings.EqualFold(n.s, "STATUS") && i+1 < len(a[3].list) {
				if items = a[3].list[i+1].list; !s.caps["LIST-STATUS"] {
					return "BAD no LIST-STATUS"
				}
			}
			if strings.EqualFold(n.s, "SPECIAL-USE") && !s.caps["SPECIAL-USE"] {
				return "BAD no SPECIAL-USE"
			}
		}
	}
	for _, f := range s.p.folders {
		switch p := a[1].s; {
		case f.name == s.k.Hidden:
			continue
		case p == "*", p == f.name, p == "%" && !strings.Contains(f.name, s.p.delim):
		default:
			continue
		}
		attrs := f.attrs
		if !s.caps["SPECIAL-USE"] && !noselect(f) {
			attrs = ""
		}
		for _, name := range s.names(f) {
			s.put(`* LIST (%s) %s %s`, attrs, quote(s.p.delim), quote(name))
			if items != nil && !noselect(f) {
				if answer := s.status(f, name, items); answer != "OK done" {
					return answer
				}
			}
		}
	}
	return "OK done"
}

// names are those under which a folder is listed.
func (s *session) names(f *folder) []string {
	if s.k.Alias == "" || f.name == "INBOX" {
		return []string{f.name}
	}
	s.act("Alias", true)
	return []string{f.name, s.k.Alias + f.name}
}

// shown is a value as the knobs make it; ok tells whether it is said at all.
func shown[T any](s *session, name string, knob func(Command, T) string, c Command, v T) (string, bool) {
	truth := fmt.Sprint(v)
	if knob == nil {
		return truth, true
	}
	text := knob(c, v)
	s.act(name, text != truth)
	return text, text != ""
}

// hooked runs a knob's function without the lock.
func (s *session) hooked(do func()) {
	s.p.mu.Unlock()
	defer s.p.mu.Lock()
	do()
}

// status says of a folder what is asked, under the name by which it was asked for.
func (s *session) status(f *folder, name string, items []node) string {
	cmd := s.cmd
	cmd.Folder = f.name
	var out []string
	for _, n := range items {
		item := strings.ToUpper(n.s)
		var v string
		ok := true
		switch item {
		case "MESSAGES":
			v = strconv.Itoa(len(s.visible(f)))
		case "RECENT":
			v = "0"
		case "UNSEEN":
			unseen := 0
			for _, m := range s.visible(f) {
				if !has(m.msg.flags, `\Seen`) {
					unseen++
				}
			}
			v = strconv.Itoa(unseen)
		case "UIDNEXT":
			s.hooked(func() { v, ok = shown(s, "UIDNext", s.k.UIDNext, cmd, f.next) })
		case "UIDVALIDITY":
			s.hooked(func() { v, ok = shown(s, "UIDValidity", s.k.UIDValidity, cmd, f.validity) })
		case "HIGHESTMODSEQ":
			if !s.caps["CONDSTORE"] {
				return "BAD no CONDSTORE"
			}
			s.hooked(func() { v, ok = shown(s, "HighestModSeq", s.k.HighestModSeq, cmd, f.highest()) })
			ok = ok && v != "NOMODSEQ"
		case "MAILBOXID":
			if !s.caps["OBJECTID"] {
				return "BAD no OBJECTID"
			}
			v = "(" + f.id + ")"
		default:
			return "BAD unknown item " + item
		}
		if ok {
			out = append(out, item+" "+v)
		}
	}
	if strings.EqualFold(name, f.name) {
		name = f.name
	}
	s.put("* STATUS %s (%s)", quote(name), strings.Join(out, " "))
	return "OK done"
}

func (s *session) open(a []node, readOnly bool) string {
	if len(a) == 0 {
		return "BAD malformed"
	}
	s.cur, s.view = nil, nil
	f := s.find(a[0].s)
	if f == nil || noselect(f) {
		return "NO [NONEXISTENT] no such mailbox"
	}
	var resync []node
	if len(a) > 1 {
		for i, n := range a[1].list {
			switch strings.ToUpper(n.s) {
			case "ANNOTATE":
				return "BAD no ANNOTATE, whatever was said"
			case "CONDSTORE":
				if !s.caps["CONDSTORE"] {
					return "BAD no CONDSTORE"
				}
				s.condstore = true
			case "QRESYNC":
				if !s.qresync || i+1 >= len(a[1].list) {
					return "BAD QRESYNC is not enabled"
				}
				resync = a[1].list[i+1].list
			}
		}
	}
	for _, m := range s.visible(f) {
		s.view = append(s.view, m.uid)
	}
	s.told = s.p.modseq
	s.put(`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`)
	s.put(`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] ok`)
	s.put("* %d EXISTS", len(s.view))
	s.put("* 0 RECENT")
	var validity, next, modseq string
	var hasValidity, hasNext, hasModseq bool
	highest := f.highest()
	s.hooked(func() {
		validity, hasValidity = shown(s, "UIDValidity", s.k.UIDValidity, s.cmd, f.validity)
		next, hasNext = shown(s, "UIDNext", s.k.UIDNext, s.cmd, f.next)
		modseq, hasModseq = shown(s, "HighestModSeq", s.k.HighestModSeq, s.cmd, highest)
	})
	if hasValidity {
		s.put("* OK [UIDVALIDITY %s] ok", validity)
	}
	if hasNext {
		s.put("* OK [UIDNEXT %s] ok", next)
	}
	if s.caps["CONDSTORE"] && hasModseq {
		if modseq == "NOMODSEQ" {
			s.put("* OK [NOMODSEQ] ok")
		} else {
			s.put("* OK [HIGHESTMODSEQ %s] ok", modseq)
		}
	}
	if s.caps["OBJECTID"] {
		s.put("* OK [MAILBOXID (%s)] ok", f.id)
	}
	if len(resync) >= 2 && resync[0].s == validity {
		since, _ := strconv.ParseUint(resync[1].s, 10, 64)
		known := ""
		if len(resync) > 2 && !resync[2].isList {
			known = resync[2].s
		}
		s.vanished(f, since, known)
		within, _ := parseNumbers(known, noLimit32)
		for i, uid := range s.view {
			if m, _ := f.find(uid); m != nil && m.modseq > since && (known == "" || within.has(uid)) { // RFC 7162 3.2.5.2
				s.row(i+1, m, []string{"UID", "FLAGS", "MODSEQ"})
			}
		}
	}
	s.cur, s.readOnly = f, readOnly
	if readOnly {
		return "OK [READ-ONLY] done"
	}
	return "OK [READ-WRITE] done"
}

// vanished says VANISHED (EARLIER) of what has gone since a MODSEQ.
func (s *session) vanished(f *folder, since uint64, known string) {
	var gone []uint32
	within, _ := parseNumbers(known, noLimit32)
	for _, e := range f.gone {
		if e.modseq > since && (known == "" || within.has(e.uid)) {
			gone = append(gone, e.uid)
		}
	}
	slices.Sort(gone)
	text := Set(gone)
	if s.k.Vanished != nil {
		s.hooked(func() { text = s.k.Vanished(s.cmd, gone) })
		s.act("Vanished", text != Set(gone))
	}
	if text != "" {
		s.put("* VANISHED (EARLIER) %s", text)
	}
}

const noLimit32 = 1<<32 - 1

func (s *session) manage(name string, a []node) string {
	if len(a) == 0 {
		return "BAD malformed"
	}
	f := s.named(a[0].s)
	switch name {
	case "CREATE":
		if f != nil && f.name != a[0].s && s.k.CaseBlind {
			return "NO Folder name is reserved."
		}
		if f != nil {
			return "NO [ALREADYEXISTS] there is one"
		}
		if !strings.HasPrefix(a[0].s, s.p.prefix) {
			return "NO Invalid mailbox name."
		}
		s.p.create(s.below(a[0].s), "")
		s.dirty = true
		return "OK done"
	case "SUBSCRIBE", "UNSUBSCRIBE":
		return "OK done"
	}
	if f == nil {
		return "NO [NONEXISTENT] no such mailbox"
	}
	s.dirty = true
	if name == "RENAME" {
		if len(a) < 2 {
			return "BAD malformed"
		}
		if to := s.named(a[1].s); to != nil && to != f {
			return "NO [ALREADYEXISTS] there is one"
		}
		if !strings.HasPrefix(a[1].s, s.p.prefix) {
			return "NO Invalid mailbox name."
		}
		old := f.name
		f.name = s.below(a[1].s)
		for _, g := range s.p.folders {
			if rest, below := strings.CutPrefix(g.name, old+s.p.delim); below {
				g.name = f.name + s.p.delim + rest
			}
		}
		return "OK done"
	}
	s.p.folders = slices.DeleteFunc(s.p.folders, func(g *folder) bool { return f == g })
	return "OK done"
}

// below spells the folders above a new one as they are.
func (s *session) below(name string) string {
	if at := strings.LastIndex(name, s.p.delim); at > 0 {
		if above := s.named(name[:at]); above != nil {
			return above.name + name[at:]
		}
	}
	return name
}

func (s *session) append(a []node) string {
	if len(a) < 2 {
		return "BAD malformed"
	}
	f := s.named(a[0].s)
	if f == nil {
		return "NO [TRYCREATE] no such mailbox"
	}
	raw := []byte(a[len(a)-1].s)
	if s.k.Kept != nil {
		var kept []byte
		s.hooked(func() { kept = s.k.Kept(s.cmd, bytes.Clone(raw)) })
		s.act("Kept", !bytes.Equal(kept, raw))
		raw = kept
	}
	s.p.ids++
	msg := &message{raw: raw, date: time.Now().UTC().Truncate(time.Second), id: s.p.ids}
	for _, n := range a[1 : len(a)-1] {
		if n.isList {
			for _, fl := range n.list {
				msg.flags = append(msg.flags, fl.s)
			}
		} else if d, err := time.Parse("_2-Jan-2006 15:04:05 -0700", n.s); err == nil {
			msg.date = d.UTC()
		}
	}
	uid := s.p.add(f, msg)
	s.dirty = true
	if s.caps["UIDPLUS"] {
		return fmt.Sprintf("OK [APPENDUID %d %d] done", f.validity, uid)
	}
	return "OK done"
}

func has(list []string, word string) bool {
	return slices.ContainsFunc(list, func(f string) bool { return strings.EqualFold(f, word) })
}
