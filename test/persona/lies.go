package persona

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// What follows are values of knobs, to be put together.

// Any returns the first answer of several.
func Any(answers ...func(Command) string) func(Command) string {
	return func(c Command) string {
		for _, a := range answers {
			if text := a(c); text != "" {
				return text
			}
		}
		return ""
	}
}

// Each applies one Say after the other, to each of the lines that the one before made of one.
func Each(says ...func(Command, string) string) func(Command, string) string {
	return func(c Command, line string) string {
		for _, say := range says {
			line = say(c, line)
		}
		return line
	}
}

// Now applies a Say to every nth line.
func Now(n int64, say func(Command, string) string) func(Command, string) string {
	var lines atomic.Int64
	return func(c Command, line string) string {
		if lines.Add(1)%n == 0 {
			return say(c, line)
		}
		return line
	}
}

// Extended answers LIST ... RETURN (Proton: BAD; STRATO: OK and no folder).
func Extended(answer string) func(Command) string {
	return func(c Command) string {
		if c.Name == "LIST" && strings.Contains(c.Args, "RETURN") {
			return answer
		}
		return ""
	}
}

// EveryDate finds every message by date, or by text (QQ, Yandex).
func EveryDate(c Command, _ uint32, hit bool) bool {
	for _, key := range []string{"BEFORE ", "ON ", "SINCE ", "SUBJECT ", "FROM "} {
		if strings.Contains(c.Args, key) {
			return true
		}
	}
	return hit
}

// NothingNot finds nothing by NOT (Yahoo).
func NothingNot(c Command, _ uint32, hit bool) bool { return hit && !strings.Contains(c.Args, "NOT ") }

// EmptyStatus leaves everything out of STATUS (163).
func EmptyStatus(_ Command, line string) string {
	if head, _, ok := strings.Cut(line, " ("); ok && strings.HasPrefix(line, "* STATUS ") {
		return head + " ()"
	}
	return line
}

// Unavailable says so, outside of the protocol, in place of the first n lists of folders (Exchange Online).
func Unavailable(n int64) func(Command, string) string {
	var done atomic.Int64
	return func(_ Command, line string) string {
		if strings.HasPrefix(line, "* LIST ") && done.Add(1) <= n {
			return "Server Unavailable. 15"
		}
		return line
	}
}

// BareNames writes the names of folders without quotes, and what is in them as it is (Exchange).
func BareNames(_ Command, line string) string {
	at := strings.Index(line, `) "/" "`)
	if at < 0 || !strings.HasPrefix(line, "* LIST ") {
		return line
	}
	at += len(`) "/" `)
	name, rest := line[at+1:], ""
	if end := strings.LastIndexByte(name, '"'); end >= 0 {
		name, rest = name[:end], name[end+1:]
	}
	return line[:at] + strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(name) + rest
}

// StrayCopyUID tells COPYUID without OK (Exchange).
func StrayCopyUID(_ Command, line string) string {
	return strings.Replace(line, "* OK [COPYUID", "* [COPYUID", 1)
}

var copied = regexp.MustCompile(`\[COPYUID (\d+) [^]]*\]`)

// ShortCopyUID tells COPYUID without its sets (Exchange).
func ShortCopyUID(_ Command, line string) string {
	return copied.ReplaceAllString(line, "[COPYUID $1]")
}

var appended = regexp.MustCompile(`\[APPENDUID (\d+) (\d+)\]`)

// WrongAppendUID tells of the first message of a folder after each APPEND (Tobit, MailEnable, FTGate).
func WrongAppendUID(_ Command, line string) string {
	return appended.ReplaceAllString(line, "[APPENDUID $1 1]")
}

// NoChildren says so of every folder (FirstClass).
func NoChildren(_ Command, line string) string {
	if rest, ok := strings.CutPrefix(line, "* LIST ("); ok {
		return `* LIST (\HasNoChildren ` + rest
	}
	return line
}

// ManyGoodbyes repeats BYE (Yandex).
func ManyGoodbyes(_ Command, line string) string {
	if strings.HasPrefix(line, "* BYE") {
		return strings.Repeat(line+"\r\n", 20) + line
	}
	return line
}

// NoBodyAtFirst leaves the bytes of every fifth message out the first time that they are asked for (Yandex).
func NoBodyAtFirst() func(Command, string) string {
	asked := newSet[string]()
	return func(c Command, line string) string {
		_, uid := rowUID(line)
		if uid%5 != 0 || !strings.Contains(line, " BODY[] {") || asked.has(fmt.Sprint(c.Folder, uid)) {
			return line
		}
		asked.add(fmt.Sprint(c.Folder, uid))
		head, _, _ := strings.Cut(line, " BODY[] {")
		return head + ")"
	}
}

// NoUIDAtFirst leaves the UID of every fifth message out the first time that it is told of (Zoho).
func NoUIDAtFirst() func(Command, string) string {
	told := newSet[string]()
	return func(c Command, line string) string {
		text, uid := rowUID(line)
		if uid == 0 || uid%5 != 0 || told.has(fmt.Sprint(c.Folder, uid)) {
			return line
		}
		told.add(fmt.Sprint(c.Folder, uid))
		return strings.Replace(line, text+" ", "", 1)
	}
}

// rowUID finds the UID in an answer to FETCH: "UID 5" and 5; 0 if there is none.
func rowUID(line string) (text string, uid uint32) {
	_, rest, ok := strings.Cut(line, " FETCH (UID ")
	if !ok || !strings.HasPrefix(line, "* ") {
		return "", 0
	}
	_, _ = fmt.Sscan(rest, &uid)
	return fmt.Sprint("UID ", uid), uid
}

// NegativeModSeq says -1 for every MODSEQ of a message (Zoho).
func NegativeModSeq(_ Command, line string) string {
	if strings.Contains(line, " FETCH (") {
		return modseq.ReplaceAllString(line, "MODSEQ (-1)")
	}
	return line
}

var modseq = regexp.MustCompile(`MODSEQ \(\d+\)`)

// StarredFlags says that messages have the flag \* (Zoho).
func StarredFlags(_ Command, line string) string {
	if strings.HasPrefix(line, "* FLAGS (") {
		return strings.Replace(line, ")", ` \*)`, 1)
	}
	return line
}

// ZeroFetch tells of message 0 before others (Courier).
func ZeroFetch(_ Command, line string) string {
	if strings.HasPrefix(line, "* 1 FETCH (") {
		return "* 0 FETCH (FLAGS ())\r\n" + line
	}
	return line
}

// FlagsBeforeIdle tells of flags before it lets IDLE go on (Courier).
func FlagsBeforeIdle(c Command, line string) string {
	if c.Name == "IDLE" && strings.HasPrefix(line, "+ ") {
		return "* FLAGS (\\Answered \\Seen)\r\n" + line
	}
	return line
}

// Rewritten returns a Bytes that gives headers with other white space each time, and with a field of their own, when they are asked
// for without the whole (DBmail, Domino).
func Rewritten() func(Command, uint32, []byte) []byte {
	var times atomic.Int64
	return func(c Command, _ uint32, raw []byte) []byte {
		if strings.Contains(c.Args, "BODY.PEEK[]") {
			return raw
		}
		n := int(times.Add(1))
		raw = bytes.Replace(raw, []byte("Subject: "), []byte("Subject:"+strings.Repeat(" ", 1+n%3)), 1)
		return append(fmt.Appendf(nil, "X-Served: %d\r\n", n%7), raw...)
	}
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

// Always returns an Answer to every command with one of these names.
func Always(answer string, names ...string) func(Command) string {
	return First(1<<30, answer, names...)
}

// Of returns those answers that are about a folder.
func Of(folder string, answer func(Command) string) func(Command) string {
	return func(c Command) string {
		if c.Folder != folder {
			return ""
		}
		return answer(c)
	}
}

// Swap returns a Say that replaces a text in the lines that hold another.
func Swap(in, from, to string) func(Command, string) string {
	return func(_ Command, line string) string {
		if strings.Contains(line, in) {
			return strings.ReplaceAll(line, from, to)
		}
		return line
	}
}

// Before returns a Say that says something more before the lines that hold a text, once the client is logged in.
func Before(what, extra string) func(Command, string) string {
	return func(c Command, line string) string {
		if strings.Contains(line, what) && c.Name != "" && c.Name != "AUTHENTICATE" && c.Name != "LOGIN" {
			return extra + "\r\n" + line
		}
		return line
	}
}

// Twice says every FETCH a second time.
func Twice(_ Command, line string) string {
	if strings.Contains(line, "FETCH (") {
		return line + "\r\n" + line
	}
	return line
}

// Respelt returns a Say that lists a folder, and what is below it, under the other name in every second session (Yahoo's INBOX; folders of
// servers to which case is nothing).
func Respelt(name, other string) func(Command, string) string {
	return func(c Command, line string) string {
		if c.Session%2 == 0 || !strings.HasPrefix(line, "* LIST ") {
			return line
		}
		return strings.NewReplacer(`"`+name+`"`, `"`+other+`"`, `"`+name+`/`, `"`+other+`/`).Replace(line)
	}
}

// NothingIn says what it is told to of the UIDVALIDITY of folders that are empty from the start, and the truth of the others.
func NothingIn(what string) func(Command, uint32) string {
	return func(c Command, v uint32) string {
		switch c.Folder {
		case "Sent", "Drafts", "Junk", "Trash":
			return what
		}
		return fmt.Sprint(v)
	}
}

// OwnItems gives an item that nobody asked for with every message (AOL).
func OwnItems(_ Command, line string) string {
	return strings.Replace(line, " FETCH (", ` FETCH (XAOL.SPAM.REASON (a (b "c)")) `, 1)
}

// OtherOrder gives the UID behind all other items (Exchange).
func OtherOrder(_ Command, line string) string {
	text, uid := rowUID(line)
	if uid == 0 || !strings.HasPrefix(line[strings.Index(line, text)+len(text):], " ") {
		return line
	}
	return strings.TrimSuffix(strings.Replace(line, text+" ", "", 1), ")") + " " + text + ")"
}

var fetched = regexp.MustCompile(`^\* (\d+) FETCH \(UID`)

// WrongNumbers has sequence numbers that are those of no message (iCloud).
func WrongNumbers(_ Command, line string) string {
	return fetched.ReplaceAllString(line, "* 9${1} FETCH (UID")
}

// Growing tells of a folder's messages as it counts them (Zimbra).
func Growing(_ Command, line string) string {
	if strings.HasSuffix(line, " EXISTS") {
		return "* 0 EXISTS\r\n* 1 EXISTS\r\n" + line
	}
	return line
}

// Zeros says NULs before every line (seen by imapflow).
func Zeros(_ Command, line string) string { return "\x00\x00" + line }

// Codes says nothing behind a code (Gmail).
func Codes(_ Command, line string) string {
	if code, ok := strings.CutSuffix(line, "] ok"); ok {
		return code + "]"
	}
	return line
}

// PlainSearch answers as SEARCH does where ESEARCH was asked for (Cyrus 2.4).
func PlainSearch(_ Command, line string) string {
	rest, ok := strings.CutPrefix(line, "* ESEARCH ")
	if !ok {
		return line
	}
	out := "* SEARCH"
	if _, set, ok := strings.Cut(rest, " ALL "); ok {
		found, _ := parseNumbers(set, 0)
		for _, r := range found {
			for n := r[0]; n <= r[1]; n++ {
				out += fmt.Sprint(" ", n)
			}
		}
	}
	return out
}

var counted = regexp.MustCompile(` BODY\[\] \{(\d+)\}\r\n`)

// WrongLength returns a Say that announces bodies longer or shorter than they are, each the first time.
func WrongLength(by int) func(Command, string) string {
	return atFirst(func(line string) string {
		return counted.ReplaceAllStringFunc(line, func(head string) string {
			var n int
			_, _ = fmt.Sscanf(head, " BODY[] {%d}", &n)
			return fmt.Sprintf(" BODY[] {%d}\r\n", n+by)
		})
	})
}

// BodyAtFirst returns a Say that gives something else for a body, for every fifth message the first time (Yandex: "*", "NIL").
func BodyAtFirst(text string) func(Command, string) string {
	return atFirst(func(line string) string {
		head, _, _ := strings.Cut(line, " BODY[] {")
		return head + " BODY[] " + text + ")"
	})
}

// atFirst applies change to the bodies of every fifth message the first time that they are asked for.
func atFirst(change func(string) string) func(Command, string) string {
	asked := newSet[string]()
	return func(c Command, line string) string {
		_, uid := rowUID(line)
		if uid%5 != 0 || !strings.Contains(line, " BODY[] {") || asked.has(fmt.Sprint(c.Folder, uid)) {
			return line
		}
		asked.add(fmt.Sprint(c.Folder, uid))
		return change(line)
	}
}

// Poison returns an Answer to the first n commands of INBOX that fetch a message, whatever others they fetch (Yahoo, Exchange).
func Poison(n int64, uid uint32, answer string) func(Command) string {
	var done atomic.Int64
	return func(c Command) string {
		set, _, _ := strings.Cut(c.Args, " ")
		asked, ok := parseNumbers(set, noLimit32)
		if c.Name != "UID FETCH" || c.Folder != "INBOX" || !ok || !asked.has(uid) || done.Add(1) > n {
			return ""
		}
		return answer
	}
}

// Readdressed is a Kept that writes other addresses for the recipients, and takes Bcc out (Exchange Online).
func Readdressed(_ Command, raw []byte) []byte {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	var out bytes.Buffer
	for line := range strings.SplitSeq(string(head), "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "bcc":
			continue
		case "to", "cc":
			line = name + ": outlook_4A6F@outlook.com"
		}
		out.WriteString(line + "\r\n")
	}
	return append(append(out.Bytes(), "\r\n"...), body...)
}

// Renamed is a Kept that gives a message another Message-ID and keeps the one that it had in a field of its own (Exchange Online).
func Renamed(_ Command, raw []byte) []byte {
	return bytes.Replace(raw, []byte("Message-ID: "), []byte("Message-ID: <AS8P2@eurprd05.prod.outlook.com>\r\nX-Microsoft-Original-Message-ID: "), 1)
}
