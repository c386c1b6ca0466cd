package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// TestPagesUnderChange: while mail arrives, leaves and moves between two pages, nothing that stays is told twice or left out.
func TestPagesUnderChange(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	var ls []letter
	for i := range 40 {
		ls = append(ls, letter{raw: plain(fmt.Sprint("p", i), "alice@example.test", fmt.Sprint("subject ", i), "x"), at: int64(1700001000 + 10*i)})
	}
	ids := m.deliver(ls...)
	slices.Reverse(ids)
	thread := map[mail.MessageID]string{}
	var all []v3.Message
	m.get(m.base+"/messages?limit=200", &all)
	for _, x := range all {
		thread[x.ID] = string(x.ThreadID)
	}
	at := func(id mail.MessageID) store.PlacementRef {
		t.Helper()
		p, err := m.mb.PlacementsOf(t.Context(), id)
		if err != nil || len(p[id]) == 0 {
			t.Fatal(err)
		}
		return store.PlacementRef{Folder: p[id][0].Folder, UIDValidity: p[id][0].UIDValidity, UID: p[id][0].UID}
	}
	n := 0
	// change does something to what was shown and to what is still to be shown, and returns what must not be missed.
	change := func(shown, open mail.MessageID) {
		t.Helper()
		n++
		m.deliver(letter{raw: plain(fmt.Sprint("new", n), "bob@example.test", fmt.Sprint("new ", n), "x"), at: int64(1700002000 + n), live: true})         // newest
		m.deliver(letter{raw: plain(fmt.Sprint("old", n), "bob@example.test", fmt.Sprint("old ", n), "x"), at: int64(1700001000 + 100*n + 5), live: true}) // in the midst
		m.apply(store.Batch{Origin: mail.OriginLive, Flags: []store.FlagUpdate{{PlacementRef: at(open), Flags: mail.FlagSeen}}})
		m.apply(store.Batch{Origin: mail.OriginLive, Vanished: []store.PlacementRef{at(shown)}})
	}
	for _, what := range []string{"messages", "threads"} {
		cursor, limit := "", 7
		var got []string
		for page := 0; ; page++ {
			var list []struct{ ID string }
			a := m.get(fmt.Sprintf("%s/%s?limit=%d&page_token=%s", m.base, what, limit, cursor), &list)
			for _, x := range list {
				if slices.Contains(got, x.ID) {
					t.Errorf("%s: %s came twice", what, x.ID)
				}
				got = append(got, x.ID)
			}
			if cursor = a.json.NextCursor; cursor == "" {
				break
			}
			limit = 3 + page
			if page < 3 {
				change(ids[page], ids[30+page])
				ids = slices.Delete(ids, page, page+1)
			}
		}
		for _, id := range ids {
			if want := map[string]string{"messages": string(id), "threads": thread[id]}[what]; !slices.Contains(got, want) {
				t.Errorf("%s: %s was left out", what, want)
			}
		}
	}
}

// TestIDsSurviveDecoding: every id that the API gives out is made of letters that no client encodes, decodes or mangles.
func TestIDsSurviveDecoding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.account("ann@example.test")
	m.deliver(letter{raw: withAttachments, at: 1700001000})
	m.deliver(letter{folder: m.folder("Drafts", mail.RoleDrafts), raw: plain("draft", "ann@example.test", "unsent", "b"), flags: mail.FlagDraft, at: 1700002000})
	b.send("POST", "/v3/applications/redirect-uris", `{"url":"https://app.example.com/cb"}`)
	if _, err := b.store.CreateWebhook(t.Context(), store.Webhook{App: b.app, URL: "https://app.example.com/hook", Triggers: []string{"message.created"}}); err != nil {
		t.Fatal(err)
	}
	m.send("POST", m.base+"/folders", `{"name":"New"}`)
	opaque := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	found := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(path+"."+k, x)
				if s, ok := x.(string); ok && (k == "id" || strings.HasSuffix(k, "_id")) && k != "content_id" {
					if found++; !opaque.MatchString(s) {
						t.Errorf("%s: %q", path+"."+k, s)
					}
				}
				if list, ok := x.([]any); ok && (k == "folders" || strings.HasSuffix(k, "_ids")) {
					for _, s := range list {
						if !opaque.MatchString(fmt.Sprint(s)) {
							t.Errorf("%s: %q", path+"."+k, s)
						}
					}
				}
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), x)
			}
		}
	}
	for _, path := range []string{"/v3/grants", m.base + "/messages", m.base + "/threads", m.base + "/folders", m.base + "/drafts", "/v3/webhooks", "/v3/applications"} {
		var v any
		m.get(path, &v)
		walk(path, v)
	}
	if found < 15 {
		t.Errorf("only %d ids were seen", found)
	}
	// Encoded whole, and twice decoded, an id names the same thing.
	var list []v3.Message
	m.get(m.base+"/messages?has_attachment=true", &list)
	id := string(list[0].ID)
	encoded := ""
	for _, c := range []byte(id) {
		encoded += fmt.Sprintf("%%%02X", c)
	}
	once, err := url.PathUnescape(id)
	if err != nil || once != id {
		t.Errorf("decoded once more: %q %v", once, err)
	}
	var one v3.Message
	if m.get(m.base+"/messages/"+encoded, &one); string(one.ID) != id {
		t.Errorf("%s", one.ID)
	}
	if a := m.do("GET", m.base+"/attachments/"+list[0].Attachments[0].ID+"?message_id="+encoded); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// TestEverythingIsJSON: whatever is asked, in whatever way, the answer is a JSON object with a body, by its exact type, and
// never a redirect.
func TestEverythingIsJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.account("ann@example.test")
	srv := httptest.NewServer(b.api)
	defer srv.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path string, body io.Reader, ctype string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+b.key)
		if ctype != "" {
			req.Header.Set("Content-Type", ctype)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		var out map[string]any
		if err != nil || method != "HEAD" && json.Unmarshal(raw, &out) != nil {
			t.Errorf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
		}
		if resp.Header.Get("Content-Type") != "application/json" || resp.StatusCode == 204 || resp.StatusCode/100 == 3 {
			t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		return resp.StatusCode, out
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		for _, path := range []string{"/", "/v3", "/v4/grants", m.base + "/nothing", "//v3//grants", "/v3/grants/", m.base, m.base + "/messages/", m.base + "/messages/m/attachments", "/v3/webhooks/ip-addresses", "/v3/connectors/imap/x", "/favicon.ico"} {
			status, out := ask(method, path, nil, "")
			if e, _ := out["error"].(map[string]any); status >= 400 && method != "HEAD" && (e["type"] == "" || e["message"] == "" || out["request_id"] == "") {
				t.Errorf("%s %s: %d %v", method, path, status, out)
			}
		}
	}
	m = b.account("bob@example.test") // the other was deleted
	// A streamed upload cannot follow a redirect: neither a doubled nor a trailing slash leads to one.
	form := "--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{\"subject\":\"streamed\"}\r\n--b--\r\n"
	for _, path := range []string{"/" + m.base + "/drafts", m.base + "/drafts/", "/v3//grants/" + string(m.acct.ID) + "//drafts//"} {
		if status, out := ask("POST", path, struct{ io.Reader }{strings.NewReader(form)}, "multipart/form-data; boundary=b"); status != 202 {
			t.Errorf("%s: %d %v", path, status, out)
		}
	}
	// What removes something answers with a body too.
	if status, out := ask("DELETE", m.base, nil, ""); status != 200 || out["request_id"] == "" {
		t.Errorf("%d %v", status, out)
	}
}

// TestListsNotModified: a list that is asked for again and has not changed is not sent again.
func TestListsNotModified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.account("ann@example.test")
	for i := range 3 {
		m.deliver(letter{raw: plain(fmt.Sprint("p", i), "alice@example.test", fmt.Sprint("subject ", i), "x"), at: int64(1700001000 + i)})
	}
	for _, path := range []string{m.base + "/messages?limit=2", m.base + "/threads", m.base + "/folders", m.base + "/drafts", m.base + "/messages/schedules", "/v3/webhooks", "/v3/applications/redirect-uris"} {
		first := m.get(path, nil)
		tag := first.Header().Get("ETag")
		if a := m.do("GET", path, "If-None-Match", tag); tag == "" || a.Code != http.StatusNotModified || a.Body.Len() != 0 {
			t.Errorf("%s: %q %d %s", path, tag, a.Code, a.Body)
		}
		if a := m.do("GET", path, "If-None-Match", `W/"other"`); a.Code != 200 || a.Header().Get("ETag") != tag {
			t.Errorf("%s: %d %s", path, a.Code, a.Header().Get("ETag"))
		}
	}
	path := m.base + "/messages?limit=3"
	tag := m.get(path, nil).Header().Get("ETag")
	m.apply(store.Batch{Origin: mail.OriginLive, Flags: []store.FlagUpdate{{PlacementRef: store.PlacementRef{Folder: m.inbox, UIDValidity: 1, UID: 1}, Flags: mail.FlagSeen}}})
	if a := m.do("GET", path, "If-None-Match", tag); a.Code != 200 {
		t.Errorf("after a flag was set: %d", a.Code)
	}
}
