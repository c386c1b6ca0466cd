package persona

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Lie is a single one, to be told by a server that is honest otherwise.
type Lie struct {
	Rows string // of the catalogue that it stands for, see Rows
	Name string
	// Make returns its knobs, without memory of what was said before.
	Make func() Knobs
	// Steps are those of the sync's ladder on which anything of it is heard: some of "QRESYNC CONDSTORE basic"; "": all.
	Steps string
	// Naive is what a client would say to be lied to, beside INBOX with two messages; ours never says it. "": it is lied to by a sync.
	Naive []string
	// Mail makes what must be in the mailbox for the lie to be told, or is all of it.
	Mail func(*Server)
}

func say(s func(Command, string) string) func() Knobs { return func() Knobs { return Knobs{Say: s} } }

func answer(a func(Command) string) func() Knobs { return func() Knobs { return Knobs{Answer: a} } }

func told(s func() func(Command, string) string) func() Knobs {
	return func() Knobs { return Knobs{Say: s()} }
}

func once(n int, text string, names ...string) func() Knobs {
	return func() Knobs { return Knobs{Answer: First(n, text, names...)} }
}

func holding(name string, attrs ...string) func(*Server) {
	return func(p *Server) {
		p.Create(name, attrs...)
		p.Deliver(name, []byte("Message-ID: <in"+fmt.Sprintf("%x", name)+"@example.com>\r\n\r\nx\r\n"))
	}
}

const (
	withModSeq = "QRESYNC CONDSTORE"
	extended   = withModSeq // ESEARCH, LIST-EXTENDED and the like
)

var unread = regexp.MustCompile(`FLAGS \(\)`)

// Lies lists the single ones.
func Lies() []Lie {
	return []Lie{
		// Folders.
		{Rows: "Y1", Name: "INBOX is spelt Inbox now and then", Make: say(Respelt("INBOX", "Inbox"))},
		{Rows: "M9", Name: "blanks at the end of lines", Make: say(Trailing)},
		{Rows: "M11", Name: "names without quotes", Make: say(BareNames)},
		{Rows: "M11", Name: "a line of LIST that nobody can read", Make: say(Before("* LIST", "* LIST (("))},
		{Rows: "M17", Name: "names in another case now and then", Make: func() Knobs { return Knobs{CaseBlind: true, Say: Respelt("Work", "WORK")} }},
		{Rows: "S5", Name: "each folder has a second name", Make: func() Knobs { return Knobs{Alias: "All/"} }},
		{Rows: "S17", Name: "names of 8-bit bytes", Mail: holding("Pr\xfcfung")},
		{Rows: "C8", Name: "names in modified UTF-7", Mail: holding("&vPSwuA-")},
		{Rows: "S25", Name: "no delimiter, and no folders below", Make: say(Swap(`"INBOX"`, `"/"`, "NIL")), Mail: holding("__proto__", `\Noinferiors`)},
		{Rows: "S12 R10", Name: "folders below a prefix, and a backslash between levels", Make: func() Knobs { return Knobs{Prefix: `INBOX\`} }},
		{Rows: "S18", Name: "parents without children", Make: say(NoChildren)},
		{Rows: "R12", Name: "LIST is empty with RETURN", Make: answer(Extended("OK nothing")), Steps: extended},
		{Rows: "R17", Name: "LIST fails with RETURN", Make: answer(Extended("BAD no RETURN")), Steps: extended},
		{Rows: "R4", Name: "XLIST is offered and wrong", Make: func() Knobs { return Knobs{Caps: "XLIST", Answer: Always(Cut, "XLIST")} }, Naive: []string{`XLIST "" "*"`}},
		{Rows: "G14", Name: "a parent that cannot be opened", Mail: func(p *Server) { p.Create("[Provider]", `\Noselect`); holding("[Provider]/Kept")(p) }},
		{Rows: "Y14", Name: "a folder that is there is said not to exist", Make: func() Knobs {
			return Knobs{Answer: Of("Work", First(2, "NO [NONEXISTENT] Unknown Mailbox: Work (Failure)", "EXAMINE"))}
		}},
		{Rows: "S2 S10", Name: "a listed folder is refused, and the session ended", Make: func() Knobs {
			return Knobs{Answer: Of("Shared", Always("BYE internal error", "EXAMINE", "SELECT")), Say: func(_ Command, line string) string {
				if strings.HasPrefix(line, `* STATUS "Shared"`) { // else nobody would have to look into it
					return ""
				}
				return line
			}}
		}, Mail: func(p *Server) { p.Create("Shared") }},
		{Rows: "M16", Name: "messages without headers", Mail: func(p *Server) {
			p.Create("Files")
			for _, raw := range []string{"", "\r\n", "\r\nfile\r\n", "X-Item: 1\r\n\r\n"} {
				p.Deliver("Files", []byte(raw))
			}
		}},

		// What is said of a folder.
		{Rows: "C2", Name: "STATUS is empty", Make: say(EmptyStatus)},
		{Rows: "C2", Name: "UIDNEXT absent", Make: func() Knobs { return Knobs{UIDNext: func(Command, uint32) string { return "" }} }},
		{Rows: "C9", Name: "UIDVALIDITY of 0", Make: func() Knobs { return Knobs{UIDValidity: func(Command, uint32) string { return "0" }} }},
		{Rows: "R14", Name: "no UIDVALIDITY of empty folders", Make: func() Knobs { return Knobs{UIDValidity: NothingIn("")} }},
		{Rows: "S10", Name: "EXISTS grows", Make: say(Growing)},
		{Rows: "G8", Name: "codes without text", Make: say(Codes)},
		{Rows: "R7", Name: "HIGHESTMODSEQ of 0", Make: func() Knobs { return Knobs{HighestModSeq: func(Command, uint64) string { return "0" }} }, Steps: withModSeq},
		{Rows: "R7", Name: "HIGHESTMODSEQ of -1", Make: func() Knobs { return Knobs{HighestModSeq: func(Command, uint64) string { return "-1" }} }, Steps: withModSeq},
		{Rows: "Y10", Name: "no HIGHESTMODSEQ", Make: func() Knobs { return Knobs{HighestModSeq: func(Command, uint64) string { return "" }} }, Steps: withModSeq},
		{Rows: "G7", Name: "HIGHESTMODSEQ runs ahead", Make: func() Knobs {
			return Knobs{HighestModSeq: func(_ Command, v uint64) string { return fmt.Sprint(v + 1) }}
		}, Steps: withModSeq},
		{Rows: "R7", Name: "a star among the flags", Make: say(StarredFlags)},

		// What is said of messages.
		{Rows: "R6", Name: "sizes with a point", Make: say(Decimals)},
		{Rows: "S14", Name: "sizes below zero", Make: say(Swap("RFC822.SIZE", "RFC822.SIZE 1", "RFC822.SIZE -1"))},
		{Rows: "M15 S11", Name: "sizes that are wrong", Make: say(Swap("RFC822.SIZE", "RFC822.SIZE 1", "RFC822.SIZE 9"))},
		{Rows: "M15", Name: "items in another order", Make: say(OtherOrder)},
		{Rows: "Y15", Name: "items that nobody asked for", Make: say(OwnItems)},
		{Rows: "R7", Name: "MODSEQ of -1", Make: say(NegativeModSeq), Steps: withModSeq},
		{Rows: "G8", Name: "MODSEQ of 0", Make: func() Knobs {
			return Knobs{Say: func(_ Command, line string) string { return modseq.ReplaceAllString(line, "MODSEQ (0)") }}
		}, Steps: withModSeq},
		{Rows: "G8", Name: "brackets and pluses in keywords", Mail: func(p *Server) {
			p.Create("Keywords")
			p.Deliver("Keywords", []byte("Message-ID: <keywords@example.com>\r\n\r\nx\r\n"), "[x]+y", "$Label1")
		}},
		{Rows: "R18", Name: "flags are NIL", Make: say(func(_ Command, line string) string {
			return unread.ReplaceAllString(line, "FLAGS NIL")
		}), Mail: holding("Unread")},
		{Rows: "R18", Name: "NIL among the flags", Make: say(Swap("FETCH (", `FLAGS (\Seen`, `FLAGS (NIL \Seen`))},
		{Rows: "R18", Name: "FETCH names every message twice", Make: say(Twice)},
		{Rows: "R21", Name: "INTERNALDATE is broken", Make: say(Swap("INTERNALDATE", `INTERNALDATE "01-Mar-2026`, `INTERNALDATE "00-Jan-0000`))},
		{Rows: "R21", Name: "INTERNALDATE has a day of one digit", Make: say(Swap("INTERNALDATE", `INTERNALDATE "01-Mar`, `INTERNALDATE "1-Mar`))},
		{Rows: "R21", Name: "INTERNALDATE of the year 102", Make: say(Swap("INTERNALDATE", "-2026 ", "-0102 "))},
		{Rows: "R8", Name: "a UID is left out", Make: told(NoUIDAtFirst)},
		{Rows: "I3 R3", Name: "a body is left out", Make: told(NoBodyAtFirst)},
		{Rows: "R3", Name: "a star for a body", Make: func() Knobs { return Knobs{Say: BodyAtFirst("*")} }},
		{Rows: "R3", Name: "NIL for a body", Make: func() Knobs { return Knobs{Say: BodyAtFirst("NIL")} }},
		{Rows: "R22", Name: "bodies longer than announced", Make: func() Knobs { return Knobs{Say: WrongLength(-2)} }},
		{Rows: "R22", Name: "bodies shorter than announced", Make: func() Knobs { return Knobs{Say: WrongLength(2)} }},
		{Rows: "S19", Name: "headers differ each time", Make: func() Knobs { return Knobs{Bytes: Rewritten()} }},
		{Rows: "I4", Name: "sequence numbers of no message", Make: say(WrongNumbers)},
		{Rows: "I5 M20 S12 S14 S17", Name: "ENVELOPE is refused", Make: answer(asks("BAD", "UID FETCH", "ENVELOPE")), Naive: []string{"UID FETCH 1 (ENVELOPE)"}},
		{Rows: "M6 C5 G9 S16", Name: "BODYSTRUCTURE is refused", Make: answer(asks("BAD", "UID FETCH", "BODYSTRUCTURE")), Naive: []string{"UID FETCH 1 (BODYSTRUCTURE)"}},
		{Rows: "G10", Name: "macros end the session", Make: answer(asks(Cut, "UID FETCH", " ALL", " FAST", " FULL")), Naive: []string{"UID FETCH 1 ALL"}},

		// What is kept of what it is given.
		{Rows: "M13", Name: "recipients of what was sent are others", Make: func() Knobs { return Knobs{Kept: Readdressed} }},
		{Rows: "M12", Name: "the Message-ID of what was sent is another", Make: func() Knobs { return Knobs{Kept: Renamed} }},

		// What was deleted.
		{Rows: "S6 I4", Name: "VANISHED names all but one", Make: func() Knobs { return Knobs{Vanished: AllButOne} }, Steps: "QRESYNC"},
		{Rows: "S7", Name: "VANISHED without end", Make: func() Knobs { return Knobs{Vanished: func(Command, []uint32) string { return "1:*" }} }, Steps: "QRESYNC"},
		{Rows: "S7", Name: "VANISHED on any command", Make: say(Before("OK done", "* VANISHED 700:702\r\n* VANISHED 900:*")), Steps: "QRESYNC"},
		{Rows: "I4", Name: "VANISHED is forgotten", Make: func() Knobs { return Knobs{Vanished: func(Command, []uint32) string { return "" }} }, Steps: "QRESYNC"},
		{Rows: "I4", Name: "VANISHED makes no sense", Make: func() Knobs { return Knobs{Vanished: func(Command, []uint32) string { return "1:2:3,," }} }, Steps: "QRESYNC"},
		{Rows: "I4", Name: "ENABLE without ENABLED", Make: func() Knobs { return Knobs{Unenabled: true} }, Steps: "QRESYNC"},

		// Search.
		{Rows: "M8", Name: "ESEARCH finds nothing", Make: say(NothingFound), Steps: extended},
		{Rows: "Y15", Name: "ESEARCH without UID", Make: say(Swap("* ESEARCH", ") UID ", ") ")), Steps: extended},
		{Rows: "S8", Name: "SEARCH where ESEARCH is due", Make: say(PlainSearch), Steps: extended},
		{Rows: "Y8", Name: "SEARCH is refused", Make: answer(Always("NO [SERVERBUG] no", "UID SEARCH"))},
		{Rows: "R15 S20", Name: "SEARCH is unknown", Make: answer(Always("BAD what?", "UID SEARCH"))},
		{Rows: "S15 C3", Name: "SEARCH finds nothing", Make: func() Knobs {
			return Knobs{Found: func(Command, uint32, bool) bool { return false }}
		}},
		{Rows: "Y2", Name: "SEARCH NOT finds nothing", Make: func() Knobs { return Knobs{Found: NothingNot} }, Naive: []string{"UID SEARCH NOT SEEN"}},
		{Rows: "C3 C6 R5", Name: "SEARCH by date finds everything", Make: func() Knobs { return Knobs{Found: EveryDate} }, Naive: []string{"UID SEARCH SINCE 1-Jan-2030"}},

		// The protocol.
		{Rows: "S9", Name: "a FETCH of sequence number 0", Make: say(Before("FETCH (", "* 0 FETCH (FLAGS ())"))},
		{Rows: "S7", Name: "news among the answers", Make: say(Before("OK done", "* 1 FETCH (FLAGS (\\Seen $Other))"))},
		{Rows: "M3", Name: "lines of another protocol", Make: say(Before("* LIST", "Server is thinking"))},
		{Rows: "M3", Name: "unavailable now and then", Make: func() Knobs { return Knobs{Say: Unavailable(3)} }},
		{Rows: "M18", Name: "a + that nobody asked for", Make: say(Before("OK done", "+ "))},
		{Rows: "S26", Name: "tags that were never sent", Make: say(Before("OK done", "A99 OK not yours"))},
		{Rows: "R19", Name: "NULs before every line", Make: say(Zeros)},
		{Rows: "M10 R9", Name: "ID is refused", Make: answer(Always("BAD no", "ID"))},
		{Rows: "C1", Name: "ID is asked for before any folder", Make: func() Knobs { return Knobs{Answer: NetEase().Answer} }, Naive: []string{"SELECT INBOX"}},
		{Rows: "C4", Name: "sets must ascend", Make: func() Knobs { return Knobs{Ascending: true} }, Naive: []string{"UID FETCH 2,1 (FLAGS)"}},
		{Rows: "I6", Name: "ANNOTATE is offered and refused", Make: func() Knobs {
			return Knobs{Caps: "ANNOTATE-EXPERIMENT-1", Answer: asks("BAD", "SELECT", "ANNOTATE")}
		}, Naive: []string{"SELECT INBOX (ANNOTATE)"}},
		{Rows: "R9", Name: "items of extensions that are not offered are refused", Make: answer(asks("BAD expected fetch-att", "UID FETCH", "X-GM-", "PREVIEW", "SAVEDATE")),
			Naive: []string{"UID FETCH 1 (X-GM-MSGID)"}},

		// Limits and failures.
		{Rows: "Y3", Name: "sessions of twenty commands", Make: func() Knobs { return Knobs{Life: 20} }},
		{Rows: "R2", Name: "BYE again and again", Make: func() Knobs { return Knobs{Life: 24, Say: ManyGoodbyes} }},
		{Rows: "M4", Name: "BYE after two refusals", Make: func() Knobs {
			return Knobs{Errors: 2, Answer: First(5, "BAD Command Argument Error. 12", "UID FETCH", "STATUS")}
		}},
		{Rows: "Y4", Name: "banned for a while", Make: once(2, "NO [UNAVAILABLE] LOGIN Server error - Please try again later", "AUTHENTICATE", "LOGIN")},
		{Rows: "Y5", Name: "no further connection for a while", Make: once(2, "NO [LIMIT] LOGIN Maximum number of connections reached", "AUTHENTICATE", "LOGIN")},
		{Rows: "G2", Name: "too many connections for a while", Make: once(2, "NO [ALERT] Too many simultaneous connections. (Failure)", "AUTHENTICATE", "LOGIN")},
		{Rows: "R16 S1", Name: "too many connections from this address for a while", Make: once(2,
			"NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", "AUTHENTICATE", "LOGIN")},
		{Rows: "Y6", Name: "LIMIT now and then", Make: once(4, "NO [LIMIT] Rate limit hit.", "EXAMINE", "UID FETCH", "STATUS")},
		{Rows: "Y7", Name: "a message that fails every FETCH, for a while", Make: func() Knobs {
			return Knobs{Answer: Poison(6, 5, "NO [UNAVAILABLE] UID FETCH Server error while fetching messages")}
		}},
		{Rows: "M22", Name: "a message that cannot be converted, for a while", Make: func() Knobs { return Knobs{Answer: Poison(6, 5, "BAD Command Argument Error. 11")} }},
		{Rows: "Y9", Name: "three messages a command", Make: func() Knobs { return Knobs{Caps: "MESSAGELIMIT=3"} }},
		{Rows: "Y9 Y10", Name: "the newest one, but for UIDONLY", Make: func() Knobs { return Knobs{Caps: "XYMHIGHESTMODSEQ", Limited: 1} }, Steps: extended, Naive: []string{"SELECT INBOX"}},
		{Rows: "G3", Name: "bandwidth is used up", Make: once(3, "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "UID FETCH")},
		{Rows: "G3", Name: "the session is over", Make: once(2, "BYE Session expired, please login again.", "UID FETCH")},
		{Rows: "G4", Name: "each success asks to slow down", Make: say(Throttled)},
		{Rows: "M1", Name: "logged in, not connected", Make: once(3, "BAD User is authenticated but not connected.", "EXAMINE")},
		{Rows: "M2", Name: "throttled in words", Make: once(3, "BAD Request is throttled. Suggested Backoff Time: 9 milliseconds", "UID FETCH")},
		{Rows: "S3", Name: "a lock that is not had", Make: once(3, "NO [INUSE] Timeout while waiting for lock", "EXAMINE", "STATUS")},
		{Rows: "S3", Name: "inactive, it says", Make: once(2, "BYE Disconnected for inactivity.", "EXAMINE", "UID FETCH")},
		{Rows: "S13", Name: "STATUS and LIST fail now and then", Make: once(3, "NO [UNAVAILABLE] later", "STATUS", "LIST")},
		{Rows: "R1", Name: "connections that end without a word", Make: once(2, Cut, "LIST")},
	}
}

// asks is an Answer to commands of a name that hold one of some words.
func asks(text, name string, words ...string) func(Command) string {
	return func(c Command) string {
		if c.Name == name && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(c.Args, w) }) {
			return text
		}
		return ""
	}
}
