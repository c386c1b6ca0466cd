// Package syncer keeps each account's stored copy equal to the mailbox at the server.
//
// # One account
//
// One goroutine owns an account (account.run). It is a loop of connect, work, wait; whatever fails ends the round, is
// turned into a state with a reason in words, and waits out a backoff before the next round.
//
//	         +----------------------------------------------------------+
//	         v                                                          | backoff, jitter
//	connecting --> initial --> live <--> (degraded)                     |
//	     |            |          |                                      |
//	     +------------+----------+--> throttled | reauth_required | error
//
// A round is:
//
//  1. Term: raise the account's term, so that an older owner can no longer write.
//  2. Session: log in on the main connection; list the folders; write what changed of them.
//  3. Headers: every folder, INBOX first, newest message first, in chunks. A chunk's rows and the folder's cursor
//     commit together, so that a crash repeats at most one chunk, and repeating is harmless. Those of large folders come over
//     a connection that compresses them, where the server does.
//  4. Bodies: whatever is listed but not held, newest first, on the connections that the governor grants.
//  5. Live: a connection of its own listens, by NOTIFY to all folders where that is offered, else by IDLE to INBOX; while
//     nothing is to be done the account's own connection idles on Sent. What they tell names folders to look at; a timer has
//     all looked at, the more rarely the less is found that nobody told of. A look asks STATUS of all folders, opens
//     those that differ from the stored cursors, diffs, applies. Where long connections are punished none is kept.
//
// NOTIFY, IDLE and the timer only wake: what is written always comes from the diff of what the server says with what is held.
// A lost or repeated notice costs time, never correctness.
//
// # The ladder
//
// How a folder is compared is chosen anew in every session, by what the server offers and how it has behaved (ladder.go):
//
//	byQResync  SELECT itself tells which flags changed and what is gone since the stored MODSEQ
//	byModSeq   FETCH (CHANGEDSINCE) tells what changed
//	byWindow   the flags of the newest 1000 messages; all flags when the unread do not add up, and every 15 minutes to 6 hours
//
// On each step the counts decide whether that was all: what we hold, without what is said to be gone and with what is new,
// must be as much as the folder has. If not, the set of UIDs is asked for and decides alone. So a VANISHED that names mail
// which is there removes nothing, and costs the server its QRESYNC. A session that can do more than the last one compares
// everything once. The stored MODSEQ is always that of the SELECT, and moves with what it covers; what a server says unasked
// later is said again by the next look, and only wakes.
//
// UIDs are compared within one generation (generation.go): that of UIDVALIDITY, as long as it is there, changes rarely, and
// nothing speaks against it (a lower UIDNEXT or MODSEQ; without CONDSTORE and OBJECTID everything does). Else the dates and
// sizes of the messages, and in doubt their headers, tell whether the UIDs mean what they did. When a UIDVALIDITY has changed
// three times within an hour the account is degraded: looked at more rarely, and right.
//
// # Labels
//
// At Gmail a message lies once, in All Mail, Spam or Trash, and shows in the folders whose labels it has. These three are looked
// at, labels come with flags, and the store makes them folders (labels.go; docs/adr/0010-gmail-by-labels.md). Where that cannot be,
// each folder is looked at by itself.
//
// # Restarts
//
// What was learnt of a server is stored in the transactions that it led to (memory.go), so that a restart goes on as if there had
// been none. A process that died compares everything once.
//
// # Removal
//
// Absence is never evidence. A message that is no longer in a folder is first marked vanished; if the same message
// turns up in another folder, it has moved. Only when Options.Grace has passed, and a complete pass over all folders that
// began after the marking has found it nowhere, is it removed (store.Mailbox.Sweep); what an application had removed does not
// wait. Losing more than max(20, 5 %) of a folder, or a folder, must be seen again in another session, a minute later, before it is
// believed. What leaves the view of a folder that shows its newest messages only is no removal (view.go). Under a new UIDVALIDITY what
// a folder had is looked for anew; what a complete look does not find is missing as any other message is.
//
// # What is wanted
//
// A grant's settings may leave out folders, mail from before a day, or bodies (policy.go). What is left out is not looked at,
// or counted where the counts of the server are compared with ours; what is here already stays until its folder is left out.
//
// # What fails
//
// A batch of headers or bodies that the server refuses, or at which connections break, is cut into smaller ones until the
// message is found that is to blame. It is set aside with a reason and tried again ever more rarely, and so is a folder that
// cannot be opened; the rest goes on (aside.go). After a death of the process the engine writes down what it begins: what was
// under way at the next death is done message by message, and a message that was under way alone at two more is set aside.
//
// # Writes
//
// Engine.Do stores an Operation and signals the owner, which carries out all that wait, between two steps of whatever else
// it does, on a connection of its own: what they want in one folder shares commands. Before messages leave a folder, the
// session proves that their UIDs still name them. Then the folders are compared as after any other news; only when our
// copy shows what was wished is an operation done. One that the server cannot carry out now is tried for a day.
package syncer
