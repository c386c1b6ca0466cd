package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// What other mail programs do. Each step is legal by the model, and the server must accept it. A step returns what it did; "" is
// that it could do nothing.

func name(f *folder) string { return realsrv.Quote(realsrv.EncodeName(f.name)) }

func (h *history) append(f *folder, c *copied) {
	h.other.Append(f.name, c.raw, c.flags, time.Time{})
	f.copies = append(f.copies, c)
}

// open selects a folder and reads what is in it. A process of Dovecot that saw the files of a folder go, or its UIDVALIDITY change, ends,
// or shows other flags than there are, and then the right ones.
func (h *history) open(f *folder) []realsrv.Response {
	h.t.Helper()
	status := ""
	for range 4 {
		if _, status = h.other.Try("SELECT " + name(f)); strings.HasPrefix(status, "OK") {
			var rows []realsrv.Response
			if rows, status = h.other.Try("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Model)])"); strings.HasPrefix(status, "OK") {
				if !slices.ContainsFunc(rows, func(r realsrv.Response) bool { return len(r.Literals) == 0 && strings.Contains(r.Text, " FETCH (") }) {
					return rows
				}
				continue
			}
		}
		if !strings.HasPrefix(status, "BYE") {
			break
		}
		h.other = h.d.Login(h.t, user)
	}
	h.t.Fatalf("open %v: %s", f, status)
	return nil
}

// uids finds copies in a folder, which is then open.
func (h *history) uids(f *folder, list []*copied) string {
	h.t.Helper()
	rows := h.open(f)
	var out []string
	used := map[int]bool{}
	for _, c := range list {
		_, number, _ := strings.Cut(string(c.raw), "X-Model: ")
		number, _, _ = strings.Cut(number, "\r\n")
		at := -1
		for i, r := range rows {
			if !used[i] && len(r.Literals) == 1 && strings.TrimSpace(string(r.Literals[0])) == "X-Model: "+number && slices.Equal(flagsOf(r.Text), c.flags) {
				at = i
				break
			}
		}
		if at < 0 {
			h.t.Fatalf("letter %s with %v is not in %v", number, c.flags, f)
		}
		used[at] = true
		var uid int
		_, rest, _ := strings.Cut(rows[at].Text, "UID ")
		fmt.Sscan(rest, &uid)
		out = append(out, fmt.Sprint(uid))
	}
	return strings.Join(out, ",")
}

func flagsOf(row string) []string {
	_, rest, _ := strings.Cut(row, "FLAGS (")
	rest, _, _ = strings.Cut(rest, ")")
	flags := slices.DeleteFunc(strings.Fields(rest), func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return flags
}

func (h *history) flagsAtRandom() (flags []string) {
	for _, f := range []string{"$Later", `\Answered`, `\Flagged`, `\Seen`} {
		if h.r.IntN(4) == 0 {
			flags = append(flags, f)
		}
	}
	return flags
}

func (h *history) deliver() string {
	if h.box.size() > 60 {
		return ""
	}
	f := h.box.folder("INBOX")
	if h.r.IntN(3) == 0 {
		f = h.box.any()
	}
	var did []string
	for range 1 + h.r.IntN(4) {
		l := h.box.write(h.box.header(h.r.IntN(8) > 0))
		h.append(f, &copied{l, h.flagsAtRandom()})
		did = append(did, fmt.Sprint(l.subject.n))
	}
	return fmt.Sprintf("deliver %s to %v", strings.Join(did, " "), f)
}

func (h *history) deliverAgain() string {
	_, list := h.box.where(mail)
	c, ok := pick(h.r, list)
	if !ok || h.box.size() > 60 {
		return ""
	}
	to := h.box.any()
	c.spread = true
	h.append(to, &copied{c.letter, h.flagsAtRandom()})
	return fmt.Sprintf("deliver %v once more, to %v", c, to)
}

func (h *history) deliverTwin() string {
	_, list := h.box.where(mail)
	c, ok := pick(h.r, list)
	if !ok || h.box.size() > 60 {
		return ""
	}
	to := h.box.any()
	l := h.box.write(c.subject.header)
	h.append(to, &copied{l, h.flagsAtRandom()})
	return fmt.Sprintf("deliver %d with the header of %v to %v", l.subject.n, c, to)
}

// deliverNamesake delivers another message with a Message-ID that is taken.
func (h *history) deliverNamesake() string {
	_, list := h.box.where(mail)
	c, ok := pick(h.r, list)
	if !ok || h.box.size() > 60 {
		return ""
	}
	to := h.box.any()
	header := strings.Replace(c.subject.header, "Subject: ", fmt.Sprintf("Subject: %d is not ", h.box.letters+1), 1)
	l := h.box.write(header)
	h.append(to, &copied{l, nil})
	return fmt.Sprintf("deliver %d with the Message-ID of %v to %v", l.subject.n, c, to)
}

func (h *history) flag() string {
	f, list := h.box.where(free)
	if f == nil {
		return ""
	}
	list = some(h.r, list, 5)
	flag := []string{`\Seen`, `\Seen`, `\Flagged`, `\Answered`, `\Deleted`, "$Later"}[h.r.IntN(6)]
	on, sign := h.r.IntN(2) == 0, "-"
	if on {
		sign = "+"
	}
	h.other.Do("UID STORE " + h.uids(f, list) + " " + sign + "FLAGS (" + flag + ")")
	for _, c := range list {
		c.set(flag, on)
	}
	return fmt.Sprintf("flag %v in %v: %s%s", list, f, sign, flag)
}

// moving notes that Posthorn may know too little of what becomes of letters with several copies.
func (h *history) moving(list []*copied) {
	for _, c := range list {
		if _, all := h.box.places(c.letter); len(all) > 1 {
			c.spread = true
		}
	}
}

func (h *history) move() string {
	f, list := h.box.from(free)
	to := h.box.any()
	if f == nil || to == f {
		return ""
	}
	list = some(h.r, list, 5)
	h.moving(list)
	h.other.Do("UID MOVE " + h.uids(f, list) + " " + name(to))
	for _, c := range list {
		f.remove(c)
		to.copies = append(to.copies, c)
	}
	return fmt.Sprintf("move %v from %v to %v", list, f, to)
}

// moveByHand appends to one folder and removes from the other, as programs do between accounts and some always.
func (h *history) moveByHand() string {
	f, list := h.box.from(free)
	to := h.box.any()
	if f == nil || to == f {
		return ""
	}
	list = some(h.r, list, 3)
	h.moving(list)
	for _, c := range list {
		h.append(to, &copied{c.letter, slices.Clone(c.flags)})
	}
	h.expunge(f, list)
	return fmt.Sprintf("append %v of %v to %v and remove it", list, f, to)
}

func (h *history) expunge(f *folder, list []*copied) {
	uids := h.uids(f, list)
	h.other.Do("UID STORE " + uids + ` +FLAGS.SILENT (\Deleted)`)
	h.other.Do("UID EXPUNGE " + uids)
	for _, c := range list {
		f.remove(c)
	}
}

func (h *history) copy() string {
	f, list := h.box.where(mail)
	to := h.box.any()
	if f == nil || h.box.size() > 60 {
		return ""
	}
	list = some(h.r, list, 3)
	h.other.Do("UID COPY " + h.uids(f, list) + " " + name(to))
	for _, c := range list {
		c.spread = true
		to.copies = append(to.copies, &copied{c.letter, slices.Clone(c.flags)})
	}
	return fmt.Sprintf("copy %v from %v to %v", list, f, to)
}

func (h *history) remove() string {
	f, list := h.box.from(free)
	if f == nil {
		return ""
	}
	list = some(h.r, list, 4)
	h.moving(list)
	h.expunge(f, list)
	return fmt.Sprintf("remove %v from %v", list, f)
}

func (h *history) writeDraft() string {
	l := h.box.write(h.box.header(true))
	l.draft = true
	drafts := h.box.folder("Drafts")
	h.append(drafts, &copied{l, []string{`\Draft`}})
	return fmt.Sprintf("write draft %d", l.subject.n)
}

// editDraft saves another version and removes the old one, as mail programs do.
func (h *history) editDraft() string {
	f, list := h.box.from(func(c *copied) bool { return c.draft && !c.busy })
	c, ok := pick(h.r, list)
	if !ok {
		return ""
	}
	h.append(f, &copied{h.box.edit(c.letter), slices.Clone(c.flags)})
	h.expunge(f, []*copied{c})
	return fmt.Sprintf("edit draft %v in %v", c, f)
}

func (h *history) createFolder() string {
	if len(h.box.folders) > 14 {
		return ""
	}
	f := &folder{name: h.box.newName()}
	h.other.CreateFolder(f.name)
	h.box.folders = append(h.box.folders, f)
	return fmt.Sprintf("create %v", f)
}

func (h *history) rename() string {
	f, ok := pick(h.r, h.box.plain())
	to := h.box.newName()
	if !ok || under(&folder{name: to}, f.name) {
		return ""
	}
	did := fmt.Sprintf("rename %v to %q", f, to)
	h.renameTo(f.name, to)
	return did
}

func (h *history) renameTo(from, to string) {
	h.other.Do("RENAME " + name(&folder{name: from}) + " " + name(&folder{name: to}))
	h.box.rename(from, to)
}

func (h *history) swap() string {
	a, _ := pick(h.r, h.box.plain())
	b, ok := pick(h.r, h.box.plain())
	if !ok || under(a, b.name) || under(b, a.name) || !h.box.steady(a, b) {
		return ""
	}
	did := fmt.Sprintf("swap %v and %v", a, b)
	h.box.names++
	x, y, between := a.name, b.name, fmt.Sprintf("Swap %d", h.box.names)
	h.renameTo(x, between)
	h.renameTo(y, x)
	h.renameTo(between, y)
	return did
}

func (h *history) deleteFolder() string {
	f, ok := pick(h.r, h.box.leaves())
	if !ok {
		return ""
	}
	h.moving(f.copies)
	h.other.Do("DELETE " + name(f))
	h.box.folders = slices.DeleteFunc(h.box.folders, func(o *folder) bool { return o == f })
	return fmt.Sprintf("delete %v with %v", f, f.copies)
}

func (h *history) recreate() string {
	f, ok := pick(h.r, h.box.leaves())
	if !ok || !h.box.steady(f) {
		return ""
	}
	h.moving(f.copies)
	h.other.Do("DELETE " + name(f))
	h.other.Do("CREATE " + name(f))
	h.box.folders[slices.Index(h.box.folders, f)] = &folder{name: f.name, flips: f.flips}
	return fmt.Sprintf("delete %v with %v, and create it anew", f, f.copies)
}

// renumber gives a folder another UIDVALIDITY, lower or higher than before.
func (h *history) renumber() string {
	f := h.box.any()
	if !f.bears(renumber) || !h.box.steady(f) {
		return ""
	}
	f.renumbered = true
	h.validity++
	v := h.validity + uint32(h.r.IntN(2))*2_000_000_000
	h.d.Doveadm(h.t, "mailbox", "update", "-u", user, "--uid-validity", fmt.Sprint(v), f.name)
	return fmt.Sprintf("give %v the UIDVALIDITY %d", f, v)
}
