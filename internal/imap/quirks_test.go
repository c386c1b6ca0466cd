package imap

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/test/persona"
)

// A quirk is something real servers do on the wire that differs from the standards or from what one expects, and what has
// to come of it. The names are those of persona.Rows.
type quirk struct {
	id   string
	what string
	caps string // of the server, besides IMAP4rev1
	play string // transcript after the greeting
	want string // lines, each a part of one line of the outcome, in this order
}

var quirks = []quirk{
	{"Y1", "INBOX is spelled Inbox", "", `
> statuses INBOX
C: P1 STATUS "INBOX" (MESSAGES UIDNEXT UIDVALIDITY)
S: * STATUS "Inbox" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5)
S: P1 OK`, `"INBOX" {Messages:3`},
	{"Y3", "connection closed without a word", "", `
> noop
C: P1 NOOP
X`, `network: imap NOOP: EOF (dead)`},
	{"Y4", "banned for minutes: login refused for now", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [UNAVAILABLE] LOGIN Server error - Please try again later`, `account: imap LOGIN`},
	{"Y5", "too many connections at login", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [LIMIT] LOGIN Maximum number of connections reached`, `account: imap LOGIN`},
	{"Y6", "rate limit is no missing folder", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: P1 NO [LIMIT] SELECT Rate limit hit.
> store 1 \Seen
C: P2 UID STORE 1 +FLAGS.SILENT (\Seen)
S: P2 NO [LIMIT] UID STORE Rate limit hit.`, "account: imap SELECT\naccount: imap STORE"},
	{"Y7", "one message fails the whole FETCH", "", `
> fetch 1:3 flags
C: P1 UID FETCH 1:3 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS ())
S: P1 NO [UNAVAILABLE] UID FETCH Server error while fetching messages
> noop
C: P2 NOOP
S: P2 OK`, "row 1 uid 1\ntransient: imap FETCH\nok"},
	{"Y8", "search fails with SERVERBUG", "", `
> search SUBJECT x
C: P1 UID SEARCH SUBJECT x
S: P1 NO [SERVERBUG] UID SEARCH Server error`, "transient: imap SEARCH"},
	{"Y9", "only the newest thousand", "MESSAGELIMIT=1000 UIDONLY", `
> fetch 1:9 flags
C: P1 UID FETCH 1:9 (UID FLAGS)
S: * 9 UIDFETCH (FLAGS (\Seen))
S: P1 OK [MESSAGELIMIT 1000 9] done`, "row 0 uid 9 flags\ntransient: imap FETCH: OK [MESSAGELIMIT]"},
	{"Y10", "private capability is not CONDSTORE", "XYMHIGHESTMODSEQ", `
> select INBOX condstore
C: P1 SELECT "INBOX"
S: * OK [HIGHESTMODSEQ 77] x
S: * 1 EXISTS
S: P1 OK done`, "HighestModSeq:77"},
	{"Y12", "APPEND must end in CRLF", "", `
> append INBOX "a: b"
C: P1 APPEND "INBOX" {6}
S: + go
C: a: b
C: 
S: P1 OK done`, "ok"},
	{"Y14", "missing folder", "", `
> select Nowhere
C: P1 SELECT "Nowhere"
S: P1 NO [NONEXISTENT] Unknown Mailbox: Nowhere (Failure)
> select Nowhere
C: P2 SELECT "Nowhere"
S: P2 NO Unknown Mailbox: Nowhere`, "permanent: imap SELECT: NO [NONEXISTENT]\npermanent: imap SELECT: NO"},
	{"Y15", "ESEARCH without UID, items of their own", "ESEARCH", `
> search ALL
C: P1 UID SEARCH RETURN (ALL) ALL
S: * ESEARCH (TAG "P1") ALL 1:3
S: P1 OK
> fetch 1:3 flags items
C: P2 UID FETCH 1:3 (UID FLAGS XAOL.SPAM.REASON)
S: * 1 FETCH (XAOL.SPAM.REASON (a (b "c)")) UID 1 FLAGS ())
S: P2 OK`, "1:3\nrow 1 uid 1 flags [] XAOL.SPAM.REASON"},
	{"I3", "OK without the body", "", `
> fetch 7 body
C: P1 UID FETCH 7 (UID BODY.PEEK[])
S: * 1 FETCH (UID 7)
S: P1 OK`, "row 1 uid 7\nok"},
	{"I4", "QRESYNC that nobody confirmed is not used", "ENABLE QRESYNC CONDSTORE", `
> enable QRESYNC
C: P1 ENABLE QRESYNC
S: P1 OK
> resync INBOX
C: P2 SELECT "INBOX"
S: * OK [UIDVALIDITY 7] x
S: P2 OK`, "[]\nexists 0 resync false vanished"},
	{"I5", "unescaped quotes in a Message-ID", "", `
> fetch 1:2 envelope
C: P1 UID FETCH 1:2 (UID ENVELOPE)
S: * 1 FETCH (ENVELOPE (NIL "s" NIL NIL NIL NIL NIL NIL NIL "<a"b@c>") UID 1)
S: * 2 FETCH (UID 2 ENVELOPE (NIL "t" NIL NIL NIL NIL NIL NIL NIL "<d@c>"))
S: P1 OK`, `row 1 uid 1 envelope "{ s [] [] [] [] [] []  <a\"b@c>}"` + "\n" + `row 2 uid 2`},
	{"G1", "one message in many labels", "X-GM-EXT-1", `
> fetch 1 gmail
C: P1 UID FETCH 1 (UID X-GM-MSGID X-GM-THRID X-GM-LABELS)
S: * 1 FETCH (X-GM-THRID 5 X-GM-MSGID 6 X-GM-LABELS (\Inbox) UID 1)
S: P1 OK`, `gmail 6 5 ["\\Inbox"]`},
	{"G2", "15 connections", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [ALERT] Too many simultaneous connections. (Failure)`, "unasked alert\naccount: imap LOGIN"},
	{"G3", "download limit", "", `
> fetch 1 flags
C: P1 UID FETCH 1 (UID FLAGS)
S: P1 NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)
> noop
C: P2 NOOP
S: * BYE Session expired, please login again.`, "account: imap FETCH\nunasked bye\naccount: imap NOOP"},
	{"G4", "THROTTLED on success", "", `
> noop
C: P1 NOOP
S: P1 OK Success [THROTTLED]`, "unasked throttled OK [THROTTLED]\nok"},
	{"G8", "codes without text, MODSEQ 0, brackets in keywords", "CONDSTORE", `
> select INBOX condstore
C: P1 SELECT "INBOX" (CONDSTORE)
S: * OK [HIGHESTMODSEQ 123]
S: * OK [PERMANENTFLAGS (\Seen [x]+y \*)]
S: * FLAGS (\Seen [x]+y)
S: * 1 EXISTS
S: P1 OK
> fetch 1 flags modseq
C: P2 UID FETCH 1 (UID FLAGS MODSEQ)
S: * 1 FETCH (UID 1 MODSEQ (0) FLAGS ([x]+y \Seen))
S: P2 OK`, `HighestModSeq:123 NoModSeq:false ReadOnly:false Flags:[\Seen [x]+y] PermanentFlags:[\Seen [x]+y \*]` + "\n" +
		`row 1 uid 1 flags ["[x]+y" "\\Seen"]`},
	{"G9", "empty multiparts, rfc822 as a basic part", "", `
> fetch 1:2 structure
C: P1 UID FETCH 1:2 (UID BODYSTRUCTURE)
S: * 1 FETCH (UID 1 BODYSTRUCTURE ("ALTERNATIVE" ("BOUNDARY" "x") NIL NIL))
S: * 2 FETCH (UID 2 BODYSTRUCTURE ("MESSAGE" "RFC822" NIL NIL NIL "BASE64" 45))
S: P1 OK`, "row 1 uid 1\nrow 2 uid 2 structure message/rfc822"},
	{"G10", "quotas beyond 32 bits, names it refuses", "QUOTA", `
> quotas INBOX
C: P1 GETQUOTAROOT "INBOX"
S: * QUOTA "" (STORAGE 12345678901 98765432101)
S: P1 OK
> create " x"
C: P2 CREATE " x"
S: P2 NO [CANNOT] Folder contains excess whitespace (Failure)`, "Usage:12345678901 Limit:98765432101\npermanent: imap CREATE"},
	{"G12", "login in a browser is wanted", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [ALERT] Please log in via your web browser: https://example.org (Failure)
> login u p
C: P2 LOGIN "u" "p"
S: P2 NO [ALERT] Application-specific password required`, "auth: imap LOGIN\nauth: imap LOGIN"},
	{"G14", "a parent that can't be opened", "", `
> list
C: P1 LIST "" "*"
S: * LIST (\HasChildren \Noselect) "/" "[Gmail]"
S: P1 OK
> select [Gmail]
C: P2 SELECT "[Gmail]"
S: P2 NO [NONEXISTENT] Invalid folder: [Gmail] (Failure)`, `\\Noselect` + "\npermanent: imap SELECT"},
	{"M1", "logged in but not connected", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: P1 BAD User is authenticated but not connected.
> noop
C: P2 NOOP
S: * BYE Connection closed. 14`, "account: imap SELECT\nnetwork: imap NOOP: BYE"},
	{"M2", "throttling in words", "", `
> fetch 1 flags
C: P1 UID FETCH 1 (UID FLAGS)
S: P1 BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds`, "account: imap FETCH: BAD \"Request is throttled. Suggested Backoff Time: 299961 milliseconds\" wait 4m59.961s"},
	{"M3", "a line outside of the protocol", "", `
> noop
C: P1 NOOP
S: Server Unavailable. 15`, "account: imap NOOP"},
	{"M6", "malformed BODYSTRUCTURE", "", `
> fetch 1:2 structure
C: P1 UID FETCH 1:2 (UID BODYSTRUCTURE)
S: * 1 FETCH (UID 1 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" -2 0 NIL "inline" NIL))
S: * 2 FETCH (UID 2 BODYSTRUCTURE (NIL NIL NIL))
S: P1 OK`, "row 1 uid 1 structure text/plain 0 parts map[] 0\nrow 2 uid 2"},
	{"M7", "COPYUID without OK, or with sets missing", "MOVE", `
> move 1 X
C: P1 UID MOVE 1 "X"
S: * [COPYUID 124 1 233]
S: P1 OK done
> move 2 X
C: P2 UID MOVE 2 "X"
S: * OK [COPYUID 14] x
S: P2 OK done`, "done 1; 124: 1>233\nok\ndone 2; 0:\nok"},
	{"M8", "an empty ESEARCH is not believed", "ESEARCH", `
> select INBOX
C: P1 SELECT "INBOX"
S: * 3 EXISTS
S: P1 OK
> search ALL
C: P2 UID SEARCH RETURN (ALL) ALL
S: * ESEARCH (TAG "P2") UID
S: P2 OK
C: P3 UID SEARCH ALL
S: * SEARCH 1 2 3
S: P3 OK`, "\n1:3\nok"},
	{"M9", "blank at the end of STATUS", "", `
> statuses INBOX
C: P1 STATUS "INBOX" (MESSAGES UIDNEXT UIDVALIDITY)
S: * STATUS INBOX (MESSAGES 0 ) \
S:  
S: P1 OK `, `"INBOX" {Messages:0`},
	{"M10", "ID is refused", "ID", `
> id name x
C: P1 ID ("name" "x")
S: P1 BAD Command Error. 12
> noop
C: P2 NOOP
S: P2 OK`, "permanent: imap ID\nok"},
	{"M11", "names with tabs and quotes", "", `
> list
C: P1 LIST "" "*"
S: * LIST () "/" a` + "\t" + `b c
S: * LIST () "/" "say "hi" now"
S: * LIST ((
S: * LIST () "/" INBOX
S: P1 OK`, `"a\tb c"` + "\n" + `"say \"hi\" now"` + "\nunreadable line\n\"INBOX\"\nok"},
	{"M15", "items in another order, wrong size", "", `
> fetch 84 size body
C: P1 UID FETCH 84 (UID RFC822.SIZE BODY.PEEK[])
S: * 1 FETCH (RFC822.SIZE 45274 BODY[] {2}
S: a: UID 84)
S: P1 OK`, `row 1 uid 84 size 45274 body "a:"`},
	{"M18", "go-aheads nobody needs, NAMESPACE drops the connection", "NAMESPACE", `
> noop
C: P1 NOOP
S: + 
S: P1 OK
> namespace
C: P2 NAMESPACE
X`, "ok\nnetwork: imap NAMESPACE"},
	{"M20", "address without host", "", `
> fetch 1 envelope
C: P1 UID FETCH 1 (UID ENVELOPE)
S: * 1 FETCH (UID 1 ENVELOPE (NIL NIL (("Microsoft Exchange Server" NIL NIL ".MISSING-HOST-NAME.")) NIL NIL NIL NIL NIL NIL NIL))
S: P1 OK`, "{Microsoft Exchange Server  .MISSING-HOST-NAME.}"},
	{"M21", "shared mailbox needs LOGIN", "AUTH=PLAIN SASL-IR", `
> login "u\\shared" p
C: P1 LOGIN "u\\shared" "p"
S: P1 OK [CAPABILITY IMAP4rev1]`, "ok"},
	{"M22", "a message that can't be converted", "", `
> fetch 1 flags
C: P1 UID FETCH 1 (UID FLAGS)
S: P1 NO The message could not be converted.
> fetch 1 flags
C: P2 UID FETCH 1 (UID FLAGS)
S: P2 BAD Command Argument Error. 11
> noop
C: P3 NOOP
S: P3 OK`, "transient: imap FETCH\npermanent: imap FETCH\nok"},
	{"C1", "nothing before ID", "ID", `
> select INBOX
C: P1 SELECT "INBOX"
S: P1 NO SELECT Unsafe Login. Please contact kefu@188.com for help
> id name posthorn
C: P2 ID ("name" "posthorn")
S: * ID NIL
S: P2 OK`, "transient: imap SELECT\nmap[]\nok"},
	{"C2", "no UIDNEXT, empty STATUS", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: * 3 EXISTS
S: * OK [UIDVALIDITY 1]
S: P1 OK
> statuses INBOX
C: P2 STATUS "INBOX" (MESSAGES UIDNEXT UIDVALIDITY)
S: * STATUS INBOX ()
S: P2 OK`, "HasUIDNext:false HasUIDValidity:true\nHas:0}"},
	{"C4", "sets must ascend", "", `
> fetch 9,3:1,7 flags
C: P1 UID FETCH 1:3,7,9 (UID FLAGS)
S: P1 OK`, "ok"},
	{"C5", "empty multipart", "", `
> fetch 1 structure
C: P1 UID FETCH 1 (UID BODYSTRUCTURE)
S: * 1 FETCH (UID 1 BODYSTRUCTURE (("mixed" NIL NIL NIL) "mixed" ("boundary" "x")))
S: P1 OK`, "row 1 uid 1"},
	{"C8", "names in modified UTF-7", "", `
> list
C: P1 LIST "" "*"
S: * LIST () "/" "&vPSwuA-"
S: P1 OK`, `"&vPSwuA-" name "보낸"`},
	{"C9", "UIDVALIDITY 0", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: * OK [UIDVALIDITY 0] x
S: P1 OK`, "UIDValidity:0 HighestModSeq:0 NoModSeq:false ReadOnly:false Flags:[] PermanentFlags:[] MailboxID: HasExists:false HasUIDNext:false HasUIDValidity:true"},
	{"R1", "IDLE ends at random", "IDLE", `
> idle 9
C: P1 IDLE
S: + idling
X`, "network: imap IDLE"},
	{"R2", "BYE again and again", "", `
> noop
C: P1 NOOP
S: * BYE x
S: * BYE x
S: * BYE x`, "unasked bye\nnetwork: imap NOOP: BYE"},
	{"R3", "body left out or garbage", "", `
> fetch 5:6 body
C: P1 UID FETCH 5:6 (UID BODY.PEEK[])
S: * 1 FETCH (UID 5)
S: * 2 FETCH (UID 6 BODY[] *)
S: P1 OK`, "row 1 uid 5\nrow 2 uid 6\nok"},
	{"R6", "decimals", "", `
> fetch 1 size
C: P1 UID FETCH 1 (UID RFC822.SIZE)
S: * 1 FETCH (UID 1 RFC822.SIZE 1234.0)
S: P1 OK`, "size 1234"},
	{"R7", "MODSEQ -1, star among the flags", "CONDSTORE", `
> fetch 1 flags modseq
C: P1 UID FETCH 1 (UID FLAGS MODSEQ)
S: * 1 FETCH (UID 1 MODSEQ (-1) FLAGS (\Seen \*))
S: P1 OK`, `row 1 uid 1 flags ["\\Seen" "\\*"]`},
	{"R8", "FETCH without UID", "", `
> fetch 1 size
C: P1 UID FETCH 1 (UID RFC822.SIZE)
S: * 1 FETCH (RFC822.SIZE 5)
S: P1 OK`, "row 1 uid 0 size 5 ERR imap FETCH: FETCH answer without UID"},
	{"R9", "items that are not offered are not asked", "", `
> fetch 1 flags gmail objectid
C: P1 UID FETCH 1 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS ())
S: P1 OK`, "row 1 uid 1"},
	{"R11", "app passwords", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [AUTHENTICATIONFAILED] Authentication failed`, "auth: imap LOGIN"},
	{"R12", "LIST-EXTENDED returns nothing", "LIST-EXTENDED SPECIAL-USE", `
> list special
C: P1 LIST "" "*" RETURN (SPECIAL-USE)
S: P1 OK
C: P2 LIST "" "*"
S: * LIST () "/" INBOX
S: P2 OK`, `"INBOX"` + "\nok"},
	{"R14", "no UIDVALIDITY for an empty folder", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: * 0 EXISTS
S: P1 OK`, "HasUIDNext:false HasUIDValidity:false"},
	{"R15", "SEARCH ALL is rejected", "", `
> search ALL
C: P1 UID SEARCH ALL
S: P1 BAD wrong arguments passed
> search ALL UID 1:*
C: P2 UID SEARCH ALL UID 1:*
S: * SEARCH 1
S: P2 OK`, "permanent: imap SEARCH\n1\nok"},
	{"R16", "connections for one user and address", "", `
> login u p
C: P1 LOGIN "u" "p"
S: P1 NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=16)`, "account: imap LOGIN"},
	{"R17", "SPECIAL-USE in LIST is BAD", "LIST-EXTENDED SPECIAL-USE", `
> list special
C: P1 LIST "" "*" RETURN (SPECIAL-USE)
S: P1 BAD no
C: P2 LIST "" "*"
S: * LIST () "/" INBOX
S: P2 OK`, `"INBOX"`},
	{"R18", "NIL among the flags, one UID twice", "", `
> fetch 1 flags
C: P1 UID FETCH 1 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS NIL)
S: * 1 FETCH (UID 1 FLAGS (NIL \Seen))
S: P1 OK
> search ALL
C: P2 UID SEARCH ALL
S: * SEARCH 1 1 2
S: P2 OK`, "row 1 uid 1 flags []\nrow 1 uid 1 flags [\"\\\\Seen\"]\nok\n1:2"},
	{"R19", "NULs before a response", "", `
> noop
C: P1 NOOP
S: \0\0* 5 EXISTS
S: \0P1 OK`, "unasked exists 5\nok"},
	{"R20", "NIL for missing values", "NAMESPACE OBJECTID", `
> namespace
C: P1 NAMESPACE
S: * NAMESPACE (("" NIL)) NIL NIL
S: P1 OK
> fetch 1 objectid
C: P2 UID FETCH 1 (UID EMAILID THREADID)
S: * 1 FETCH (UID 1 EMAILID (M1) THREADID NIL)
S: P2 OK`, "{[{\"\" \"\"}] [] []}\nok\nemail \"M1\" thread \"\""},
	{"R21", "dates", "", `
> fetch 1:3 date
C: P1 UID FETCH 1:3 (UID INTERNALDATE)
S: * 1 FETCH (UID 1 INTERNALDATE "1-Feb-2024 10:00:00 +0000")
S: * 2 FETCH (UID 2 INTERNALDATE "00-Jan-0000 00:00:00 +0000")
S: * 3 FETCH (UID 3 INTERNALDATE "01-Jan-0102 00:00:00 +0000")
S: P1 OK`, "row 1 uid 1 date 2024-02-01T10:00:00Z\nrow 2 uid 2\nrow 3 uid 3"},
	{"R22", "a body longer than announced, and a literal that can't be right", "", `
> fetch 1:2 body
C: P1 UID FETCH 1:2 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {4}
S: a: b
S: )
S: * 2 FETCH (UID 2 BODY[] {4}
S: c: d)
S: P1 OK
> fetch 3 body
C: P2 UID FETCH 3 (UID BODY.PEEK[])
S: * 3 FETCH (UID 3 BODY[] {4}
S: a: bcdef)
S: P2 OK`, "row 1 uid 1\nrow 2 uid 2 body \"c: d\"\nprotocol: imap FETCH"},
	{"S1", "Dovecot's connection limit", "AUTH=PLAIN SASL-IR", `
> login u p
C: P1 AUTHENTICATE PLAIN AHUAcA==
S: P1 NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)`, "account: imap AUTHENTICATE"},
	{"S3", "locks and inactivity", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: P1 NO [INUSE] Timeout while waiting for lock
> noop
C: P2 NOOP
S: * BYE Disconnected for inactivity.`, "transient: imap SELECT\nnetwork: imap NOOP"},
	{"S7", "VANISHED on any command, several lines, without an end", "", `
> known 1:14
> fetch 1:3 flags
C: P1 UID FETCH 1:3 (UID FLAGS)
S: * VANISHED 5:7
S: * 1 FETCH (UID 1 FLAGS ())
S: * VANISHED (EARLIER) 12:*
S: P1 OK`, "unasked vanished 5:7 earlier=false\nrow 1 uid 1\nunasked vanished 12:14 earlier=true\nok"},
	{"S8", "SEARCH where ESEARCH is due", "ESEARCH", `
> search ALL
C: P1 UID SEARCH RETURN (ALL) ALL
S: * SEARCH 1 2
S: P1 OK`, "1:2"},
	{"S9", "FETCH of message 0, other news before the go-ahead", "IDLE", `
> noop
C: P1 NOOP
S: * 0 FETCH (FLAGS ())
S: P1 OK
> idle 1
C: P2 IDLE
S: * FLAGS (\Seen)
S: + idling
S: * 4 EXISTS
C: DONE
S: P2 OK`, "ok\nunasked exists 4\nok"},
	{"S10", "EXISTS that grows", "", `
> select INBOX
C: P1 SELECT "INBOX"
S: * 500 EXISTS
S: * 1000 EXISTS
S: P1 OK`, "{Exists:1000"},
	{"S11", "RFC822.SIZE is wrong", "", `
> fetch 1 size body
C: P1 UID FETCH 1 (UID RFC822.SIZE BODY.PEEK[])
S: * 1 FETCH (UID 1 RFC822.SIZE 2 BODY[] {9}
S: a: b\r\n\r\nc)
S: P1 OK`, `size 2 body "a: b\r\n\r\nc"`},
	{"S12", "ENVELOPE in more parentheses, backslash between levels", "", `
> fetch 1 envelope
C: P1 UID FETCH 1 (UID ENVELOPE)
S: * 1 FETCH (UID 1 ENVELOPE ((NIL "s" NIL NIL NIL NIL NIL NIL NIL "<a@b>")))
S: P1 OK
> list
C: P2 LIST "" "*"
S: * LIST () "\\" a\b
S: * LIST () "\" INBOX
S: P2 OK`, "envelope \"{ s [] [] [] [] [] []  <a@b>}\"\nok\n" + `"a\\b" name "a\\b" delim "\\"` + "\n" + `"INBOX" name "INBOX" delim "\\"`},
	{"S13", "no room, in words", "", `
> append INBOX "a: b\r\n"
C: P1 APPEND "INBOX" {6}
S: P1 NO APPEND The 1500 MB storage limit has been exceeded.`, "permanent: imap APPEND"},
	{"S14", "negative size, NIL among addresses", "", `
> fetch 1:2 structure envelope size
C: P1 UID FETCH 1:2 (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE)
S: * 1 FETCH (UID 1 RFC822.SIZE -2 BODYSTRUCTURE ("TEXT" "PLAIN" NIL NIL NIL "7bit" -2 0))
S: * 2 FETCH (UID 2 ENVELOPE (NIL NIL (NIL) NIL NIL ((NIL NIL "a" "b") NIL) NIL NIL NIL NIL))
S: P1 OK`, "row 1 uid 1 size 0 structure text/plain 0 parts map[] 0\nrow 2 uid 2 envelope \"{  [] [] [] [{ a b}] [] []  }\""},
	{"S16", "nonsense for BODYSTRUCTURE costs one row", "", `
> fetch 1:2 structure
C: P1 UID FETCH 1:2 (UID BODYSTRUCTURE)
S: * 1 FETCH (UID 1 BODYSTRUCTURE (("text" "plain" (("x" "y")) "a" ((
S: * 2 FETCH (UID 2 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 3 1))
S: P1 OK`, "row 1 uid 1 ERR\nrow 2 uid 2 structure text/plain"},
	{"S17", "quotes, 8-bit bytes and NULs in strings and names", "", `
> fetch 1 envelope
C: P1 UID FETCH 1 (UID ENVELOPE)
S: * 1 FETCH (UID 1 ENVELOPE (NIL "a"b \xff\0c" NIL NIL NIL NIL NIL NIL NIL NIL))
S: P1 OK
> list
C: P2 LIST "" "*"
S: * LIST () "/" "Pr\xfcfung"
S: P2 OK`, `a\"b \xff\x00c` + "\nok\n" + `"Pr\xfcfung" name "Pr` + "\uFFFD" + `fung"`},
	{"S20", "no SEARCH at all", "", `
> search ALL
C: P1 UID SEARCH ALL
S: P1 BAD unknown command
> noop
C: P2 NOOP
S: P2 OK`, "permanent: imap SEARCH\nok"},
	{"S21", "STORE answered with OK only", "", `
> store 1:3 \Seen
C: P1 UID STORE 1:3 +FLAGS.SILENT (\Seen)
S: P1 OK`, "{Done:1:3 Modified:}\nok"},
	{"S24", "passwords in UTF-8", "", `
> login u pässwort
C: P1 LOGIN "u" {9}
S: + go
C: pässwort
S: P1 OK [CAPABILITY IMAP4rev1]`, "ok"},
	{"S25", "no delimiter, odd names", "", `
> list
C: P1 LIST "" "*"
S: * LIST (\Noinferiors) NIL INBOX
S: * LIST () "/" "__proto__"
S: * LIST () "." a.b/c
S: P1 OK`, `"INBOX" name "INBOX" delim "" ["\\Noinferiors"]` + "\n\"__proto__\"\n\"a.b/c\" name \"a.b/c\" delim \".\""},
	{"S26", "tags that were never sent", "", `
> noop
C: P1 NOOP
S: A99 OK not yours
S: P1 OK`, "ok"},
}

func TestQuirks(t *testing.T) {
	t.Parallel()
	for _, q := range quirks {
		t.Run(q.id+" "+q.what, func(t *testing.T) {
			t.Parallel()
			got := runTranscript(t, "> dial\nS: "+strings.TrimSpace("* OK [CAPABILITY IMAP4rev1 "+q.caps)+"] hi\n"+strings.TrimPrefix(q.play, "\n")+"\n")
			rest := got
			for part := range strings.SplitSeq(q.want, "\n") {
				_, after, ok := cutOutcome(rest, part)
				if !ok {
					t.Fatalf("no %q in\n%s", part, got)
				}
				rest = after
			}
		})
	}
}

// cutOutcome finds the next line of the outcome with part in it.
func cutOutcome(text, part string) (line, rest string, ok bool) {
	for text != "" {
		line, text, _ = strings.Cut(text, "\n")
		if strings.HasPrefix(line, "= ") && strings.Contains(line, part) {
			return line, text, true
		}
	}
	return "", "", false
}

// TestQuirksAreComplete: what the catalogue says is tested here is, and nothing else.
func TestQuirksAreComplete(t *testing.T) {
	t.Parallel()
	here := map[string]bool{}
	for _, q := range quirks {
		if here[q.id] {
			t.Errorf("%s twice", q.id)
		}
		here[q.id] = true
	}
	for _, r := range persona.Rows() {
		if said := slices.Contains(strings.Fields(r.Tests), "imap.TestQuirks"); said != here[r.ID] {
			t.Errorf("%s is tested here: %v; the catalogue says %v", r.ID, here[r.ID], said)
		}
		delete(here, r.ID)
	}
	for id := range here {
		t.Errorf("%s is not in the catalogue", id)
	}
}
