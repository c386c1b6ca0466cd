package persona

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chosen are the messages that a set names, with their sequence numbers, in ascending order.
func (s *session) chosen(set string, byUID bool) (out []int, ok bool) {
	last := uint32(len(s.view))
	if byUID && last > 0 {
		last = s.view[last-1]
	}
	n, ok := parseNumbers(set, max(last, 1))
	if !ok || s.k.Ascending && !n.ascend() {
		s.act("Ascending", ok)
		return nil, false
	}
	for i, uid := range s.view {
		v := uid
		if !byUID {
			v = uint32(i + 1)
		}
		if n.has(v) {
			out = append(out, i+1)
		}
	}
	return out, true
}

// limit cuts what a command is about to the highest MESSAGELIMIT messages, and says so in the tagged answer.
func (s *session) limit(seqs []int) ([]int, string) {
	n := s.messageLimit()
	if n == 0 || len(seqs) <= n {
		return seqs, "OK done"
	}
	seqs = seqs[len(seqs)-n:]
	return seqs, fmt.Sprintf("OK [MESSAGELIMIT %d %d] partly done", n, s.view[seqs[0]-1])
}

func (s *session) fetch(a []node, byUID bool) string {
	if s.uidonly && !byUID {
		return "BAD [UIDREQUIRED] sequence numbers are off"
	}
	if len(a) < 2 {
		return "BAD malformed"
	}
	seqs, ok := s.chosen(a[0].s, byUID)
	if !ok {
		return "BAD malformed set"
	}
	items := a[1].list
	if !a[1].isList {
		items = a[1:2]
	}
	names := []string{"UID"}
	for _, n := range items {
		name := n.s
		if strings.EqualFold(name, "UID") {
			continue
		}
		if bad := s.unknownItem(name); bad != "" {
			return bad
		}
		names = append(names, name)
	}
	var since uint64
	if len(a) > 2 {
		for i, n := range a[2].list {
			arg := ""
			if i+1 < len(a[2].list) {
				arg = a[2].list[i+1].s
			}
			switch strings.ToUpper(n.s) {
			case "CHANGEDSINCE":
				if !s.caps["CONDSTORE"] {
					return "BAD no CONDSTORE"
				}
				since, _ = strconv.ParseUint(arg, 10, 64)
				s.condstore = true
				if !slices.Contains(names, "MODSEQ") {
					names = append(names, "MODSEQ")
				}
			case "VANISHED":
				if !s.qresync {
					return "BAD QRESYNC is not enabled"
				}
				s.vanished(s.cur, since, a[0].s)
			case "PARTIAL":
				if !s.caps["PARTIAL"] {
					return "BAD no PARTIAL"
				}
				seqs = window(arg, seqs)
			}
		}
	}
	seqs, answer := s.limit(seqs)
	for _, seq := range seqs {
		m, _ := s.cur.find(s.view[seq-1])
		if m == nil || m.modseq <= since {
			continue
		}
		hide := false
		if s.k.Hide != nil {
			s.hooked(func() { hide = s.k.Hide(s.cmd, m.uid) })
			s.act("Hide", hide)
		}
		if !hide {
			s.row(seq, m, names)
		}
	}
	return answer
}

// unknownItem refuses items of extensions that are not offered.
func (s *session) unknownItem(name string) string {
	need := ""
	switch up := strings.ToUpper(name); {
	case up == "MODSEQ":
		need = "CONDSTORE"
		s.condstore = s.caps[need]
	case up == "EMAILID", up == "THREADID":
		need = "OBJECTID"
	case strings.HasPrefix(up, "X-GM-"):
		need = "X-GM-EXT-1"
	case up == "FLAGS", up == "INTERNALDATE", up == "RFC822.SIZE", up == "BODY.PEEK[]", up == "BODY.PEEK[HEADER]",
		strings.HasPrefix(up, "BODY.PEEK[]<"), strings.HasPrefix(up, "BODY.PEEK[HEADER.FIELDS "):
		return ""
	default:
		return "BAD unknown item " + name
	}
	if !s.caps[need] {
		return "BAD expected fetch-att instead of " + name
	}
	return ""
}

// row says what is asked of one message.
func (s *session) row(seq int, m *placed, items []string) {
	var out []string
	raw := m.msg.raw
	if s.k.Bytes != nil {
		s.hooked(func() { raw = s.k.Bytes(s.cmd, m.uid, raw) })
		s.act("Bytes", !bytes.Equal(raw, m.msg.raw))
	}
	for _, it := range items {
		switch up := strings.ToUpper(it); {
		case up == "UID":
			if !s.uidonly {
				out = append(out, fmt.Sprintf("UID %d", m.uid))
			}
		case up == "FLAGS":
			out = append(out, "FLAGS ("+strings.Join(m.msg.flags, " ")+")")
		case up == "INTERNALDATE":
			out = append(out, `INTERNALDATE "`+m.msg.date.Format("02-Jan-2006 15:04:05 -0700")+`"`)
		case up == "RFC822.SIZE":
			out = append(out, fmt.Sprintf("RFC822.SIZE %d", len(raw)))
		case up == "MODSEQ":
			out = append(out, fmt.Sprintf("MODSEQ (%d)", m.modseq))
		case up == "EMAILID":
			out = append(out, fmt.Sprintf("EMAILID (M%x)", m.msg.id))
		case up == "THREADID":
			out = append(out, "THREADID NIL")
		case up == "X-GM-MSGID":
			out = append(out, fmt.Sprintf("%s %d", up, m.msg.id))
		case up == "X-GM-THRID":
			out = append(out, fmt.Sprintf("%s %d", up, m.msg.thread()))
		case up == "X-GM-LABELS":
			out = append(out, "X-GM-LABELS ("+strings.Join(s.labels(m.msg), " ")+")")
		case up == "BODY.PEEK[HEADER]":
			out = append(out, literal("BODY[HEADER]", header(raw, nil)))
		case strings.HasPrefix(up, "BODY.PEEK[HEADER.FIELDS "):
			names := parse(strings.TrimSuffix(it[len("BODY.PEEK[HEADER.FIELDS "):], "]"))
			out = append(out, literal("BODY"+it[len("BODY.PEEK"):], header(raw, names[0].list)))
		case strings.HasPrefix(up, "BODY.PEEK[]<"):
			from, n, _ := strings.Cut(strings.TrimSuffix(it[len("BODY.PEEK[]<"):], ">"), ".")
			at, _ := strconv.Atoi(from)
			size, _ := strconv.Atoi(n)
			at = min(at, len(raw))
			out = append(out, literal("BODY[]<"+from+">", raw[at:min(at+size, len(raw))]))
		case up == "BODY.PEEK[]":
			out = append(out, literal("BODY[]", raw))
		}
	}
	if s.uidonly {
		s.put("* %d UIDFETCH (%s)", m.uid, strings.Join(out, " "))
		return
	}
	s.put("* %d FETCH (%s)", seq, strings.Join(out, " "))
}

func literal(name string, b []byte) string { return fmt.Sprintf("%s {%d}\r\n%s", name, len(b), b) }

// labels are those of a message beside the one whose folder is open.
func (s *session) labels(msg *message) (out []string) {
	s.p.everywhere(msg, func(f *folder, _ *placed) {
		if f != s.cur && !gmailBin(f.name) {
			out = append(out, label(f.name))
		}
	})
	return out
}

// header returns the header of a message, or the fields of it with these names, and the empty line.
func header(raw []byte, names []node) []byte {
	var out bytes.Buffer
	keep := false
	for line := range bytes.Lines(raw) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			keep = names == nil || slices.ContainsFunc(names, func(n node) bool { return strings.EqualFold(n.s, string(bytes.TrimSpace(name))) })
		}
		if keep {
			out.Write(line)
		}
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// search knows ALL, sets, flags, HEADER, SUBJECT, FROM, BEFORE, ON, SINCE, X-GM-MSGID and NOT.
func (s *session) search(a []node, byUID bool) string {
	if s.uidonly && !byUID {
		return "BAD [UIDREQUIRED] sequence numbers are off"
	}
	var options []node
	if len(a) > 1 && strings.EqualFold(a[0].s, "RETURN") {
		if !s.caps["ESEARCH"] {
			return "BAD no ESEARCH"
		}
		options, a = a[1].list, a[2:]
	}
	var seqs []int
	for i, uid := range s.view {
		m, _ := s.cur.find(uid)
		if m == nil {
			continue
		}
		ok, bad := s.matches(a, i+1, m)
		if bad != "" {
			return bad
		}
		if s.k.Found != nil {
			truth := ok
			s.hooked(func() { ok = s.k.Found(s.cmd, uid, ok) })
			s.act("Found", ok != truth)
		}
		if ok {
			seqs = append(seqs, i+1)
		}
	}
	seqs, answer := s.limit(seqs)
	found := make([]uint32, len(seqs))
	for i, seq := range seqs {
		found[i] = uint32(seq)
		if byUID {
			found[i] = s.view[seq-1]
		}
	}
	if options == nil {
		var b strings.Builder
		for _, n := range found {
			fmt.Fprintf(&b, " %d", n)
		}
		s.put("* SEARCH%s", b.String())
		return answer
	}
	var b strings.Builder
	if byUID {
		b.WriteString(" UID")
	}
	for i, o := range options {
		switch strings.ToUpper(o.s) {
		case "ALL":
			if len(found) > 0 {
				fmt.Fprintf(&b, " ALL %s", Set(found))
			}
		case "COUNT":
			fmt.Fprintf(&b, " COUNT %d", len(found))
		case "PARTIAL":
			if !s.caps["PARTIAL"] || i+1 >= len(options) {
				return "BAD no PARTIAL"
			}
			w := options[i+1].s
			set := Set(window(w, found))
			if set == "" {
				set = "NIL"
			}
			fmt.Fprintf(&b, " PARTIAL (%s %s)", w, set)
		}
	}
	s.put(`* ESEARCH (TAG "%s")%s`, s.tag, b.String())
	return answer
}

var searchFlags = map[string]string{"SEEN": `\Seen`, "DELETED": `\Deleted`, "FLAGGED": `\Flagged`, "ANSWERED": `\Answered`, "DRAFT": `\Draft`}

func (s *session) matches(a []node, seq int, m *placed) (ok bool, bad string) {
	not := false
	for len(a) > 0 {
		key := strings.ToUpper(a[0].s)
		a = a[1:]
		var hit bool
		flag, negated := searchFlags[key], false
		if flag == "" {
			flag, negated = searchFlags[strings.TrimPrefix(key, "UN")], true
		}
		switch {
		case key == "ALL":
			hit = true
		case key == "NOT":
			not = !not
			continue
		case flag != "":
			hit = has(m.msg.flags, flag) != negated
		case key == "UID" && len(a) > 0:
			n, ok := parseNumbers(a[0].s, s.view[len(s.view)-1])
			if !ok {
				return false, "BAD malformed set"
			}
			hit, a = n.has(m.uid), a[1:]
		case key == "X-GM-MSGID" && len(a) > 0 && s.caps["X-GM-EXT-1"]:
			hit, a = a[0].s == strconv.FormatUint(m.msg.id, 10), a[1:]
		case (key == "SUBJECT" || key == "FROM") && len(a) > 0:
			h := header(m.msg.raw, []node{{s: key}})
			hit, a = bytes.Contains(bytes.ToLower(h), bytes.ToLower([]byte(a[0].s))), a[1:]
		case (key == "BEFORE" || key == "ON" || key == "SINCE") && len(a) > 0:
			day, err := time.Parse("2-Jan-2006", a[0].s)
			if err != nil {
				return false, "BAD malformed date"
			}
			at := m.msg.date.Truncate(24 * time.Hour)
			hit, a = map[string]bool{"BEFORE": at.Before(day), "ON": at.Equal(day), "SINCE": !at.Before(day)}[key], a[1:]
		case key == "HEADER" && len(a) > 1:
			h := header(m.msg.raw, []node{a[0]})
			hit = bytes.Contains(bytes.ToLower(h), bytes.ToLower([]byte(a[1].s)))
			a = a[2:]
		default:
			n, ok := parseNumbers(key, uint32(len(s.view)))
			if !ok {
				return false, "BAD unknown search key " + key
			}
			hit = n.has(uint32(seq))
		}
		if hit == not {
			return false, ""
		}
		not = false
	}
	return true, ""
}

func (s *session) store(a []node, byUID bool) string {
	if len(a) < 3 || s.uidonly && !byUID {
		return "BAD malformed"
	}
	s.update()
	seqs, ok := s.chosen(a[0].s, byUID)
	if !ok {
		return "BAD malformed set"
	}
	a = a[1:]
	unchanged := uint64(noLimit)
	if a[0].isList {
		if len(a[0].list) != 2 || !s.caps["CONDSTORE"] {
			return "BAD malformed"
		}
		unchanged, _ = strconv.ParseUint(a[0].list[1].s, 10, 64)
		s.condstore = true
		a = a[1:]
	}
	if len(a) < 2 {
		return "BAD malformed"
	}
	what, silent := strings.CutSuffix(strings.ToUpper(a[0].s), ".SILENT")
	var words []string
	for _, n := range a[1].list {
		words = append(words, n.s)
	}
	if !a[1].isList {
		words = []string{a[1].s}
	}
	var modified []uint32
	for _, seq := range seqs {
		m, _ := s.cur.find(s.view[seq-1])
		switch {
		case m == nil:
			continue
		case m.modseq > unchanged:
			modified = append(modified, m.uid)
			continue
		}
		switch strings.TrimLeft(what, "+-") {
		case "FLAGS":
			s.p.setFlags(m.msg, edited(m.msg.flags, words, what[0]))
		case "X-GM-LABELS":
			if !s.caps["X-GM-EXT-1"] {
				return "BAD no labels"
			}
			s.relabel(m.msg, words, what[0])
		default:
			return "BAD unknown item"
		}
		s.dirty = true
		if !silent {
			items := []string{"UID", "FLAGS"}
			if s.condstore {
				items = append(items, "MODSEQ")
			}
			s.row(seq, m, items)
		}
	}
	s.told = s.p.modseq
	if len(modified) > 0 {
		return "OK [MODIFIED " + Set(modified) + "] not all"
	}
	return "OK done"
}

// edited applies +, - or a replacement to a list of flags.
func edited(old, words []string, how byte) []string {
	switch how {
	case '-':
		return slices.DeleteFunc(slices.Clone(old), func(f string) bool { return has(words, f) })
	case '+':
		out := slices.Clone(old)
		for _, w := range words {
			if !has(out, w) {
				out = append(out, w)
			}
		}
		return out
	}
	return words
}

func (s *session) relabel(msg *message, words []string, how byte) {
	want := map[*folder]bool{}
	for _, w := range words {
		f := s.p.labelled(w)
		if f == nil {
			f = s.p.create(w, "")
		}
		want[f] = true
	}
	in := map[*folder]uint32{}
	s.p.everywhere(msg, func(f *folder, p *placed) {
		if !gmailBin(f.name) {
			in[f] = p.uid
		}
	})
	for f := range want {
		if _, there := in[f]; !there && how != '-' {
			s.p.add(f, msg)
		}
	}
	for f, uid := range in {
		if want[f] == (how == '-') && how != '+' {
			s.p.take(f, uid)
		}
	}
}

func (s *session) transfer(a []node, move bool) string {
	if len(a) != 2 {
		return "BAD malformed"
	}
	seqs, ok := s.chosen(a[0].s, true)
	to := s.named(a[1].s)
	switch {
	case !ok:
		return "BAD malformed set"
	case to == nil:
		return "NO [TRYCREATE] no such mailbox"
	}
	var from, into []uint32
	for _, seq := range seqs {
		m, _ := s.cur.find(s.view[seq-1])
		if m == nil {
			continue
		}
		from = append(from, m.uid)
		if move {
			into = append(into, s.p.move(s.cur, m.uid, to))
		} else {
			into = append(into, s.p.copyTo(m, to))
		}
		s.dirty = true
	}
	if len(from) == 0 || !s.caps["UIDPLUS"] {
		return "OK done"
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", to.validity, Set(from), Set(into))
	if move {
		s.put("* OK %s", code)
		return "OK done"
	}
	return "OK " + code + " done"
}

func (s *session) expunge(a []node, byUID bool) string {
	var only numbers
	if byUID {
		if len(a) != 1 || len(s.view) == 0 {
			return "OK nothing"
		}
		var ok bool
		if only, ok = parseNumbers(a[0].s, s.view[len(s.view)-1]); !ok {
			return "BAD malformed set"
		}
	}
	for _, uid := range slices.Clone(s.view) {
		m, _ := s.cur.find(uid)
		if m != nil && has(m.msg.flags, `\Deleted`) && (only == nil || only.has(uid)) {
			s.dirty = true
			if s.p.gmail && s.cur.name != "[Gmail]/Trash" && s.cur.name != "[Gmail]/Spam" { // that archives, and is no way to remove anything
				s.p.setFlags(m.msg, edited(m.msg.flags, []string{`\Deleted`}, '-'))
				if s.cur.name == allMail {
					continue
				}
			}
			s.p.take(s.cur, uid)
		}
	}
	return "OK done"
}
