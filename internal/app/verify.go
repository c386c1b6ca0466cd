package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
)

// Verify compares an account, named by its id or its address, with its mailbox at the server. The store is opened for reading
// only, so that a server may run on it meanwhile; the connection to the mail server is one more than those of that server.
func Verify(ctx context.Context, c Config, log *slog.Logger, account string, o syncer.VerifyOptions) (v syncer.Verified, err error) {
	allow, err := c.egress()
	if err != nil {
		return v, err
	}
	conf, err := c.tls()
	if err != nil {
		return v, err
	}
	s, _, err := OpenStore(ctx, c, log, true)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	id, err := accountNamed(ctx, s, account)
	if err != nil {
		return v, err
	}
	e := syncer.New(syncer.Options{Store: s, Log: log, TLS: conf, Guard: provider.Guard{Allow: allow, Ports: provider.MailPorts()}})
	defer e.Close()
	return e.Verify(ctx, id, o)
}

func accountNamed(ctx context.Context, s *store.Store, name string) (mail.AccountID, error) {
	all, err := s.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return "", err
	}
	var found []mail.AccountID
	for _, a := range all {
		if string(a.ID) == name {
			return a.ID, nil
		}
		if a.Email == name {
			found = append(found, a.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no account %q", name)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d accounts have the address %q; name one by its id: %v", len(found), name, found)
}
