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
//     commit together, so that a crash repeats at most one chunk, and repeating is harmless.
//  4. Bodies: whatever is listed but not held, newest first, on the connections that the governor grants.
//  5. Live: IDLE on INBOX on a connection of its own wakes the loop; a timer does so for the other folders. A wake-up
//     starts a pass: ask STATUS of all folders, look into those that differ from the stored cursors, diff, apply.
//
// IDLE and the timer only wake: what is written always comes from the diff of what the server says with what is held.
// A lost or repeated notice costs time, never correctness.
//
// # Removal
//
// Absence is never evidence. A message that is no longer in a folder is first marked vanished; if the same message
// turns up in another folder, it has moved. Only when a complete pass over all folders that began after the marking
// has found it nowhere is it removed (store.Mailbox.Sweep). Losing more than max(20, 5 %) of a folder, or a folder,
// must be seen again in another session, a minute later, before it is even marked.
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
