package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/submit"
)

// Peer is a mail server in the words of an error: what was tried, where, and whose provider it is.
type Peer struct {
	Protocol string // "IMAP" or "SMTP"
	Endpoint mail.Endpoint
	Profile  Profile
	Account  mail.AccountID
}

func (p Peer) noStartTLS() string {
	return fmt.Sprintf("%s does not offer STARTTLS: set %s to tls (port %s)", p.where(), p.key("security"), p.tlsPort())
}

// Classify turns what went wrong with an account's IMAP server into an Error whose Msg says which it was (password,
// host name, port, certificate, network, encryption) and what to do. The server's own words stay in the cause. An
// error that is a mail.Error already keeps its kind. nil stays nil.
func Classify(err error, a mail.Account) *mail.Error {
	return Peer{Protocol: "IMAP", Endpoint: a.Settings.IMAP, Profile: For(a), Account: a.ID}.Classify(err)
}

// Classify is the function Classify for one server.
func (p Peer) Classify(err error) *mail.Error {
	if err == nil {
		return nil
	}
	var known *mail.Error
	if errors.As(err, &known) {
		out := *known
		if out.Account == "" {
			out.Account = p.Account
		}
		if errors.Is(err, ErrEgress) {
			out.Msg = p.Protocol + ": " + strings.TrimPrefix(out.Msg, p.Protocol+": ")
		}
		return &out
	}
	kind, msg, after := p.explain(err)
	return &mail.Error{Op: p.Protocol + " " + HostPort(p.Endpoint), Kind: kind, Account: p.Account, After: after, Msg: p.Protocol + ": " + msg, Err: err}
}

// explain goes from the most telling cause to the least.
func (p Peer) explain(err error) (mail.Kind, string, time.Duration) {
	var smtpErr *smtp.SMTPError
	if errors.As(err, &smtpErr) {
		return p.smtp(smtpErr)
	}
	switch {
	case errors.Is(err, submit.ErrNoStartTLS):
		return mail.Unreachable, p.noStartTLS(), 0
	case errors.Is(err, submit.ErrInjected):
		return mail.Unreachable, fmt.Sprintf("the connection to %s is being tampered with, or the server is broken: plaintext came where the encryption should begin", p.where()), 0
	case errors.Is(err, submit.ErrNoLogin):
		return mail.Unreachable, fmt.Sprintf("%s offers no login with a password: check %s and %s", p.where(), p.key("host"), p.key("port")), 0
	}
	var ie *imap.Error
	spoke := errors.As(err, &ie) && ie.Status != ""
	if !spoke {
		if msg := p.certificate(err); msg != "" {
			return mail.Unreachable, msg, 0
		}
		if msg := p.network(err); msg != "" {
			return mail.Unreachable, msg, 0
		}
	}
	if ie != nil {
		return p.imap(ie)
	}
	return mail.Unavailable, fmt.Sprintf("the conversation with %s failed; try again", p.where()), 0
}

func (p Peer) where() string { return HostPort(p.Endpoint) }

// key names a setting of this server as the API spells it.
func (p Peer) key(name string) string { return strings.ToLower(p.Protocol) + "_" + name }

func (p Peer) tlsPort() string {
	if p.Protocol == "SMTP" {
		return "465"
	}
	return "993"
}

// certificate explains failed TLS, "" if it was something else.
func (p Peer) certificate(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record):
		return fmt.Sprintf("TLS was tried, but %s answers in plaintext: set %s to starttls, or use the TLS port %s", p.where(), p.key("security"), p.tlsPort())
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate of %s is for another host name: check %s, or use the name that the certificate has", p.where(), p.key("host"))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired or is not valid yet: the server's operator must renew it (or this machine's clock is wrong)", p.where())
	case errors.As(err, &unknown), errors.As(err, &roots):
		return fmt.Sprintf("the certificate of %s is not signed by an authority that is trusted here; for a private authority the operator can set POSTHORN_TLS_CA", p.where())
	case errors.As(err, &invalid), errors.As(err, &verify):
		return fmt.Sprintf("the certificate of %s is not valid", p.where())
	case errors.As(err, &alert):
		return fmt.Sprintf("%s broke off the TLS handshake: it may only know versions before TLS 1.2, or %s is not a TLS port", p.where(), p.where())
	}
	return ""
}

// network explains failed connections, "" if it was something else.
func (p Peer) network(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var ne net.Error
	dialing := errors.As(err, &op) && op.Op == "dial"
	plain := p.Endpoint.Security != mail.SecurityTLS
	silent := ""
	if plain {
		silent = fmt.Sprintf("; if it is a TLS port, set %s to tls", p.key("security"))
	}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("the host name %s does not exist: check %s", p.Endpoint.Host, p.key("host"))
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %s could not be looked up: check %s, or try again", p.Endpoint.Host, p.key("host"))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: check %s and %s", p.where(), p.key("host"), p.key("port"))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("there is no network route to %s: check %s", p.where(), p.key("host"))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		if dialing {
			return fmt.Sprintf("%s cannot be reached: the connection timed out; check %s and %s, or a firewall is in between", p.where(), p.key("host"), p.key("port"))
		}
		return fmt.Sprintf("%s did not answer in time%s", p.where(), silent)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s closed the connection%s", p.where(), silent)
	case dialing:
		return fmt.Sprintf("%s cannot be reached: check %s and %s", p.where(), p.key("host"), p.key("port"))
	}
	return ""
}

func (p Peer) imap(e *imap.Error) (mail.Kind, string, time.Duration) {
	text := strings.ToLower(e.Text)
	switch e.Class {
	case imap.AuthFailed:
		return mail.Reauth, p.refused(text), 0
	case imap.TransientAccount:
		if strings.Contains(text, "authenticated but not connected") {
			return mail.Limited, "the login was accepted but the mailbox was not opened: IMAP may be switched off for it, or too many logins were made; wait a few minutes", p.wait(e.BackOff)
		}
		return mail.Limited, p.name() + " asked to slow down (too many connections or too much traffic); wait before trying again", p.wait(e.BackOff)
	case imap.Canceled:
		return mail.Unavailable, fmt.Sprintf("the conversation with %s was broken off", p.where()), 0
	case imap.Network:
		return mail.Unreachable, fmt.Sprintf("the connection to %s failed", p.where()), 0
	case imap.Protocol:
		if e.Cmd == "" || e.Cmd == "DIAL" {
			return mail.Unreachable, fmt.Sprintf("%s does not speak IMAP: check %s and %s", p.where(), p.key("host"), p.key("port")), 0
		}
		return mail.Unavailable, fmt.Sprintf("%s answered in a way that cannot be understood safely", p.where()), 0
	}
	switch {
	case e.Code == "PRIVACYREQUIRED" || strings.Contains(text, "plaintext authentication") || strings.Contains(text, "logindisabled"):
		return mail.Unreachable, fmt.Sprintf("%s takes no password without encryption: set %s to tls or starttls", p.where(), p.key("security")), 0
	case strings.EqualFold(e.Cmd, "STARTTLS"):
		return mail.Unreachable, p.noStartTLS(), 0
	case e.Class == imap.Permanent:
		return mail.Refused, fmt.Sprintf("%s refused %s", p.where(), e.Cmd), 0
	}
	return mail.Unavailable, fmt.Sprintf("%s could not do %s now; try again later", p.where(), e.Cmd), p.wait(e.BackOff)
}

// refused explains a refused login, with what this provider wants.
func (p Peer) refused(text string) string {
	if strings.Contains(text, "web browser") {
		return p.name() + " wants the user to log in with a web browser once and confirm that it was them; then try again"
	}
	if p.Profile.OAuth {
		return p.Profile.Hint
	}
	msg := "the login was refused: user name or password is wrong"
	if p.Profile.LocalPart {
		msg += " (the user name is the part before the @)"
	}
	if p.Profile.Hint != "" {
		msg += ". " + p.Profile.Hint
	}
	if p.Profile.HintURL != "" {
		msg += " See " + p.Profile.HintURL
	}
	return msg
}

func (p Peer) name() string {
	if p.Profile.Name != "" {
		return p.Profile.Name
	}
	return p.Endpoint.Host
}

func (p Peer) wait(asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	return p.Profile.Limits.Cooldown
}

// smtp reads reply codes (RFC 5321 4.2, RFC 4954 6) and enhanced codes (RFC 3463, RFC 5248).
func (p Peer) smtp(e *smtp.SMTPError) (mail.Kind, string, time.Duration) {
	enhanced := fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	switch {
	case enhanced == "5.7.139":
		return mail.Refused, "sending with a password (SMTP AUTH) is switched off for this mailbox or its organisation; an administrator can switch it on", 0
	case e.Code == 534 || enhanced == "5.7.9":
		if p.Profile.Hint == "" {
			return mail.Reauth, "the server wants another kind of login than this password, such as an app password", 0
		}
		return mail.Reauth, p.refused(""), 0
	case e.Code == 535:
		return mail.Reauth, p.refused(strings.ToLower(e.Message)), 0
	case e.Code == 530 || e.Code == 538 || e.Code == 523:
		return mail.Unreachable, fmt.Sprintf("%s takes no password without encryption: set %s to tls or starttls", p.where(), p.key("security")), 0
	case e.Code == 421 || e.Code == 450 || e.Code == 451 || e.Code == 454:
		return mail.Limited, p.name() + " cannot take the login now, or asked to slow down; try again later", p.wait(0)
	case e.Code == 502 || e.Code == 500 || e.Code == 504:
		return mail.Unreachable, fmt.Sprintf("%s does not offer what is needed to log in; check %s and %s", p.where(), p.key("port"), p.key("security")), 0
	case e.Code/100 == 4:
		return mail.Unavailable, p.name() + " failed for now; try again later", p.wait(0)
	}
	return mail.Refused, p.where() + " refused", 0
}
