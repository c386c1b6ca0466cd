package mime

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// crlf writes a message with the line ends of the wire.
func crlf(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n") }

func parse(t *testing.T, raw string) *Message {
	t.Helper()
	m, err := Parse(strings.NewReader(raw), Options{Digests: true})
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return m
}

// oneByte returns one byte a read and hides the length.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}

func listOf(a []Address) string {
	var b strings.Builder
	for i, x := range a {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s <%s>", x.Name, x.Email)
	}
	return b.String()
}

// outline prints the structure that was found.
func outline(m *Message) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "text=%q html=%q", m.TextAll, m.HTMLAll)
	for _, a := range m.Attachments {
		fmt.Fprintf(&b, " [%s %s %q %s %d", a.ID, a.ContentType, a.Name, a.Disposition, a.Size)
		if a.Inline {
			b.WriteString(" inline")
		}
		b.WriteString("]")
	}
	return b.String()
}
