package auth

import (
	"context"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// storeTime is kept back from a Connect's time for writing the account.
const storeTime = 3 * time.Second

// Connect proves the login with the mail servers and keeps the account. The same address, application and provider
// again is a new login of the account there is: settings and password are replaced, the id stays, created is false.
//
// It answers within Options.Timeout, whatever the servers do, and keeps nothing on failure. It fails with Invalid
// (the request, or an address that is not allowed), Reauth (user name or password), Unreachable (host, port,
// certificate, encryption), Limited, Refused or Unavailable; the message says which server it was and what to do.
func (a *Auth) Connect(ctx context.Context, app mail.AppID, req v3.Connect) (acct mail.Account, created bool, err error) {
	proven, err := a.prove(ctx, req)
	if err != nil {
		return mail.Account{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer func() { err = overdue(ctx, err) }()
	for try := 0; ; try++ {
		old, err := a.o.Store.Accounts(ctx, store.AccountQuery{App: app, Email: proven.email, Provider: req.Provider, Limit: 1})
		if err != nil {
			return mail.Account{}, false, err
		}
		if len(old) > 0 {
			acct, err := a.renew(ctx, old[0], req, proven)
			return acct, false, err
		}
		now := a.o.Now().UTC().Truncate(time.Second)
		acct := mail.Account{
			ID: newID(), App: app, Email: proven.email, Name: req.Name, Provider: req.Provider, Settings: proven.settings,
			Scope: req.Scope, State: req.State, CreatedAt: now, UpdatedAt: now,
			Sync: mail.SyncStatus{State: mail.StateConnecting, Since: now},
		}
		err = a.o.Store.CreateAccount(ctx, acct, proven.secrets)
		if err == nil {
			return acct, true, nil
		}
		if !mail.IsKind(err, mail.Conflict) || try > 0 {
			return mail.Account{}, false, err
		}
		// Somebody connected the same address meanwhile: theirs is the account to renew.
	}
}

// Renew proves new settings of an account and replaces its old ones. The settings must be of the same address. It
// fails as Connect does.
func (a *Auth) Renew(ctx context.Context, acct mail.Account, req v3.Connect) (_ mail.Account, err error) {
	req.Provider = acct.Provider
	if req.IMAP.Username == acct.Settings.IMAP.Username || req.Email == "" {
		req.Email = acct.Email
	}
	if req.Email != acct.Email {
		return mail.Account{}, mail.E(mail.Invalid, "update grant", "the settings are of another address than the grant's: connect it as a grant of its own", nil)
	}
	proven, err := a.prove(ctx, req)
	if err != nil {
		return mail.Account{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer func() { err = overdue(ctx, err) }()
	return a.renew(ctx, acct, req, proven)
}

// overdue puts a store that was too slow into words.
func overdue(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return mail.E(mail.Unavailable, "keep the account", "the login works, but this server is too busy to keep the account; try again", err)
}

func (a *Auth) renew(ctx context.Context, acct mail.Account, req v3.Connect, p proof) (mail.Account, error) {
	now := a.o.Now().UTC().Truncate(time.Second)
	policy := acct.Settings.Sync // a login anew says nothing of it
	acct.Settings, acct.UpdatedAt = p.settings, now
	if acct.Settings.Sync == nil {
		acct.Settings.Sync = policy
	}
	if req.Scope != nil {
		acct.Scope = req.Scope
	}
	if req.State != "" {
		acct.State = req.State
	}
	if req.Name != "" {
		acct.Name = req.Name
	}
	if err := a.o.Store.UpdateAccount(ctx, acct, &p.secrets); err != nil {
		return mail.Account{}, err
	}
	switch acct.Sync.State {
	case mail.StateReauth, mail.StateError, "":
		acct.Sync = mail.SyncStatus{State: mail.StateConnecting, Since: now, FreshAt: acct.Sync.FreshAt, SeenAt: acct.Sync.SeenAt, AuditedAt: acct.Sync.AuditedAt}
		if err := a.o.Store.SetSync(ctx, acct.ID, acct.Sync); err != nil {
			return mail.Account{}, err
		}
	}
	return acct, nil
}

// proof is what was proven to work.
type proof struct {
	email    string
	settings mail.Settings
	secrets  mail.Credentials
}

// prove logs in with what was given and what can be found out.
func (a *Auth) prove(ctx context.Context, req v3.Connect) (proof, error) {
	budget := a.o.Timeout - storeTime
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return proof{}, &mail.Error{Op: "connect", Kind: mail.Limited, After: 5 * time.Second, Msg: "too many accounts are being connected at once; try again", Err: ctx.Err()}
	}
	plan, err := a.plan(ctx, req)
	if err != nil {
		return proof{}, err
	}
	imapBudget := budget
	if req.SMTP != nil {
		imapBudget = budget * 2 / 3
	}
	imapCtx, cancelIMAP := context.WithTimeout(ctx, imapBudget)
	defer cancelIMAP()
	in, err := a.proveIMAP(imapCtx, plan, req.IMAPPassword)
	if err != nil {
		return proof{}, err
	}
	out := proof{email: req.Email, settings: mail.Settings{IMAP: in, SMTP: plan.assumedSMTP, Sync: req.Sync}, secrets: mail.Credentials{IMAPPassword: req.IMAPPassword, SMTPPassword: req.SMTPPassword}}
	if out.email == "" {
		out.email = strings.ToLower(in.Username + "@" + in.Host)
	}
	if req.SMTP != nil {
		password := req.SMTPPassword
		if password.IsZero() {
			password = req.IMAPPassword
		}
		smtp, err := a.proveSMTP(ctx, plan, password)
		if err != nil {
			return proof{}, err
		}
		out.settings.SMTP = &smtp
	}
	return out, nil
}

// plan is what to try, best first.
type plan struct {
	profile     provider.Profile
	imap, smtp  []mail.Endpoint
	users       []string // IMAP logins
	guessed     bool     // the hosts are guesses
	assumedSMTP *mail.Endpoint
}

func (a *Auth) plan(ctx context.Context, req v3.Connect) (plan, error) {
	p := plan{users: []string{req.IMAP.Username}}
	var found provider.Detection
	if req.IMAP.Host != "" {
		p.profile, _ = provider.ByHost(req.IMAP.Host)
		p.imap = provider.IMAPCandidates(req.IMAP)
	}
	needSMTP := req.SMTP != nil && req.SMTP.Host == ""
	if req.IMAP.Host == "" || needSMTP {
		switch {
		case req.Provider == "icloud":
			found.Profile, found.Known = provider.ByKey("icloud")
			found.IMAP, found.SMTP = []mail.Endpoint{found.Profile.IMAP}, []mail.Endpoint{found.Profile.SMTP}
		case req.Email == "":
			return plan{}, mail.E(mail.Invalid, "connect", "settings.imap_host (and smtp_host for sending) is required, because neither imap_username nor email is an address to find the server by", nil)
		default:
			found = provider.Detect(ctx, a.o.Resolver, req.Email)
		}
	}
	if req.IMAP.Host == "" {
		p.profile, p.guessed = found.Profile, !found.Known
		if found.Profile.OAuth || len(found.IMAP) == 0 {
			return plan{}, mail.E(mail.Invalid, "connect", found.Profile.Name+": "+found.Profile.Hint, nil)
		}
		p.imap = overlay(found.IMAP, req.IMAP, provider.IMAPCandidates)
		if found.Known && req.SMTP == nil && found.Profile.SMTP.Host != "" {
			smtp := found.Profile.SMTP
			smtp.Username = smtpUser(p.profile, req)
			p.assumedSMTP = &smtp
		}
	}
	if p.profile.LocalPart {
		if local, _, ok := strings.Cut(req.IMAP.Username, "@"); ok {
			p.users = []string{local, req.IMAP.Username} // the full address works for some
		}
	}
	if req.SMTP != nil {
		p.smtp = overlay(found.SMTP, *req.SMTP, provider.SMTPCandidates)
		if req.SMTP.Host != "" {
			p.smtp = provider.SMTPCandidates(*req.SMTP)
		}
		for i := range p.smtp {
			if p.smtp[i].Username = req.SMTP.Username; p.smtp[i].Username == "" {
				p.smtp[i].Username = smtpUser(p.profile, req)
			}
		}
	}
	return p, nil
}

// smtpUser is the SMTP login when none was given: as for IMAP, but the whole address where IMAP takes only a part.
func smtpUser(p provider.Profile, req v3.Connect) string {
	if p.LocalPart && req.Email != "" {
		return req.Email
	}
	return req.IMAP.Username
}

// overlay puts a port or security that was given over endpoints that were found.
func overlay(found []mail.Endpoint, given mail.Endpoint, expand func(mail.Endpoint) []mail.Endpoint) []mail.Endpoint {
	if given.Port == 0 && given.Security == "" {
		return found
	}
	var out []mail.Endpoint
	seen := map[string]bool{}
	for _, e := range found {
		if seen[e.Host] {
			continue
		}
		seen[e.Host] = true
		out = append(out, expand(mail.Endpoint{Host: e.Host, Port: given.Port, Security: given.Security})...)
	}
	return out
}
