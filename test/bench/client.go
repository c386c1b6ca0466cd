package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mime"
)

// client reads the same as the floor with our IMAP client: every row parsed, bodies thrown away.
func client(ctx context.Context, addr, user, password string, folders []string, bodies bool) (took time.Duration, rows int, err error) {
	start := time.Now()
	s, err := imap.Dial(ctx, imap.Options{Addr: addr, Security: imap.Plain})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.CloseNow()) }()
	if err := s.Login(ctx, user, password); err != nil {
		return 0, 0, err
	}
	for _, f := range folders {
		sel, err := s.Select(ctx, imap.EncodeName(f), imap.SelectOptions{ReadOnly: true})
		if err != nil {
			return 0, rows, err
		}
		if sel.Exists == 0 {
			continue
		}
		o := imap.FetchOptions{Flags: true, InternalDate: true, Size: true}
		if bodies {
			o.Body = true
			o.Sink = func(imap.Literal) (io.Writer, error) { return io.Discard, nil }
		} else {
			o.Header = mime.HeaderFieldsForSync()
		}
		err = s.Fetch(ctx, imap.Range(1, imap.Star), o, func(r *imap.Row) error {
			if bodies != r.Body.Has || bodies == r.HasHeader {
				return fmt.Errorf("UID %d of %q came incomplete", r.UID, f)
			}
			rows++
			return nil
		})
		if err != nil {
			return 0, rows, err
		}
	}
	return time.Since(start), rows, nil
}
