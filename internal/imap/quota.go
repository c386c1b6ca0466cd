package imap

import (
	"context"
	"errors"
)

// Quota is one limit on what a user may store (RFC 9208 4.2). A root is what shares the limit.
type Quota struct {
	Root     string
	Resource string // upper case: "STORAGE" counts units of 1024 bytes, "MESSAGE" messages
	Usage    int64
	Limit    int64
}

var errNoQuota = errors.New("server does not offer QUOTA")

// maxQuotas bounds what is kept of an answer.
const maxQuotas = 1000

// Quotas asks for the limits that hold for a mailbox (GETQUOTAROOT, RFC 9208 4.1.2, RFC 2087 4.3).
func (s *Session) Quotas(ctx context.Context, raw string) ([]Quota, error) {
	if !s.Caps().Has("QUOTA") {
		return nil, &Error{Class: Permanent, Cmd: "GETQUOTAROOT", Err: errNoQuota}
	}
	var out []Quota
	_, err := s.run(ctx, "GETQUOTAROOT", func(l *line) {
		l.text(" ")
		l.str(raw)
	}, func(kind string, _ uint32, p *parser) (bool, error) {
		switch kind {
		case "QUOTAROOT": // the names come again with QUOTA
			return true, nil
		case "QUOTA":
			q, err := parseQuota(p)
			if len(out) < maxQuotas {
				out = append(out, q...)
			}
			return true, err
		}
		return false, nil
	})
	return out, err
}

// parseQuota reads `root (resource usage limit ...)`. Gmail's numbers are beyond 32 bits.
func parseQuota(p *parser) ([]Quota, error) {
	root, _, err := p.str()
	if err != nil {
		return nil, err
	}
	name := string(root)
	p.space()
	var out []Quota
	err = p.list(func() error {
		q := Quota{Root: name, Resource: string(p.upper())}
		for _, n := range []*int64{&q.Usage, &q.Limit} {
			p.space()
			v, err := p.number()
			if err != nil {
				return err
			}
			*n = max(v, 0)
		}
		if len(out) < maxQuotas {
			out = append(out, q)
		}
		return nil
	})
	return out, err
}
