package persona

import (
	"math"
)

// Persona is a provider as it behaves, to the sync.
type Persona struct {
	Name   string
	Rows   string // of the catalogue that it is made of, see Rows
	Knobs  Knobs
	Spared string // those knobs that are felt by whoever asks for what our client does not ask for
}

// Personas returns those that differ in what a sync meets. They are made of what was reported of the providers by others;
// nothing here was probed.
func Personas() []Persona {
	gmail := Gmail()
	gmail.Caps += " COMPRESS=DEFLATE"
	gmail.Conns = 15
	gmail.Answer = First(1, "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "UID FETCH")
	gmail.Say = Each(Now(300, Throttled), Codes)
	yahoo := Yahoo()
	yahoo.Limited = 40 // so that a small mailbox is concerned
	yahoo.Found, yahoo.Say = NothingNot, Respelt("INBOX", "Inbox")
	yahoo.Answer = First(2, "NO [LIMIT] UID FETCH Rate limit hit.", "UID FETCH")
	icloud := ICloud()
	icloud.Caps += " ANNOTATE-EXPERIMENT-1"
	icloud.Say = WrongNumbers
	netease := NetEase()
	netease.Say = EmptyStatus
	return []Persona{
		{"plain", "M5 I1", Knobs{Caps: Basic}, ""},
		{"everything", "", Knobs{}, ""},
		{"gmail", "G1 G2 G3 G4 G8 G14", gmail, "Conns"},
		{"yahoo", "Y1 Y2 Y6 Y9 Y10", yahoo, "Found Limited"},
		{"icloud", "I4 I6", icloud, "Vanished"},
		{"exchange", "M1 M2 M4 M5 M7 M9 M11 M15 M17", Exchange(), "Errors CaseBlind"},
		{"outlook", "M1 M2 M3 M4 M7 M9 M11 M15 M17", Outlook(), "Errors CaseBlind"},
		{"gmx", "M10 R9", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN ENABLE ID IDLE LIST-EXTENDED LIST-STATUS LITERAL- MOVE NAMESPACE SASL-IR SPECIAL-USE UIDPLUS UNSELECT",
			Answer: First(math.MaxInt64, "BAD expected a list of fields that we know", "ID")}, ""},
		{"yandex", "R1 R2 R3 R4 R5", Yandex(), "Found"},
		{"mailru", "R6", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN ID UIDPLUS UNSELECT MOVE LIST-STATUS SASL-IR", Say: Decimals}, ""},
		{"163", "C1 C2", netease, "Answer"},
		{"qq", "C1 C3 C4 C6", QQ(), "Answer Ascending Found"},
		{"zoho", "R7 R8", Zoho(), ""},
		{"strato", "R12", Knobs{Caps: Without(All, "QRESYNC", "OBJECTID", "UIDONLY", "PARTIAL"), Say: NothingFound, Answer: Extended("OK nothing")}, ""},
		{"workmail", "R13", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS MOVE ID UNSELECT NAMESPACE LITERAL+", UIDValidity: Flapping}, ""},
		{"proton", "R17", Knobs{Caps: "AUTH=PLAIN ID IDLE IMAP4rev1 MOVE UIDPLUS UNSELECT LIST-EXTENDED SPECIAL-USE", Answer: Extended("BAD [Error offset=9]: expected CR")}, ""},
		{"courier", "R10 S9", Courier(), "Conns"},
		{"mailenable", "S18", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN UIDPLUS IDLE", Say: Each(WrongAppendUID, NoChildren)}, ""},
		{"dbmail", "S19", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN ID UIDPLUS IDLE UNSELECT", Bytes: Rewritten()}, ""},
		{"cyrus with a broken VANISHED", "S6", Knobs{Vanished: AllButOne}, ""},
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

// Courier has all folders below INBOX, bears few connections from one address, and tells of a message 0.
func Courier() Knobs {
	return Knobs{Caps: "IMAP4rev1 AUTH=PLAIN UIDPLUS CHILDREN NAMESPACE IDLE", Prefix: "INBOX.", Conns: 4, Say: Each(ZeroFetch, FlagsBeforeIdle)}
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

// Exchange accepts a login and then says for a while that it is not connected, throttles in words, writes folder names as they are,
// hangs up on clients that make many mistakes, and tells COPYUID in its own way.
func Exchange() Knobs {
	return Knobs{
		Caps:   "IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+",
		Errors: 10,
		Answer: Any(First(2, "BAD User is authenticated but not connected.", "SELECT", "EXAMINE"),
			First(1, "BAD Request is throttled. Suggested Backoff Time: 40 milliseconds", "UID FETCH")),
		Say:       Each(Trailing, BareNames, OtherOrder, StrayCopyUID),
		CaseBlind: true,
	}
}

// Outlook is the consumers' one: as Exchange, with lines outside of the protocol, and without sets in COPYUID.
func Outlook() Knobs {
	k := Exchange()
	k.Caps = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	k.Say = Each(Trailing, BareNames, OtherOrder, ShortCopyUID, Unavailable(1))
	return k
}

// Yandex hangs up in IDLE, says goodbye many times, leaves bodies out the first time, and is wrong about dates.
func Yandex() Knobs {
	return Knobs{
		Caps:   "IMAP4rev1 AUTH=PLAIN CHILDREN UNSELECT LITERAL+ NAMESPACE XLIST UIDPLUS ENABLE ID IDLE MOVE",
		Answer: First(3, Cut, "IDLE"),
		Say:    Each(ManyGoodbyes, NoBodyAtFirst()),
		Found:  EveryDate,
	}
}

// QQ wants ID before SELECT and ascending sets, and finds everything by text and by date.
func QQ() Knobs {
	k := NetEase()
	k.Caps, k.UIDNext = "IMAP4 IMAP4rev1 AUTH=PLAIN XLIST MOVE IDLE NAMESPACE CHILDREN ID UIDPLUS", nil
	k.Ascending, k.Found = true, EveryDate
	return k
}

// Zoho has MODSEQs below zero, a star among the flags, and loses a UID now and then.
func Zoho() Knobs {
	return Knobs{
		Caps: "IMAP4rev1 UNSELECT CHILDREN XLIST NAMESPACE IDLE MOVE ID AUTH=PLAIN SASL-IR UIDPLUS ESEARCH LIST-EXTENDED LIST-STATUS WITHIN SPECIAL-USE CONDSTORE",
		Say:  Each(NegativeModSeq, StarredFlags, NoUIDAtFirst()),
	}
}
