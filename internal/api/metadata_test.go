package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	ids := m.deliver(letter{raw: plain("a", "x@example.test", "s", "b"), at: 1700001000}, letter{raw: plain("b", "x@example.test", "s2", "b"), at: 1700002000})
	path := m.base + "/messages/" + string(ids[0])
	set := func(body string) map[string]string {
		t.Helper()
		a := m.send("PUT", path, body)
		if a.Code != 200 {
			t.Fatalf("%s: %d %s", body, a.Code, a.Body)
		}
		var v v3.Message
		m.get(path, &v)
		return v.Metadata
	}
	found := func(pair string) int {
		t.Helper()
		var list []v3.Message
		m.get(m.base+"/messages?metadata_pair="+pair, &list)
		return len(list)
	}
	before, _ := m.mb.Seq(t.Context())
	if got := set(`{"metadata":{"key1":"order 1, \"x\"","My_Key":"ü"}}`); len(got) != 2 || got["key1"] != `order 1, "x"` || got["My_Key"] != "ü" {
		t.Errorf("%v", got)
	}
	if found(`key1:order%201,%20%22x%22`) != 1 || found("key1:order") != 0 || found("key2:%C3%BC") != 0 {
		t.Error("the pair is not found, or what is no pair is")
	}
	set(`{"metadata":{"key1":"order 1, \"x\"","My_Key":"ü"}}`)
	changes, err := m.mb.Changes(t.Context(), before, 10)
	if err != nil || len(changes) != 1 || changes[0].Kind != mail.MessageTagged || changes[0].Object != string(ids[0]) || changes[0].Data.Metadata["My_Key"] != "ü" {
		t.Errorf("the same twice is one change: %+v %v", changes, err)
	}
	if got := set(`{"metadata":{"key2":"two"}}`); len(got) != 1 || got["key2"] != "two" || found("key1:order%201,%20%22x%22") != 0 || found("key2:two") != 1 {
		t.Errorf("metadata is replaced as a whole: %v", got)
	}
	if got := set(`{"unread":null}`); len(got) != 1 {
		t.Errorf("an update of something else: %v", got)
	}
	if got := set(`{"metadata":{}}`); len(got) != 0 || found("key2:two") != 0 {
		t.Errorf("%v", got)
	}
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	for _, bad := range []string{
		`{"metadata":{"key1":1}}`, `{"metadata":["a"]}`, `{"metadata":{"` + strings.Repeat("k", 41) + `":"v"}}`, `{"metadata":{"k":"` + strings.Repeat("v", 501) + `"}}`,
		`{"metadata":{"":"v"}}`, `{"metadata":{` + strings.Join(many, ",") + `}}`,
	} {
		m.fails(m.send("PUT", path, bad), 400, v3.TypeInvalid, "metadata")
	}
	if got := set(`{"metadata":{"` + strings.Repeat("ä", 40) + `":"` + strings.Repeat("ü", 500) + `"}}`); len(got) != 1 {
		t.Error("characters are counted, not bytes")
	}
	var th v3.Message
	m.get(path, &th)
	m.fails(m.send("PUT", m.base+"/threads/"+string(th.ThreadID), `{"metadata":{"key1":"x"}}`), 400, v3.TypeInvalid, "threads")
	m.fails(m.do("GET", m.base+"/threads?metadata_pair=key1:x"), 400, v3.TypeInvalid, "threads")

	// It goes with its message, and the store agrees with its log.
	set(`{"metadata":{"key3":"last"}}`)
	problems, err := m.mb.Check(t.Context())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	html := "Message-ID: <h@example.test>\nFrom: x@example.test\nSubject: Re: plan\nContent-Type: text/html; charset=utf-8\n\n" +
		"<p>Yes, <a href=\"https://example.com/a\">let us</a>.</p><p>Best regards</p><p>Bo</p><blockquote type=\"cite\">shall we?</blockquote>\n"
	ids := m.deliver(letter{raw: plain("a", "x@example.test", "Re: s", "Fine.\n\nOn Monday Ann wrote:\n> is it?\n> really?"), at: 1700001000},
		letter{raw: html, at: 1700002000}, letter{raw: plain("c", "x@example.test", "s", "b"), at: 1700003000, headed: true})
	clean := func(more string) []v3.CleanMessage {
		t.Helper()
		a := m.send("PUT", m.base+"/messages/clean", fmt.Sprintf(`{"message_id":[%q,%q]%s}`, ids[0], ids[1], more))
		if a.Code != 200 {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		var out []v3.CleanMessage
		m.decode(a, &out)
		if len(out) != 2 || out[0].ID != ids[0] || out[1].ID != ids[1] {
			t.Fatalf("%s", a.Body)
		}
		return out
	}
	out := clean("")
	if out[0].Conversation != "Fine." || !strings.Contains(out[0].Body, "really?") {
		t.Errorf("%q of %q", out[0].Conversation, out[0].Body)
	}
	if c := out[1].Conversation; !strings.Contains(c, "let us") || strings.Contains(c, "shall we") || strings.Contains(c, "Bo") || strings.Contains(c, "<") {
		t.Errorf("%q", c)
	}
	if c := clean(`,"ignore_links":false`)[1].Conversation; !strings.Contains(c, `<a href="https://example.com/a"`) || strings.Contains(c, "shall we") {
		t.Errorf("%q", c)
	}
	if c := clean(`,"html_as_markdown":true,"ignore_links":false,"remove_conclusion_phrases":false`)[1].Conversation; !strings.Contains(c, "](https://example.com/a)") || !strings.Contains(c, "Best regards") {
		t.Errorf("%q", c)
	}
	m.fails(m.send("PUT", m.base+"/messages/clean", fmt.Sprintf(`{"message_id":[%q,"mAAAAAAAAAAAAAAAAAAAAAA"]}`, ids[0])), 404, v3.TypePartial, "do not exist")
	m.fails(m.send("PUT", m.base+"/messages/clean", `{"message_id":[]}`), 400, v3.TypeInvalid, "1 to 20")
	m.fails(m.send("PUT", m.base+"/messages/clean", `{"message_id":["`+strings.Repeat(`x","`, 20)+`x"]}`), 400, v3.TypeInvalid, "1 to 20")
	m.fails(m.send("PUT", m.base+"/messages/clean", fmt.Sprintf(`{"message_id":[%q]}`, ids[2])), 504, v3.TypeProvider, "not fetched")
}
