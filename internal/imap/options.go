package imap

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// Security says how a connection is protected.
type Security int

const (
	// TLS from the first byte (RFC 8314), the default.
	TLS Security = iota
	// StartTLS upgrades before anything secret is sent, or fails.
	StartTLS
	// Plain sends everything, passwords too, readable by the network.
	Plain
)

// Options say where to connect and how much to tolerate.
type Options struct {
	Addr       string      // host:port
	ServerName string      // name the certificate must have; default: host of Addr
	Security   Security    // TLS, StartTLS or Plain
	TLS        *tls.Config // roots and the like; cloned, at least TLS 1.2 (RFC 8996); nil: the system's
	// DialContext makes the TCP connection; default: a net.Dialer. The egress guard hooks in here.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Idle is the progress deadline: a command fails when for this long no response ends and no KiB of one arrives.
	// Default 60 s.
	Idle time.Duration
	// IdleRenew is how long one IDLE lasts before it is ended and begun again, which also proves that the
	// connection lives. Default 5 minutes.
	IdleRenew time.Duration
	// Limits bound what the server may make us hold; zero values mean the defaults.
	Limits Limits
	// Trace receives a transcript without passwords, header text and bodies; nil: none.
	Trace io.Writer
	// OnUnilateral receives what the server said unasked, in wire order, on the goroutine that runs the command.
	// It must not call the Session. What it is given is valid during the call only.
	OnUnilateral func(Unilateral)

	tag string // what tags begin with; empty: chosen at random, so that no mail can look like an answer
}

// Limits bound memory under any input. Zero means the default.
type Limits struct {
	Line      int   // bytes of one line; default 1 MiB
	Literal   int64 // bytes of the bodies of one message collected in memory; default 64 MiB
	Body      int64 // bytes of one body that goes to a Sink; a larger one ends the session; default 2 GiB
	Response  int   // bytes of one response held in memory without streamed bodies; default 32 MiB
	Depth     int   // nested parentheses; default 64
	Responses int   // responses to one command or in one round of IDLE, rows that were asked for not counted; default 1,000,000
	Answer    int   // bytes of the untagged responses to one command, FETCH not counted; default 64 MiB
	Command   int   // bytes of one command line; UID sets are split to fit; default 8,000
	Inflate   int64 // bytes of a compressed answer to one command beyond 64 times what it took on the wire; default 256 MiB
	Junk      int   // lines outside the protocol before the session gives up; default 32
}

func (l Limits) withDefaults() Limits {
	def := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	def(&l.Line, 1<<20)
	def(&l.Response, 32<<20)
	def(&l.Answer, 64<<20)
	def(&l.Depth, 64)
	def(&l.Responses, 1_000_000)
	def(&l.Command, 8000)
	def(&l.Junk, 32)
	if l.Inflate <= 0 {
		l.Inflate = 256 << 20
	}
	if l.Body <= 0 {
		l.Body = 2 << 30
	}
	if l.Literal <= 0 {
		l.Literal = 64 << 20
	}
	return l
}
