package imap

import (
	"context"
	"slices"
)

// ID tells the server who we are and returns what it says of itself (RFC 2971). A nil map tells nothing.
// Coremail servers (163, 126) refuse SELECT before it.
func (s *Session) ID(ctx context.Context, id map[string]string) (map[string]string, error) {
	var out map[string]string
	_, err := s.run(ctx, "ID", func(l *line) {
		if len(id) == 0 {
			l.text(" NIL")
			return
		}
		keys := make([]string, 0, len(id))
		for k := range id {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for i, k := range keys {
			l.text([]string{" (", " "}[min(i, 1)])
			l.str(k)
			l.text(" ")
			l.str(id[k])
		}
		l.text(")")
	}, func(kind string, _ uint32, p *parser) (bool, error) {
		if kind != "ID" {
			return false, nil
		}
		kv, err := p.stringsAndNILs(64)
		if err != nil {
			return false, err
		}
		out = map[string]string{}
		for i := 0; i+1 < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return true, nil
	})
	return out, err
}
