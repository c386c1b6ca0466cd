package persona

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Persona is a provider as it behaves, to the sync.
type Persona struct {
	Name  string
	Knobs Knobs
}

// Personas returns those that differ in what a sync meets. They are made of what was reported of the providers by others;
// nothing here was probed.
func Personas() []Persona {
	return []Persona{
		{"plain", Knobs{Caps: Basic}},
		{"everything", Knobs{}},
		{"gmail", Gmail()},
		{"yahoo", Yahoo()},
		{"icloud", ICloud()},
		{"exchange", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+", Say: Trailing}},
		{"gmx", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN ENABLE ID IDLE LIST-EXTENDED LIST-STATUS LITERAL- MOVE NAMESPACE SASL-IR SPECIAL-USE UIDPLUS UNSELECT"}},
		{"yandex", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN UNSELECT LITERAL+ NAMESPACE UIDPLUS ENABLE ID IDLE MOVE"}},
		{"mailru", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN ID UIDPLUS UNSELECT MOVE LIST-STATUS SASL-IR", Say: Decimals}},
		{"163", NetEase()},
		{"strato", Knobs{Caps: Without(All, "QRESYNC", "OBJECTID", "UIDONLY", "PARTIAL"), Say: NothingFound}},
		{"workmail", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS MOVE ID UNSELECT NAMESPACE LITERAL+", UIDValidity: Flapping}},
		{"proton", Knobs{Caps: "AUTH=PLAIN ID IDLE IMAP4rev1 MOVE UIDPLUS UNSELECT"}},
		{"courier", Courier()},
		{"cyrus with a broken VANISHED", Knobs{Vanished: AllButOne}},
	}
}

// Gmail has labels for folders, CONDSTORE and no QRESYNC.
func Gmail() Knobs {
	return Knobs{Gmail: true, Caps: "IMAP4rev1 AUTH=PLAIN UNSELECT IDLE NAMESPACE ID CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE ESEARCH " +
		"LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE"}
}

// Yahoo shows the newest 10,000 messages of a folder, unless UIDONLY is on, and 1,000 a command.
func Yahoo() Knobs {
	return Knobs{Limited: 10_000, Caps: "IMAP4rev1 SASL-IR AUTH=PLAIN ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN UNSELECT OBJECTID " +
		"IDLE ENABLE UIDONLY LIST-EXTENDED LIST-STATUS SPECIAL-USE PARTIAL MESSAGELIMIT=1000"}
}

// ICloud offers QRESYNC and gets it wrong; ENABLE is obeyed without a word.
func ICloud() Knobs {
	return Knobs{Unenabled: true, Vanished: AllButOne, Caps: "IMAP4rev1 CONDSTORE ENABLE QRESYNC NAMESPACE UIDPLUS CHILDREN UNSELECT ESEARCH SASL-IR ID IDLE LIST-STATUS AUTH=PLAIN"}
}

// Courier has all folders below INBOX.
func Courier() Knobs {
	return Knobs{Caps: "IMAP4rev1 AUTH=PLAIN UIDPLUS CHILDREN NAMESPACE IDLE", Prefix: "INBOX."}
}

// NetEase wants ID before SELECT, and has neither UIDNEXT nor IDLE.
func NetEase() Knobs {
	k := Knobs{Caps: "IMAP4rev1 AUTH=PLAIN SPECIAL-USE ID LITERAL+ UIDPLUS", UIDNext: func(Command, uint32) string { return "" }}
	named := newSet[int]()
	k.Answer = func(c Command) string {
		switch {
		case c.Name == "ID":
			named.add(c.Session)
		case (c.Name == "SELECT" || c.Name == "EXAMINE") && !named.has(c.Session):
			return "NO SELECT Unsafe Login. Please contact the help desk"
		}
		return ""
	}
	return k
}

// First returns an Answer to the first n commands with one of these names; the others are carried out.
func First(n int, answer string, names ...string) func(Command) string {
	var done atomic.Int64
	return func(c Command) string {
		if !slices.Contains(names, c.Name) || done.Add(1) > int64(n) {
			return ""
		}
		return answer
	}
}

// Flapping is a UIDValidity that every session sees differently (Amazon WorkMail).
func Flapping(c Command, v uint32) string { return fmt.Sprint(v + uint32(c.Session)*1000) }

// AllButOne is a Vanished that names what is there as gone (Cyrus and iCloud, seen by several clients).
func AllButOne(Command, []uint32) string { return "1:4000,4002" }

// Trailing writes a blank behind each STATUS and LIST line (Exchange).
func Trailing(_ Command, line string) string {
	if strings.HasPrefix(line, "* STATUS") || strings.HasPrefix(line, "* LIST") {
		return line + " "
	}
	return line
}

// Decimals writes sizes with a point (Mail.ru).
func Decimals(_ Command, line string) string {
	at := strings.Index(line, "RFC822.SIZE ")
	if at < 0 {
		return line
	}
	end := at + len("RFC822.SIZE ")
	for end < len(line) && line[end] >= '0' && line[end] <= '9' {
		end++
	}
	return line[:end] + ".0" + line[end:]
}

// Throttled asks, with each success, to be left alone (Gmail).
func Throttled(c Command, line string) string {
	if _, answer, _ := strings.Cut(line, " "); strings.HasPrefix(answer, "OK") && line[0] != '*' && c.Name != "LOGIN" && c.Name != "AUTHENTICATE" {
		return line + " [THROTTLED]"
	}
	return line
}

// NothingFound answers every ESEARCH with nothing (STRATO).
func NothingFound(c Command, line string) string {
	if rest, ok := strings.CutPrefix(line, "* ESEARCH "); ok {
		tag, _, _ := strings.Cut(rest, ")")
		return "* ESEARCH " + tag + ") UID"
	}
	return line
}
