package v3

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// Select is the set of top-level fields a caller asked for; the zero value means all.
type Select struct{ names map[string]bool }

// ParseSelect reads a comma list. id, object and grant_id are always kept: clients cannot read an object without.
func ParseSelect(s string) Select {
	names := map[string]bool{}
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f != "" {
			names[f] = true
		}
	}
	if len(names) == 0 {
		return Select{}
	}
	names["id"], names["object"], names["grant_id"] = true, true, true
	return Select{names}
}

// Has tells whether field name is wanted.
func (s Select) Has(name string) bool { return s.names == nil || s.names[name] }

// Encode writes v, a struct or a slice of structs, as JSON with the selected fields only. Strings are not escaped
// for HTML: the answer is never read as such, and bodies are mostly angle brackets.
func (s Select) Encode(b *bytes.Buffer, v any) error {
	if s.names == nil {
		return encode(b, v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		return s.object(b, rv)
	}
	b.WriteByte('[')
	for i := range rv.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := s.object(b, rv.Index(i)); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func (s Select) object(b *bytes.Buffer, v reflect.Value) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	t := v.Type()
	b.WriteByte('{')
	first := true
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if !s.names[name] || strings.HasPrefix(opts, "omit") && (v.Field(i).IsZero()) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`"` + name + `":`)
		if err := encode(b, v.Field(i).Interface()); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}
