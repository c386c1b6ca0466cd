// Package app builds one server from its configuration, starts its parts in order and stops them in reverse.
package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/api"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/indexer"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/internal/vault"
)

// App is one running server.
type App struct {
	log      *slog.Logger
	store    *store.Store
	engine   *syncer.Engine
	index    *indexer.Indexer
	traces   *traces
	sender   *sender.Sender
	notify   *notify.Notifier
	api      *http.Server
	admin    *http.Server // nil: turned off
	closeAPI func()
	ready    atomic.Bool
	failed   chan error

	apiListener, adminListener net.Listener

	// NewAPIKey is set when no key was configured and none existed: the only time it can be shown.
	NewAPIKey string
	// NewMasterKey is the file that a generated master key was written to.
	NewMasterKey string

	stop sync.Once
}

// leastRetention is longer than the time in which a delivery is tried again.
const leastRetention = 96 * time.Hour

// Version is what the server calls itself; set at build time by -ldflags.
var Version = "dev"

// OpenStore opens the store that the configuration names, with its master key. keyFile names a file that a new key was
// written to, if so.
func OpenStore(ctx context.Context, c Config, log *slog.Logger, readOnly bool) (s *store.Store, keyFile string, err error) {
	return openStore(ctx, c, log, readOnly, nil, nil)
}

func openStore(ctx context.Context, c Config, log *slog.Logger, readOnly bool, indexPanics func(), lost func(error)) (s *store.Store, keyFile string, err error) {
	keys, keyFile, err := masterKey(c, readOnly)
	if err != nil {
		return nil, "", err
	}
	s, err = store.Open(ctx, store.Options{
		Dir: c.Data, DatabaseURL: c.DatabaseURL, BlobURL: c.BlobURL, Keys: keys, ReadOnly: readOnly, Log: log, Panic: indexPanics, Lost: lost,
	})
	return s, keyFile, err
}

func masterKey(c Config, readOnly bool) (*vault.Keyring, string, error) {
	if c.MasterKey != "" {
		keys, err := vault.ParseKeyring(c.MasterKey)
		if err != nil {
			return nil, "", fmt.Errorf("POSTHORN_MASTER_KEY: %w", err)
		}
		return keys, "", nil
	}
	file := filepath.Join(c.Data, vault.KeyFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if readOnly {
			return nil, "", fmt.Errorf("no master key: set POSTHORN_MASTER_KEY, or POSTHORN_DATA to the server's directory: %w", err)
		}
		if _, err := vault.ReadRing(c.Data); err == nil {
			return nil, "", fmt.Errorf("the store in %s has a master key, but neither POSTHORN_MASTER_KEY nor %s is there: without it the data cannot be read", c.Data, file)
		}
	}
	keys, created, err := vault.LoadOrCreate(c.Data)
	if err != nil || !created {
		return keys, "", err
	}
	return keys, file, nil
}

// New opens the store, makes sure there is an API key, and opens the listeners. Nothing answers before Start.
func New(ctx context.Context, c Config, log *slog.Logger) (a *App, err error) {
	if c.EventRetention != 0 && c.EventRetention < leastRetention {
		return nil, fmt.Errorf("POSTHORN_EVENT_RETENTION: %v is too short, %v is the least", c.EventRetention, leastRetention)
	}
	allow, err := c.egress()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	public, err := c.publicURL()
	if err != nil {
		return nil, err
	}
	a = &App{log: log, failed: make(chan error, 3)}
	made := a // a return with an error clears a
	defer func() {
		if err != nil {
			made.Stop(ctx)
		}
	}()
	m := newMetrics(a)
	if a.store, a.NewMasterKey, err = openStore(ctx, c, log, false, m.indexPanics.Inc, func(err error) { made.failed <- err }); err != nil {
		return nil, err
	}
	if a.NewAPIKey, err = bootstrapKey(ctx, a.store, c.APIKey); err != nil {
		return nil, err
	}
	guard := provider.Guard{Allow: allow, Ports: provider.MailPorts()}
	a.traces = newTraces(c.Data, c.Trace)
	a.engine = syncer.New(syncer.Options{Store: a.store, Log: log, TLS: tlsConfig, Guard: guard, Trace: a.traces.of, Grace: c.MoveGrace, Confirm: c.ConfirmLoss, Events: m.events()})
	a.sender = sender.New(sender.Options{Store: a.store, Operator: a.engine, Guard: guard, TLS: tlsConfig, Log: log, Events: m.sendEvents()})
	a.notify = notify.New(notify.Options{Store: a.store, Guard: provider.Guard{Allow: allow}, TLS: tlsConfig, Log: log, Keep: c.EventRetention, Panic: m.deliveryPanics.Inc})
	a.index = indexer.New(indexer.Options{Store: a.store, Log: log, Panic: m.indexPanics.Inc})
	authority := auth.New(auth.Options{Store: a.store, Guard: guard, TLS: tlsConfig, Resolver: net.DefaultResolver, Log: log})
	handler := api.New(api.Deps{Store: a.store, Auth: authority, Engine: a.engine, Sender: a.sender, Notify: a.notify, Log: log, Version: Version, MaxMessage: c.MaxMessage << 20, PublicURL: public, Limits: api.Limits{Key: c.RateKey, Grant: c.RateGrant}, Events: api.Events{Panic: func(string) { m.requestPanics.Inc() }}})
	a.closeAPI = handler.Close
	if a.apiListener, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, fmt.Errorf("POSTHORN_LISTEN: %w", err)
	}
	a.api = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	if c.AdminListen != "" {
		if a.adminListener, err = net.Listen("tcp", c.AdminListen); err != nil {
			return nil, fmt.Errorf("POSTHORN_ADMIN_LISTEN: %w", err)
		}
		a.admin = &http.Server{Handler: a.adminHandler(m), ReadHeaderTimeout: 10 * time.Second}
	}
	return a, nil
}

// Addr is where the API listens.
func (a *App) Addr() string { return a.apiListener.Addr().String() }

// Store is the server's store.
func (a *App) Store() *store.Store { return a.store }

// Start begins to answer requests and to sync accounts, and returns.
func (a *App) Start(ctx context.Context) error {
	serve := func(s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- err
		}
	}
	go serve(a.api, a.apiListener)
	if a.admin != nil {
		go serve(a.admin, a.adminListener)
	}
	a.notify.Start(ctx)
	a.index.Start(ctx)
	if err := a.engine.Open(ctx); err != nil {
		return fmt.Errorf("start the accounts: %w", err)
	}
	if err := a.sender.Start(ctx); err != nil {
		return fmt.Errorf("start to send: %w", err)
	}
	a.ready.Store(true)
	a.log.Info("listening", "op", "start", "addr", a.Addr(), "version", Version)
	return nil
}

// Failed delivers the error of a part that ended although nobody stopped it, and of a store that another server has taken.
func (a *App) Failed() <-chan error { return a.failed }

// Stop ends everything in reverse order: no new requests, requests under way to their end or until ctx is done, the
// accounts, the store. It may be called twice.
func (a *App) Stop(ctx context.Context) {
	a.stop.Do(func() {
		a.ready.Store(false)
		if a.api != nil {
			a.closeAPI() // or what waits for events would be waited for
			if err := a.api.Shutdown(ctx); err != nil {
				_ = a.api.Close() // the requests had their time
			}
		} else if a.apiListener != nil {
			_ = a.apiListener.Close()
		}
		if a.sender != nil {
			a.sender.Stop(ctx)
		}
		if a.engine != nil {
			a.engine.Close()
			a.traces.close()
		}
		if a.index != nil {
			a.index.Stop()
		}
		if a.notify != nil {
			a.notify.Stop()
		}
		if a.store != nil {
			if err := a.store.Close(); err != nil {
				a.log.Error("closing the store failed", "op", "stop", "err", err)
			}
		}
		if a.admin != nil {
			_ = a.admin.Close()
		} else if a.adminListener != nil {
			_ = a.adminListener.Close()
		}
	})
}

// bootstrapKey makes the configured key the default application's in place of an earlier one, or makes a first one if
// there is none at all.
func bootstrapKey(ctx context.Context, s *store.Store, configured string) (made string, err error) {
	app, err := s.DefaultApp(ctx)
	if err != nil {
		return "", fmt.Errorf("read the default application: %w", err)
	}
	key := configured
	if key == "" {
		n, err := s.CountAPIKeys(ctx, app.ID)
		if err != nil || n > 0 {
			return "", err
		}
		key = auth.NewKey()
		made = key
	}
	if err := s.ReplaceAPIKey(ctx, app.ID, "bootstrap", auth.Hash(key)); err != nil {
		return "", fmt.Errorf("store the API key: %w", err)
	}
	return made, nil
}

func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("POSTHORN_TLS_CA: %w", err)
	}
	if t.RootCAs, err = x509.SystemCertPool(); err != nil {
		t.RootCAs = x509.NewCertPool()
	}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("POSTHORN_TLS_CA: %s holds no PEM certificate", c.TLSCA)
	}
	return t, nil
}
