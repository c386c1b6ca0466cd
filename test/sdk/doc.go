// Package sdk runs the official Nylas SDK against the built program, a private Dovecot and an SMTP server.
package sdk
