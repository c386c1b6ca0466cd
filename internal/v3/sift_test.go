package v3

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posthorn/posthorn/internal/mail"
)

func sifted(in io.Reader, most int) (string, []string, error) {
	var taken []string
	out, err := SiftContent(in, most, func(r io.Reader) (string, error) {
		b, err := io.ReadAll(r)
		taken = append(taken, string(b))
		return fmt.Sprint(len(taken)), err
	})
	return string(out), taken, err
}

func TestSift(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 5000)
	for in, want := range map[string]struct {
		out   string
		taken []string
	}{
		`{"a": 1, "content": "x", "attachments": [ {"content": "aGk=", "filename": "attachments"}, {"Content":"aGkh\n"} ] }`: {`{"a":1,"content":"x","attachments":[{"content":"1","filename":"attachments"},{"Content":"2"}]}`, []string{"hi", "hi!"}},
		`{"attachments":{"content":"x"},"b":[{"content":"y"}]}`:                                                              {`{"attachments":{"content":"x"},"b":[{"content":"y"}]}`, nil},
		`{"attachments":[[{"content":"x"}],{"content":{"content":"y"}},{"content":null}]}`:                                   {`{"attachments":[[{"content":"x"}],{"content":{"content":"y"}},{"content":null}]}`, nil},
		`{"a":"\"attachments\":[{\"content\":\"","attachments":[{"\u0063ontent":"\u0061Gk\u003d\/","x":"\\"}]}`:              {"", nil},
		`{"attachments":[{"content":"__-_"}]}`:                                                                               {`{"attachments":[{"content":"1"}]}`, []string{"\xff\xff\xbf"}},
		`{"attachments":[{"content":""}]}`:                                                                                   {`{"attachments":[{"content":"1"}]}`, []string{""}},
		`{"attachments":[{"\u0063ontent":"\u0061Gk\u003d"}]}`:                                                                {`{"attachments":[{"\u0063ontent":"1"}]}`, []string{"hi"}},
		`{"attachments":[{"content":"` + base64.StdEncoding.EncodeToString([]byte(long)) + `"}]}`:                            {`{"attachments":[{"content":"1"}]}`, []string{long}},
		`["x"`: {`["x"`, nil}, // told by whoever reads the copy
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			out, taken, err := sifted(r, 1000)
			if want.out == "" {
				if !mail.IsKind(err, mail.Invalid) {
					t.Errorf("%.80s: %q, %v", in, out, err)
				}
				continue
			}
			if err != nil || out != want.out || fmt.Sprint(taken) != fmt.Sprint(want.taken) {
				t.Errorf("%.80s:\n%s %.80q, %v", in, out, taken, err)
			}
		}
	}
	for _, in := range []string{`{"attachments":[{"content":"a!"}]}`, `{"attachments":[{"content":"aGk=aGk="}]}`, `{"attachments":[{"content":"aGk`, `{"attachments":[{"content":"aGkxx"}]}`,
		`{"attachments":[{"content":"a\q"}]}`, `{"a":"`, `]`, strings.Repeat("[", 101)} {
		if _, _, err := sifted(strings.NewReader(in), 1000); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%.60s: %v", in, err)
		}
	}
	if _, _, err := sifted(strings.NewReader(`{"a":"`+long+`"}`), 1000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzSift(f *testing.F) {
	f.Add(`{"attachments":[{"content":"aGk=","x":[1,{"y":"\""}]}]}`)
	f.Add(`{"attachments":[{"content":"\u0061"`)
	f.Fuzz(func(t *testing.T, in string) {
		out, _, err := sifted(strings.NewReader(in), 1<<16)
		if err == nil && len(out) > len(in)+20 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}
