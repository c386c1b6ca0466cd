package imap

import "context"

// Namespaces is the answer to NAMESPACE (RFC 2342).
type Namespaces struct{ Personal, Other, Shared []Namespace }

// Namespace is one prefix under which mailboxes live.
type Namespace struct{ Prefix, Delimiter string }

// Namespace asks under which prefixes mailboxes live.
func (s *Session) Namespace(ctx context.Context) (Namespaces, error) {
	var out Namespaces
	_, err := s.run(ctx, "NAMESPACE", nil, func(kind string, _ uint32, p *parser) (bool, error) {
		if kind != "NAMESPACE" {
			return false, nil
		}
		for _, dst := range []*[]Namespace{&out.Personal, &out.Other, &out.Shared} {
			p.space()
			if p.done() {
				break
			}
			err := p.list(func() error { return parseNamespace(p, dst) })
			if err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return out, err
}

func parseNamespace(p *parser, dst *[]Namespace) error {
	var n Namespace
	i := 0
	err := p.list(func() error {
		if i++; i > 2 { // extensions
			_, err := p.skip()
			return err
		}
		b, _, err := p.str()
		if i == 1 {
			n.Prefix = string(b)
		} else {
			n.Delimiter = string(b)
		}
		return err
	})
	if err == nil && i > 0 && len(*dst) < 100 {
		*dst = append(*dst, n)
	}
	return err
}
