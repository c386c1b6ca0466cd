package persona

import (
	"math"
)

// Persona is a provider as it behaves, to the sync.
type Persona struct {
	Name  string
	Knobs Knobs
}

// Personas returns those that differ in what a sync meets. They are made of what was reported of the providers by others;
// nothing here was probed.
func Personas() []Persona {
	gmail := Gmail()
	gmail.Caps += " COMPRESS=DEFLATE"
	gmail.Conns = 15
	gmail.Answer = First(1, "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "UID FETCH")
	gmail.Say = Now(300, Throttled)
	yahoo := Yahoo()
	yahoo.Found = NothingNot
	yahoo.Answer = First(2, "NO [LIMIT] UID FETCH Rate limit hit.", "UID FETCH")
	icloud := ICloud()
	icloud.Caps += " ANNOTATE-EXPERIMENT-1"
	netease := NetEase()
	netease.Say = EmptyStatus
	return []Persona{
		{"plain", Knobs{Caps: Basic}},
		{"everything", Knobs{}},
		{"gmail", gmail},
		{"yahoo", yahoo},
		{"icloud", icloud},
		{"exchange", Exchange()},
		{"outlook", Outlook()},
		{"gmx", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN ENABLE ID IDLE LIST-EXTENDED LIST-STATUS LITERAL- MOVE NAMESPACE SASL-IR SPECIAL-USE UIDPLUS UNSELECT",
			Answer: First(math.MaxInt64, "BAD expected a list of fields that we know", "ID")}},
		{"yandex", Yandex()},
		{"mailru", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN ID UIDPLUS UNSELECT MOVE LIST-STATUS SASL-IR", Say: Decimals}},
		{"163", netease},
		{"qq", QQ()},
		{"zoho", Zoho()},
		{"strato", Knobs{Caps: Without(All, "QRESYNC", "OBJECTID", "UIDONLY", "PARTIAL"), Say: NothingFound, Answer: Extended("OK nothing")}},
		{"workmail", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS MOVE ID UNSELECT NAMESPACE LITERAL+", UIDValidity: Flapping}},
		{"proton", Knobs{Caps: "AUTH=PLAIN ID IDLE IMAP4rev1 MOVE UIDPLUS UNSELECT LIST-EXTENDED SPECIAL-USE", Answer: Extended("BAD [Error offset=9]: expected CR")}},
		{"courier", Courier()},
		{"mailenable", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN CHILDREN UIDPLUS IDLE", Say: Each(WrongAppendUID, NoChildren)}},
		{"dbmail", Knobs{Caps: "IMAP4rev1 AUTH=PLAIN ID UIDPLUS IDLE UNSELECT", Bytes: Rewritten()}},
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
		Say: Each(Trailing, BareNames, StrayCopyUID),
	}
}

// Outlook is the consumers' one: as Exchange, with lines outside of the protocol, and without sets in COPYUID.
func Outlook() Knobs {
	k := Exchange()
	k.Caps = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	k.Say = Each(Trailing, BareNames, ShortCopyUID, Unavailable(1))
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
