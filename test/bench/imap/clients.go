package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	moxclient "github.com/mjl-/mox/imapclient"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/test/realsrv"
)

// items are what a task asks for, on the wire. UID always comes with them.
func items(task string) string {
	return map[string]string{
		"flags":    "FLAGS",
		"metadata": "FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE",
		"headers":  "FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (" + strings.Join(mime.HeaderFieldsForSync(), " ") + ")]",
		"bodies":   "FLAGS RFC822.SIZE BODY.PEEK[]",
	}[task]
}

// drain sends everything at once and throws away what comes: no client can be quicker than that.
func drain(addr string, folders []string, task string) (s seen, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return s, err
	}
	defer c.Close()
	w := bufio.NewWriter(c)
	fmt.Fprintf(w, "a LOGIN %s %s\r\n", user, password)
	for _, f := range folders {
		fmt.Fprintf(w, "b EXAMINE %s\r\nc UID FETCH 1:* (UID %s)\r\n", realsrv.Quote(f), items(task))
	}
	fmt.Fprint(w, "z LOGOUT\r\n")
	if err := w.Flush(); err != nil {
		return s, err
	}
	buf := make([]byte, 256<<10)
	end := ""
	for {
		n, err := c.Read(buf)
		if n > 0 {
			end = string(buf[max(0, n-200):n])
		}
		if err == io.EOF && strings.Contains(end, "z OK") {
			return s, nil
		}
		if err != nil {
			return s, err
		}
	}
}

// count is a writer that keeps nothing.
type count struct{ n int64 }

func (c *count) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

func ours(addr string, folders []string, task string) (s seen, err error) {
	ctx := context.Background()
	c, err := imap.Dial(ctx, imap.Options{Addr: addr, Security: imap.Plain})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, c.CloseNow()) }()
	if err := c.Login(ctx, user, password); err != nil {
		return s, err
	}
	o := imap.FetchOptions{Flags: true, Size: task != "flags"}
	var body count
	switch task {
	case "metadata":
		o.Envelope, o.BodyStructure = true, true
	case "headers":
		o.Header = mime.HeaderFieldsForSync()
	case "bodies":
		o.Body, o.Sink = true, func(imap.Literal) (io.Writer, error) { return &body, nil }
	}
	for _, f := range folders {
		sel, err := c.Select(ctx, f, imap.SelectOptions{ReadOnly: true})
		if err != nil {
			return s, err
		}
		if sel.Exists == 0 {
			continue
		}
		err = c.Fetch(ctx, imap.Range(1, imap.Star), o, func(r *imap.Row) error {
			if r.Err != nil || !r.HasFlags || o.Envelope && (r.Envelope == nil || r.BodyStructure == nil) {
				return fmt.Errorf("UID %d of %s came incomplete: %w", r.UID, f, r.Err)
			}
			s.Rows++
			s.UIDs += int64(r.UID)
			s.Bytes += int64(len(r.Header))
			if r.Envelope != nil {
				s.Texts += int64(len(r.Envelope.Subject)) + r.BodyStructure.Size
			}
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	s.Bytes += body.n
	return s, nil
}

func goImap(addr string, folders []string, task string) (s seen, err error) {
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Login(user, password).Wait(); err != nil {
		return s, err
	}
	o := &goimap.FetchOptions{UID: true, Flags: true, RFC822Size: task != "flags"}
	switch task {
	case "metadata":
		o.Envelope, o.BodyStructure = true, &goimap.FetchItemBodyStructure{Extended: true}
	case "headers":
		o.BodySection = []*goimap.FetchItemBodySection{{Specifier: goimap.PartSpecifierHeader, HeaderFields: mime.HeaderFieldsForSync(), Peek: true}}
	case "bodies":
		o.BodySection = []*goimap.FetchItemBodySection{{Peek: true}}
	}
	for _, f := range folders {
		// This client encodes names itself.
		sel, err := c.Select(realsrv.DecodeName(f), &goimap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			return s, err
		}
		if sel.NumMessages == 0 {
			continue
		}
		cmd := c.Fetch(goimap.UIDSet{goimap.UIDRange{Start: 1, Stop: 0}}, o)
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			s.Rows++
			for item := msg.Next(); item != nil; item = msg.Next() {
				switch item := item.(type) {
				case imapclient.FetchItemDataUID:
					s.UIDs += int64(item.UID)
				case imapclient.FetchItemDataEnvelope:
					s.Texts += int64(len(item.Envelope.Subject))
				case imapclient.FetchItemDataBodySection:
					n, err := io.Copy(io.Discard, item.Literal)
					if err != nil {
						return s, err
					}
					s.Bytes += n
				}
			}
		}
		if err := cmd.Close(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func mox(addr string, folders []string, task string) (s seen, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return s, err
	}
	c, err := moxclient.New(conn, &moxclient.Opts{Logger: slog.New(slog.DiscardHandler), Error: func(error) {}})
	if err != nil {
		return s, err
	}
	defer conn.Close()
	if _, err := c.Login(user, password); err != nil {
		return s, err
	}
	for _, f := range folders {
		resp, err := c.Select(f) // it cannot read the empty PERMANENTFLAGS in the answer to EXAMINE
		if err != nil {
			return s, err
		}
		exists := 0
		for _, u := range resp.Untagged {
			if n, ok := u.(moxclient.UntaggedExists); ok {
				exists = int(n)
			}
		}
		if exists == 0 {
			continue
		}
		if err := c.WriteCommandf("", "uid fetch 1:* (uid %s)", items(task)); err != nil {
			return s, err
		}
		// It collects all of an answer; reading row by row is how it has the best of memory.
		for last := s.Rows + exists; s.Rows < last; {
			u, err := c.ReadUntagged()
			if err != nil {
				return s, err
			}
			row, ok := u.(moxclient.UntaggedFetch)
			if !ok { // a slow server says that it still works
				continue
			}
			s.Rows++
			for _, a := range row.Attrs {
				switch a := a.(type) {
				case moxclient.FetchUID:
					s.UIDs += int64(a)
				case moxclient.FetchEnvelope:
					s.Texts += int64(len(a.Subject))
				case moxclient.FetchBody:
					s.Bytes += int64(len(a.Body))
				}
			}
		}
		if resp, err := c.ReadResponse(); err != nil {
			return s, fmt.Errorf("%v: %w", resp, err)
		}
	}
	return s, nil
}
