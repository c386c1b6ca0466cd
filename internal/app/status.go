package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// AccountStatus is where a mailbox stands.
type AccountStatus struct {
	ID      mail.AccountID `json:"id"`
	Email   string         `json:"email"`
	Running bool           `json:"running"` // a server says so now; else it is what one has stored last
	Sync    v3.Sync        `json:"sync"`
}

// Unfinished tells whether the first synchronisation is under way.
func (s AccountStatus) Unfinished() bool {
	p := s.Sync.Progress
	return s.Running && (s.Sync.State == mail.StateConnecting || s.Sync.State == mail.StateInitial || s.Sync.State == mail.StateThrottled && p != nil && p.Done < p.Total)
}

// Observer reads where mailboxes stand beside a server: who they are from its store, and the rest from its admin listener.
type Observer struct {
	store *store.Store
	url   string // "": there is no admin listener
	http  http.Client
}

// Observe opens the store for reading only.
func Observe(ctx context.Context, c Config, log *slog.Logger) (*Observer, error) {
	o := &Observer{http: http.Client{Timeout: 5 * time.Second}}
	if host, port, err := net.SplitHostPort(c.AdminListen); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		o.url = "http://" + net.JoinHostPort(host, port) + "/status"
	}
	var err error
	o.store, _, err = OpenStore(ctx, c, log, true)
	return o, err
}

// Close closes the store.
func (o *Observer) Close() error { return o.store.Close() }

// Status returns the mailboxes with this id or address, all of them if it is empty, by address.
func (o *Observer) Status(ctx context.Context, account string) ([]AccountStatus, error) {
	all, err := o.store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return nil, err
	}
	now := o.ask(ctx)
	var out []AccountStatus
	for _, a := range all {
		if account != "" && account != string(a.ID) && account != a.Email {
			continue
		}
		s := AccountStatus{ID: a.ID, Email: a.Email, Sync: v3.SyncOf(a.Sync)}
		if live, ok := now[a.ID]; ok {
			s.Sync, s.Running = live, true
		}
		out = append(out, s)
	}
	if account != "" && len(out) == 0 {
		return nil, fmt.Errorf("there is no account %q", account)
	}
	slices.SortFunc(out, func(x, y AccountStatus) int {
		return cmp.Or(cmp.Compare(x.Email, y.Email), cmp.Compare(x.ID, y.ID))
	})
	return out, nil
}

// ask returns what a running server says; nothing if there is none.
func (o *Observer) ask(ctx context.Context) (out map[mail.AccountID]v3.Sync) {
	if o.url == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return nil
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&out) != nil {
		return nil
	}
	return out
}

// status answers with where each mailbox that runs here stands, by id: addresses are not told without a key.
func (a *App) status(w http.ResponseWriter, r *http.Request) {
	all, err := a.store.Accounts(r.Context(), store.AccountQuery{})
	if err != nil {
		a.log.Error("status failed", "op", "status", "err", err)
		http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
		return
	}
	out := map[mail.AccountID]v3.Sync{}
	for _, acct := range all {
		if s, running := a.engine.Status(acct.ID); running {
			out[acct.ID] = v3.SyncOf(s)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // who asked has gone
}
