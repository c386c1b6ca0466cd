package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/v3"
)

// TestIdempotencyKeys: whatever a request changes, the same again with the same key is answered the same and changes nothing.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.account("ann@example.test")
	other := b.account("bob@example.test")
	pending := func() int {
		t.Helper()
		due, _, err := m.mb.PendingOperations(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(due)
	}
	same := func(first, again *answer) {
		t.Helper()
		if again.Code != first.Code || string(again.json.Data) != string(first.json.Data) || again.Header().Get(againHeader) != "true" || first.Header().Get(againHeader) != "" {
			t.Errorf("%d %s, again %d %s %v", first.Code, first.Body, again.Code, again.Body, again.Header())
		}
		if again.json.RequestID == first.json.RequestID {
			t.Error("both have one request id")
		}
	}
	key := func(k string) []string { return []string{keyHeader, k} }

	first := b.send("POST", m.base+"/folders", `{"name":"Work"}`, key("k1")...)
	if first.Code != 202 {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	same(first, b.send("POST", m.base+"/folders", ` { "name" : "Wor\u006b" } `, key("k1")...)) // spelt otherwise
	if n := pending(); n != 1 {
		t.Errorf("%d operations", n)
	}
	b.fails(b.send("POST", m.base+"/folders", `{"name":"Play"}`, key("k1")...), 409, v3.TypeKeyReused, "another request")
	b.fails(b.send("PUT", m.base+"/folders/"+string(m.inbox), `{"name":"Work"}`, key("k1")...), 409, v3.TypeKeyReused, "another request")
	if a := b.send("POST", other.base+"/folders", `{"name":"Play"}`, key("k1")...); a.Code != 202 || a.Header().Get(againHeader) != "" {
		t.Errorf("of another grant: %d %s", a.Code, a.Body)
	}
	b.fails(b.send("POST", m.base+"/folders", `{"name":"x"}`, key(strings.Repeat("k", 257))...), 400, v3.TypeKeyInvalid, "256")

	// A request that did nothing leaves its key free.
	b.fails(b.send("POST", m.base+"/folders", `{}`, key("k2")...), 400, v3.TypeInvalid, "name")
	if a := b.send("POST", m.base+"/folders", `{"name":"Second"}`, key("k2")...); a.Code != 202 || a.Header().Get(againHeader) != "" {
		t.Errorf("%d %s", a.Code, a.Body)
	}

	// Drafts, in both forms.
	draft := `{"subject":"s","to":[{"email":"x@example.test"}],"body":"b"}`
	before := pending()
	first = b.send("POST", m.base+"/drafts", draft, key("k3")...)
	if first.Code != 202 {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	same(first, b.send("POST", m.base+"/drafts", draft, key("k3")...))
	form := "--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n" + draft + "\r\n--b--\r\n"
	same(first, b.send("POST", m.base+"/drafts", form, append(key("k3"), "Content-Type", "multipart/form-data; boundary=b")...))
	b.fails(b.send("POST", m.base+"/drafts", strings.Replace(draft, `"b"`, `"c"`, 1), key("k3")...), 409, v3.TypeKeyReused, "another request")
	if n := pending() - before; n != 1 {
		t.Errorf("%d drafts", n)
	}

	// Things of the application.
	first = b.send("POST", "/v3/applications/redirect-uris", `{"url":"https://app.example.com/cb"}`, key("k1")...)
	same(first, b.send("POST", "/v3/applications/redirect-uris", `{"url":"https://app.example.com/cb"}`, key("k1")...))
	var made v3.RedirectURI
	b.decode(first, &made)
	first = b.do("DELETE", "/v3/applications/redirect-uris/"+made.ID, key("k4")...)
	same(first, b.do("DELETE", "/v3/applications/redirect-uris/"+made.ID, key("k4")...))

	// While the first is under way, and after it was cut off.
	var inside *answer
	b.engine.during = func() {
		b.engine.during = nil
		inside = b.send("POST", m.base+"/folders", `{"name":"Third"}`, key("k5")...)
	}
	first = b.send("POST", m.base+"/folders", `{"name":"Third"}`, key("k5")...)
	b.fails(inside, 409, v3.TypeKeyBusy, "under way")
	b.engine.during = func() { panic("canary") }
	b.fails(b.send("POST", m.base+"/folders", `{"name":"Fourth"}`, key("k6")...), 500, v3.TypeUnexpected, "")
	b.engine.during = nil
	b.fails(b.send("POST", m.base+"/folders", `{"name":"Fourth"}`, key("k6")...), 409, v3.TypeKeyBusy, "interrupted")
	var op v3.Operation
	if err := json.Unmarshal(first.json.Data, &op); err != nil || op.ID == "" {
		t.Errorf("%s %v", first.Body, err)
	}
}
