// Package notify turns the change log into webhooks, replays of them, and feeds.
//
// # Overview
//
// The log of each account, and the application's own log of accounts that came and went, is the only source. A
// webhook and a log make a lane; a lane has one cursor, kept in the store.
//
//	store.Apply commits -> hint -> dispatcher -> lane: read after the cursor -> v3 notification -> POST
//	                                                     ^                                          |
//	                                                     +---- cursor moves with the attempt -------+
//
// A lane delivers in the order of its log, one at a time. Lanes run beside each other: every webhook has a few
// goroutines of its own that take its lanes in turn, so an endpoint that hangs holds up nobody but itself. A lane that waits
// for its next attempt is not woken by news: it costs nothing until then, unless its webhook is changed.
//
// What arrived is recorded while the next notification is on its way (ledger): a commit takes longer than an endpoint nearby.
// What goes to several webhooks is read and written once (views), until something happens to the account.
//
// A notification tells of an object as it is when it is sent. A message that is gone by then is not told as created or
// updated, since its deletion follows; an update that an earlier notification showed already is left out. Mail that the
// initial sync found is not announced, only that the sync is complete.
//
// # Readers beside the lanes
//
// A feed is one account's log, or the rows of an application's feed: ranges of logs in the order in which they were noticed,
// appended when somebody reads (grow). A page is read from a place on and remembers nothing; streams and requests that wait
// are pages again and again. A replay is such a reading too, with a goal, posted to its webhook by a goroutine of its own.
//
// # When things fail
//
//   - A hint is lost: the dispatcher looks at all logs from time to time, and when it starts.
//   - No 2xx answer within 15 seconds, or a redirect: the attempt is recorded and repeated, 17 times over more than 74
//     hours, later than that if Retry-After asks for it. The attempt's number and time are kept, so a restart changes
//     nothing.
//   - We crash between the answer and the commit of the cursor: the notification is sent again, and up to 31 that came after
//     it. Its id is derived from account and number of the change, so the receiver knows it. Nothing is lost.
//   - The last attempt fails: if other notifications of the webhook arrived meanwhile, this one is given up and the lane
//     goes on. If none did, the webhook has failed: nothing is sent until its owner activates it, then it goes on where it
//     stopped.
//   - No good answer for 15 minutes: the webhook is shown as failing; the next good one makes it active.
//   - 410: the endpoint wants no more. The webhook has failed at once.
//   - The log is cut at the retention (tidy), but never before what a lane, a replay or a feed has still to tell. Should the
//     next change be gone all the same: the lane goes on with the oldest it has, and says so in the server's log.
package notify
