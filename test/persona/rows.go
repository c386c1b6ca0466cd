package persona

import (
	"slices"
	"strings"
)

// Row is what providers or servers do that a client must know to get right, as others have reported it. The letter says whose it is: Yahoo,
// iCloud, Gmail, Microsoft, China and Korea, the rest, server software.
type Row struct {
	ID    string
	What  string
	Tests string // beside the lies and personas that name the row: package.Test; "" none
	Why   string // there is nothing to test
}

// Lies returns the single lies that are told of a row.
func (r Row) Lies() (names []string) {
	for _, l := range Lies() {
		if slices.Contains(strings.Fields(l.Rows), r.ID) {
			names = append(names, l.Name)
		}
	}
	return names
}

// Personas returns those that are made of it.
func (r Row) Personas() (names []string) {
	for _, p := range Personas() {
		if slices.Contains(strings.Fields(p.Rows), r.ID) {
			names = append(names, p.Name)
		}
	}
	return names
}

// Rows is the catalogue.
func Rows() []Row {
	return []Row{
		{"Y1", "INBOX is listed as Inbox", "imap.TestQuirks syncer.TestDiffFolders", ""},
		{"Y2", "SEARCH NOT finds nothing", "", ""},
		{"Y3", "connections end after half a minute", "imap.TestQuirks syncer.TestAMessageThatTakesLongerThanAConnectionLasts syncer.TestHeadersOfAConnectionThatEndsInTime syncer.TestAnAuditIsTakenUp", ""},
		{"Y4", "logins are refused for minutes", "imap.TestQuirks syncer.TestWaits", ""},
		{"Y5", "few connections, shared with the user's own programs", "imap.TestQuirks syncer.TestARefusedConnectionShrinksThePool", ""},
		{"Y6", "NO [LIMIT] to any command", "imap.TestQuirks syncer.TestRefusalsPass", ""},
		{"Y7", "one message fails every FETCH", "imap.TestQuirks syncer.TestHeadersThatFailAreFoundAndSetAside", ""},
		{"Y8", "SEARCH fails with SERVERBUG", "imap.TestQuirks", ""},
		{"Y9", "only the newest are shown but for UIDONLY, and some a command", "imap.TestQuirks syncer.TestLadder", ""},
		{"Y10", "a private capability in place of CONDSTORE", "imap.TestQuirks", ""},
		{"Y11", "long commands are refused", "imap.TestCommandLimit", ""},
		{"Y12", "APPEND must end in CRLF", "imap.TestQuirks", ""},
		{"Y13", "FETCH of a body is never answered", "imap.TestDeadlines syncer.TestHalfOpenConnections", ""},
		{"Y14", "a folder is missing", "imap.TestQuirks syncer.TestDeletedWhileLookedAt", ""},
		{"Y15", "ESEARCH without UID, items of their own", "imap.TestQuirks", ""},
		{"Y16", "spam is in Bulk Mail", "provider.TestRoles", ""},

		{"I1", "Drafts, Archive and Junk without special-use flags", "provider.TestRoles", ""},
		{"I2", "Sent Messages and Deleted Messages", "provider.TestRoles", ""},
		{"I3", "OK without the body", "imap.TestQuirks syncer.TestEmptyBytesAreMissing", ""},
		{"I4", "QRESYNC and sequence numbers are wrong", "imap.TestQuirks syncer.TestLadder syncer.TestTheProfileForbidsQResync", ""},
		{"I5", "quotes in ENVELOPE that are not escaped", "imap.TestQuirks", ""},
		{"I6", "ANNOTATE is offered and refused", "", ""},
		{"I7", "a message that is moved shows in both folders for a while", "syncer.TestMovesMinutesApart store.TestCopyAndDelete", ""},
		{"I8", "the login is what stands before the @", "auth.TestPlan", ""},
		{"I9", "SMTP keeps no copy in Sent", "sender.TestSent sender.TestFilesItself syncer.TestFile", ""},

		{"G1", "labels are folders: one message many times", "imap.TestQuirks syncer.TestLabelsAreFolders", ""},
		{"G2", "15 connections", "imap.TestQuirks syncer.TestARefusedFurtherConnectionIsNoDisaster", ""},
		{"G3", "so many bytes a day", "imap.TestQuirks syncer.TestTheDaysBytesAreNotExceeded", ""},
		{"G4", "a success that asks to slow down", "imap.TestQuirks syncer.TestSuccessesThatAskToSlowDown", ""},
		{"G5", "the user lets a folder show its newest only", "syncer.TestMessagesOutOfViewAreKept syncer.TestANewLimitDeletesNothing", ""},
		{"G6", "nothing tells that a label was renamed", "syncer.TestLabelsAreRenamedAndDeletedElsewhere", ""},
		{"G7", "HIGHESTMODSEQ runs ahead of what is shown", "syncer.TestLadder", ""},
		{"G8", "codes without text, MODSEQ 0, brackets in keywords", "imap.TestQuirks", ""},
		{"G9", "malformed BODYSTRUCTURE", "imap.TestQuirks", ""},
		{"G10", "unreliable macros, quotas beyond 32 bits, names that are refused", "imap.TestQuirks syncer.TestAFolderThatIsRefused", ""},
		{"G11", "EXPUNGE takes a label away, and removes nothing", "syncer.TestLabelOperations syncer.TestNoOtherIsRemoved", ""},
		{"G12", "a login in the browser is asked for", "imap.TestQuirks provider.TestClassify", ""},
		{"G13", "names of special folders are translated", "provider.TestRoles", ""},
		{"G14", "a parent that cannot be opened", "imap.TestQuirks", ""},

		{"M1", "logged in, and not connected", "imap.TestQuirks", ""},
		{"M2", "slow down, in words", "imap.TestQuirks syncer.TestWaits", ""},
		{"M3", "lines outside of the protocol", "imap.TestQuirks", ""},
		{"M4", "ten errors end the session", "", ""},
		{"M5", "neither CONDSTORE nor QRESYNC", "syncer.TestLadder", ""},
		{"M6", "malformed BODYSTRUCTURE", "imap.TestQuirks", ""},
		{"M7", "COPYUID without OK, or without sets", "imap.TestQuirks", ""},
		{"M8", "ESEARCH that finds nothing", "imap.TestQuirks", ""},
		{"M9", "blanks at the end of lines", "imap.TestQuirks", ""},
		{"M10", "ID is refused", "imap.TestQuirks", ""},
		{"M11", "names of folders without quotes, and lines of LIST that nobody can read", "imap.TestQuirks syncer.TestListsThatLeaveOut", ""},
		{"M12", "another Message-ID for what is sent", "syncer.TestSentUnderAnotherMessageID", ""},
		{"M13", "other recipients in Sent", "", ""},
		{"M14", "a message that is moved away and back has a new UID", "syncer.TestKnobs store.TestMove", ""},
		{"M15", "items in another order, sizes that are wrong", "imap.TestQuirks", ""},
		{"M16", "items without headers in a folder of their own", "", ""},
		{"M17", "names that differ in nothing but case are one folder's", "syncer.TestNamesInAnotherCase syncer.TestRenamesWithoutMailboxID", ""},
		{"M18", "go-aheads that nobody needs; NAMESPACE ends the connection", "imap.TestQuirks syncer.TestFoldersBelowAPrefix", ""},
		{"M19", "passwords are off", "", "advice to users"},
		{"M20", "addresses without a host", "imap.TestQuirks", ""},
		{"M21", "shared mailboxes want LOGIN", "imap.TestQuirks", ""},
		{"M22", "a message that cannot be converted", "imap.TestQuirks syncer.TestHeadersThatFailAreFoundAndSetAside", ""},

		{"C1", "nothing before ID", "imap.TestQuirks", ""},
		{"C2", "no UIDNEXT, empty STATUS", "imap.TestQuirks syncer.TestUIDNextLies", ""},
		{"C3", "SEARCH by text finds nothing, or everything", "", ""},
		{"C4", "sets must ascend", "imap.TestQuirks", ""},
		{"C5", "malformed BODYSTRUCTURE", "imap.TestQuirks", ""},
		{"C6", "SEARCH by date finds everything", "syncer.TestOldMailIsToldByItsDate", ""},
		{"C7", "a code in place of the password", "", "advice to users"},
		{"C8", "names in modified UTF-7", "imap.TestQuirks imap.TestNames", ""},
		{"C9", "UIDVALIDITY 0", "imap.TestQuirks syncer.TestNoUIDValidity", ""},

		{"R1", "IDLE ends at random", "imap.TestQuirks", ""},
		{"R2", "BYE again and again", "imap.TestQuirks", ""},
		{"R3", "bodies that are left out, or are no bodies", "imap.TestQuirks syncer.TestEmptyBytesAreMissing", ""},
		{"R4", "XLIST is offered and wrong", "", ""},
		{"R5", "SEARCH by date is unreliable", "syncer.TestOldMailIsToldByItsDate", ""},
		{"R6", "decimals", "imap.TestQuirks", ""},
		{"R7", "MODSEQ below zero, a star among the flags", "imap.TestQuirks syncer.TestLadder", ""},
		{"R8", "FETCH without UID", "imap.TestQuirks", ""},
		{"R9", "items and fields that are not offered are refused", "imap.TestQuirks", ""},
		{"R10", "folders below a prefix", "syncer.TestFoldersBelowAPrefix", ""},
		{"R11", "passwords for programs", "imap.TestQuirks auth.TestConnectRefusals", ""},
		{"R12", "LIST with RETURN lists nothing", "imap.TestQuirks syncer.TestListsThatLeaveOut", ""},
		{"R13", "UIDVALIDITY is another in every session", "syncer.TestFlappingUIDValidity syncer.TestFlappingIsRemembered syncer.TestVerifyWhereUIDValidityMeansNothing", ""},
		{"R14", "no UIDVALIDITY of empty folders", "imap.TestQuirks syncer.TestNoUIDValidity", ""},
		{"R15", "SEARCH ALL is refused", "imap.TestQuirks", ""},
		{"R16", "so many connections from one address", "imap.TestQuirks syncer.TestGovernorKeepsEveryLimit", ""},
		{"R17", "UIDs are others after a restart; LIST with RETURN is refused", "imap.TestQuirks syncer.TestFolderMadeAnewUnderTheSameUIDValidity syncer.TestAnOperationNeverHitsAnotherMessage", ""},
		{"R18", "NIL for flags and among them, a message twice", "imap.TestQuirks", ""},
		{"R19", "NULs before a response", "imap.TestQuirks", ""},
		{"R20", "NIL for what is missing", "imap.TestQuirks", ""},
		{"R21", "dates that are none", "imap.TestQuirks syncer.TestDatesWithoutINTERNALDATE", ""},
		{"R22", "literals that are an octet off", "imap.TestQuirks imap.TestCutEverywhere", ""},
		{"R23", "Seznam, Orange, Mailo, GoDaddy, OVH", "", "nothing known beyond the above"},

		{"S1", "Dovecot: ten connections from one address", "imap.TestQuirks", ""},
		{"S2", "Dovecot: a listed folder is refused, and the session ended", "syncer.TestAFolderThatBreaksConnectionsIsSetAside", ""},
		{"S3", "Dovecot: locks, BYE for inactivity", "imap.TestQuirks", ""},
		{"S4", "Dovecot: UIDVALIDITY is another after a restore", "syncer.TestAnotherUIDValidity", ""},
		{"S5", "Dovecot: a folder has two names", "syncer.TestFoldersWithTwoNames", ""},
		{"S6", "Cyrus: VANISHED names what is there", "syncer.TestLadder", ""},
		{"S7", "VANISHED on any command, and without end", "imap.TestQuirks syncer.TestLadder", ""},
		{"S8", "Cyrus 2.4: SEARCH where ESEARCH is due", "imap.TestQuirks", ""},
		{"S9", "Courier: message 0, flags before the go-ahead of IDLE", "imap.TestQuirks", ""},
		{"S10", "Zimbra: EXISTS that grows; BYE because of a shared folder", "imap.TestQuirks syncer.TestAFolderThatBreaksConnectionsIsSetAside", ""},
		{"S11", "hMailServer: sizes are wrong", "imap.TestQuirks", ""},
		{"S12", "Domino: ENVELOPE in more parentheses, backslashes between levels", "imap.TestQuirks", ""},
		{"S13", "GroupWise: no room, in words; commands that fail under load", "imap.TestQuirks", ""},
		{"S14", "SmarterMail: sizes below zero", "imap.TestQuirks", ""},
		{"S15", "IceWarp: SEARCH finds nothing", "", ""},
		{"S16", "BlueMind: malformed BODYSTRUCTURE", "imap.TestQuirks", ""},
		{"S17", "quotes, 8-bit bytes and NULs in strings and names", "imap.TestQuirks", ""},
		{"S18", "FirstClass: no children of parents; Tobit, MailEnable: APPENDUID is wrong", "syncer.TestAWrongAPPENDUIDNamesNoDraft", ""},
		{"S19", "DBmail: headers differ from FETCH to FETCH", "", ""},
		{"S20", "Softalk: no SEARCH", "imap.TestQuirks", ""},
		{"S21", "STORE without FETCH", "imap.TestQuirks syncer.TestOperations", ""},
		{"S22", "long sets end the connection", "imap.TestCommandLimit", ""},
		{"S23", "IDLE that never tells", "imap.TestIdleLiveness syncer.TestMuteIdle syncer.TestMailThatComesBeforeIdle", ""},
		{"S24", "passwords beyond ASCII", "imap.TestQuirks", ""},
		{"S25", "no delimiter, odd names", "imap.TestQuirks syncer.TestDiffFolders", ""},
		{"S26", "tags that were never sent", "imap.TestQuirks imap.TestTagsAreNotToBeGuessed", ""},
	}
}
