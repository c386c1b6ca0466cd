// Package realsrv starts real servers (Dovecot, Cyrus, PostgreSQL) for tests, private to one test and on loopback only.
//
// A server runs under a small supervising shell that holds a pipe from the test process. When the test stops the server,
// or ends in whatever way (a panic, a timeout, kill -9), the pipe closes, the shell stops the server by its process id and
// removes its files. No goroutine is left in the test process, so the package goes well with goleak.
//
// A missing server skips the test with one line. Under CI=true it fails the test instead.
package realsrv
