package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
	"github.com/posthorn/posthorn/test/seed"
)

// mailbox is the mailbox that is measured, at a private Dovecot.
type mailbox struct {
	*realsrv.Dovecot
	dir     string // its Maildir++
	folders []string
	bytes   int64 // of all messages; 0 where they were copied from elsewhere
}

// newMailbox makes the mailbox that the options ask for; more, if it is not nil, adds to the Maildir++. The caller stops the server.
func newMailbox(o options, server realsrv.DovecotOptions, more func(dir string) error) (m *mailbox, err error) {
	server.Password, server.Compress = password, o.compress
	d, err := realsrv.NewDovecot(server)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Stop()
		}
	}()
	m = &mailbox{Dovecot: d, dir: d.MaildirPath(user)}
	if o.maildir != "" {
		err = os.CopyFS(m.dir, os.DirFS(o.maildir))
	} else {
		fmt.Fprintf(os.Stderr, "making %d messages\n", o.n)
		m.bytes, err = seed.Maildir(m.dir, o.seed, o.n)
	}
	if err == nil && more != nil {
		err = more(m.dir)
	}
	if err != nil {
		return nil, err
	}
	if err := d.Chown(m.dir); err != nil {
		return nil, err
	}
	m.folders, err = listFolders(m.dir)
	return m, err
}

// warm lets the server read everything once, so that its index and the page cache are the same for everybody.
func (m *mailbox) warm(items ...string) error {
	for _, i := range items {
		if _, _, err := floor(m.Addr, user, password, m.folders, i); err != nil {
			return err
		}
	}
	return nil
}

// listFolders reads the folder names off a Maildir++.
func listFolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := []string{"INBOX"}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), "."); ok && e.IsDir() {
			if _, err := os.Stat(filepath.Join(dir, e.Name(), "cur")); err == nil {
				out = append(out, realsrv.DecodeName(strings.ReplaceAll(name, ".", "/")))
			}
		}
	}
	return out, nil
}

// serve starts the built program on an empty directory. end kills it and removes the directory.
func serve(ctx context.Context, o options) (s *binary.Server, end func(), err error) {
	dir, err := os.MkdirTemp("", "posthorn-bench-")
	if err != nil {
		return nil, nil, err
	}
	s, err = binary.Start(ctx, binary.Options{Path: o.bin, Dir: filepath.Join(dir, "data"), Env: append([]string{"POSTHORN_LOG_LEVEL=warn"}, o.env...)})
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return s, func() { s.Kill(); os.RemoveAll(dir) }, nil
}

// serveTapped is serve with a tap before the mail server at addr, which the caller closes.
func serveTapped(ctx context.Context, o options, addr string) (wire *tap, s *binary.Server, end func(), err error) {
	if wire, err = newTap(addr); err != nil {
		return nil, nil, nil, err
	}
	if s, end, err = serve(ctx, o); err != nil {
		wire.Close()
		return nil, nil, nil, err
	}
	return wire, s, end, nil
}

// connect connects the mailbox at an address and waits until ok.
func connect(ctx context.Context, s *binary.Server, addr string, ok func(binary.Grant) bool) (binary.Grant, error) {
	g, err := s.Connect(ctx, binary.IMAP(addr, user, password))
	if err != nil {
		return g, err
	}
	return s.Await(ctx, g.ID, ok)
}

// searchable tells whether everything of a mailbox is there and in the search index.
func searchable(g binary.Grant) bool {
	return binary.Live(g) && g.Sync.Search.Total > 0 && g.Sync.Search.Done >= g.Sync.Search.Total
}
