package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// Options say where a store is and how to open it.
type Options struct {
	Dir         string         // data directory of the embedded store
	DatabaseURL string         // postgres://…: the cluster store; "" is the embedded one
	BlobURL     string         // file://… or s3://…: sealed bodies go there; "" keeps them in the database
	Keys        *vault.Keyring // the master key
	ReadOnly    bool           // look only: beside a running server, without lock, migration or any write
	Log         *slog.Logger
	Now         func() time.Time
	Panic       func() // the parser panicked at a message that is taken into the search index

	// Lost is called once when another server has taken the database of this one, which can then read and no longer write
	// (Fenced): it has to end. Lost must return at once and may not close the store.
	Lost func(error)

	tuneLock func(*pgLock) // for tests
}

// Store is everything kept: the control store and one mailbox per account. Safe for concurrent use.
type Store struct {
	o       Options
	log     *slog.Logger
	now     func() time.Time
	codec   *vault.Codec
	texts   *texts
	control *controlDB
	files   *filePool // embedded
	pg      *pgPool   // cluster
	objects objects   // nil: blobs lie in the database
	packer  *vault.Packer
	cache   *blockCache // of search indexes
	unlock  func() error

	mu          sync.Mutex
	mailboxes   map[mail.AccountID]*Mailbox
	eraseAtOnce int                     // rows; erasedAtOnce, but in tests
	erased      map[mail.AccountID]bool // by this process: a handle that was being opened meanwhile is not kept
	closed      bool

	watchers watchers
	attempts atomic.Int64 // time of the last recorded delivery
	records  joint        // of deliveries
	hooks    atomic.Int64 // changes of webhooks that were committed
}

// Open opens the store and takes it for this server alone. It fails with Conflict if another server has it, Refused if
// it was written by a newer Posthorn, and vault.ErrWrongMaster if it needs another master key.
func Open(ctx context.Context, o Options) (s *Store, err error) {
	if o.Keys == nil {
		return nil, mail.E(mail.Invalid, "open the store", "no master key", nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s = &Store{o: o, log: o.Log, now: o.Now, mailboxes: map[mail.AccountID]*Mailbox{}, eraseAtOnce: erasedAtOnce, erased: map[mail.AccountID]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.codec, err = vault.NewCodec(); err != nil {
		return s, err
	}
	if s.packer, err = vault.NewPacker(); err != nil {
		return s, err
	}
	s.cache = newBlockCache()
	if o.BlobURL != "" {
		if s.objects, err = openObjects(o.BlobURL); err != nil {
			return s, err
		}
	}
	if o.DatabaseURL != "" {
		err = s.openPostgres(ctx)
	} else {
		err = s.openEmbedded(ctx)
	}
	if err != nil || o.ReadOnly {
		return s, err
	}
	if err := s.makeDefaultApp(ctx); err != nil {
		return s, err
	}
	return s, s.sweepErased(ctx)
}

func (s *Store) openEmbedded(ctx context.Context) error {
	s.texts = newTexts(sqlite)
	dir, ro := s.o.Dir, s.o.ReadOnly
	if dir == "" {
		return mail.E(mail.Invalid, "open the store", "no data directory", nil)
	}
	if !ro {
		if err := os.MkdirAll(filepath.Join(dir, "acct"), 0o700); err != nil {
			return mail.E(mail.Unavailable, "open the store", "the data directory cannot be made", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return mail.E(mail.Unavailable, "open the store", "the data directory is not ours", err)
		}
		unlock, err := lockFile(filepath.Join(dir, "lock"))
		if err != nil {
			return err
		}
		s.unlock = unlock
	}
	path := filepath.Join(dir, "control.db")
	ring, err := vault.ReadRing(dir)
	var key *vault.Key
	switch {
	case err == nil:
		if key, err = s.o.Keys.OpenRing(ring); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case ro:
		return mail.E(mail.NotFound, "open the store", "there is no store in "+dir, err)
	default:
		if _, serr := os.Stat(path); serr == nil {
			return mail.E(mail.Internal, "open the store", fmt.Sprintf("%s is missing beside %s: put it back from a backup", vault.RingFile, path), err)
		}
		ring, key = s.o.Keys.NewRing()
		if err := vault.WriteRing(dir, ring); err != nil {
			return storeError(err)
		}
	}
	s.files = newFilePool(ro, s.now)
	page := key.Derive("page")
	f := s.files.file(path, page[:], controlSchema())
	f.fresh = nothingFresh
	s.control = &controlDB{src: f, texts: s.texts}
	return s.control.read(ctx, func(*tx) error { return nil })
}

// Close closes everything, waiting for transactions that are under way. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	if s.files != nil {
		errs = append(errs, s.files.close())
	}
	if s.unlock != nil {
		errs = append(errs, s.unlock())
	}
	if s.pg != nil {
		errs = append(errs, s.pg.close())
	}
	if s.objects != nil {
		errs = append(errs, s.objects.close())
	}
	if s.codec != nil {
		s.codec.Close()
	}
	if s.packer != nil {
		s.packer.Close()
	}
	return errors.Join(errs...)
}

// Mailbox returns the account's mailbox. The handle stays good while the store is open and the account exists; the
// account's file is opened and closed behind it as needed. NotFound: no such account.
func (s *Store) Mailbox(ctx context.Context, id mail.AccountID) (*Mailbox, error) {
	s.mu.Lock()
	m, closed := s.mailboxes[id], s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, stopping()
	case m != nil:
		return m, nil
	}
	key, err := s.accountKey(ctx, id)
	if err != nil {
		return nil, err
	}
	m = &Mailbox{id: id, db: s.newMailDB(id, key), now: s.now, log: s.log, panicked: s.o.Panic, docOf: docOf, searchTime: searchTime}
	m.hint = func() { s.hint(id) }
	m.mirror = func(ctx context.Context, st mail.SyncStatus) error { return s.SetSync(ctx, id, st) }
	var raw []byte
	if err := m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT id_key FROM state WHERE {a}1=1").Scan(&raw)
	}); err != nil {
		return nil, err
	}
	if copy(m.key[:], raw) != len(m.key) {
		return nil, mail.E(mail.Internal, "open the mailbox", "its identity key is damaged", nil)
	}
	s.mu.Lock()
	have, erased, closed := s.mailboxes[id], s.erased[id], s.closed
	if have == nil && !erased && !closed {
		s.mailboxes[id] = m
		s.mu.Unlock()
		return m, nil
	}
	s.mu.Unlock()
	m.db.retire(ctx)
	if have == nil {
		return nil, noAccount(errClosed)
	}
	return have, nil
}

// newMailDB makes the database handle of an account; nothing is opened yet.
func (s *Store) newMailDB(id mail.AccountID, key *vault.Key) *mailDB {
	d := &mailDB{id: id, texts: s.texts, turn: make(chan struct{}, 1)}
	b := &blobStore{id: id, key: key, codec: s.codec, texts: s.texts, objects: s.objects, now: s.now}
	d.blobs = b
	d.search = &searchIndex{id: id, texts: s.texts, box: key.Box(s.packer, "search"), cache: s.cache, turn: make(chan struct{}, 1)}
	if s.pg != nil {
		d.src, b.src, d.search.src = s.pg, s.pg, s.pg
		return d
	}
	dir := s.accountDir(id)
	page := key.Derive("page")
	mailFile := s.files.file(filepath.Join(dir, "mail.db"), page[:], mailSchema())
	mailFile.guard = guardOwner(id, "state")
	blobFile := s.files.file(filepath.Join(dir, "blobs.db"), nil, blobSchema())
	blobFile.guard = guardOwner(id, "blob_state")
	searchFile := s.files.file(filepath.Join(dir, "search.db"), nil, searchSchema())
	searchFile.guard = guardOwner(id, "search_state")
	searchFile.fresh = func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "INSERT INTO search_state(one, owner, version, cursor, below, docs, next_unit) VALUES(1, ?, 0, 0, 0, 0, 1)", string(id))
		return err
	}
	d.src, b.src, d.search.src = mailFile, blobFile, searchFile
	return d
}

func (s *Store) accountDir(id mail.AccountID) string {
	return filepath.Join(s.o.Dir, "acct", string(id[:2]), string(id))
}
