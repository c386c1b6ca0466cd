// Package imap is one IMAP connection: the wire, the commands, what the server said in the order it said it.
//
// A [Session] belongs to one goroutine. Commands write, then read on the caller's goroutine until their tagged
// answer has come; there is no reader in the background. What the server says unasked goes to
// Options.OnUnilateral from that same goroutine, in wire order.
//
// Two layers read. The framer knows lines and literals only: it hands over one complete response at a time, bounds
// every literal, and streams message bodies to a sink so that they are never held whole unless the caller wants
// that. The parser sees one complete response. So a response that makes no sense costs that response, not the
// connection; a FETCH that makes no sense is reported as a skipped [Row], to be asked again by UID.
//
// Writes say what the server confirmed, also when they fail half way; new UIDs (COPYUID, APPENDUID) are told where the
// server tells them and are never needed. Sets too long for one command are cut by bytes, for reading and for writing.
// Extensions are used where they are offered; what needs one that is not says so before anything is sent.
//
// A Session never retries and never sleeps. After its first network or protocol error, after BYE, and after a
// command's context ended, it is dead and every call returns the same error.
//
// RFC 3501, with RFC 9051 where servers speak it; docs/rfc.txt lists the extensions.
package imap
