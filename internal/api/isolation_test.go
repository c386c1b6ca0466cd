package api

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// bodies are requests that would be taken, for the routes that read one before they look for the object.
var bodies = map[string]string{
	"PATCH /v3/grants/{grant}":                        `{"scope":["x"]}`,
	"PUT /v3/grants/{grant}":                          `{"scope":["x"]}`,
	"POST /v3/grants/{grant}/folders":                 `{"name":"x"}`,
	"PUT /v3/grants/{grant}/folders/{folder}":         `{"name":"x"}`,
	"PUT /v3/grants/{grant}/messages/{message}":       `{"unread":true}`,
	"PUT /v3/grants/{grant}/messages/clean":           `{"message_id":["m"]}`,
	"PUT /v3/grants/{grant}/threads/{thread}":         `{"unread":true}`,
	"POST /v3/grants/{grant}/messages/send":           `{"to":[{"email":"x@example.test"}]}`,
	"POST /v3/grants/{grant}/drafts":                  `{"subject":"x"}`,
	"PUT /v3/grants/{grant}/drafts/{draft}":           `{"subject":"x"}`,
	"PUT /v3/webhooks/{webhook}":                      `{"description":"x"}`,
	"POST /v3/webhooks/{webhook}/{action}":            `{"since":1}`,
	"PATCH /v3/applications/redirect-uris/{redirect}": `{"platform":"js"}`,
	"PUT /v3/applications/redirect-uris/{redirect}":   `{"platform":"js"}`,
}

var wildcard = regexp.MustCompile(`\{[a-z]+\}`)

// filled puts ids in the place of the wildcards of a pattern.
func filled(t *testing.T, pattern string, ids map[string]string) string {
	t.Helper()
	out := wildcard.ReplaceAllStringFunc(pattern, func(w string) string {
		id, ok := ids[strings.Trim(w, "{}")]
		if !ok {
			t.Fatalf("%s: the test knows no id for %s", pattern, w)
		}
		return id
	})
	if strings.Contains(pattern, "/attachments/{attachment}") && !strings.Contains(pattern, "/messages/") {
		out += "?message_id=" + ids["message"]
	}
	return out
}

// same is an answer without what differs between any two.
func same(a *answer) string {
	return strings.ReplaceAll(a.Body.String(), a.json.RequestID, "")
}

// TestNobodySeesAnothersThings walks every route with no key, with a wrong one, with the key of another application and
// with an access token for another grant. What exists and what does not must look the same.
func TestNobodySeesAnothersThings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.account("ann@example.test")
	id := m.deliver(letter{raw: withAttachments, at: 1700001000})[0]
	var msg v3.Message
	m.get(m.base+"/messages/"+string(id), &msg)
	draft := m.deliver(letter{folder: m.folder("Drafts", mail.RoleDrafts), raw: plain("draft", "ann@example.test", "unsent", "b"), flags: mail.FlagDraft, at: 1700002000})[0]
	if a := m.do("GET", m.base+"/drafts/"+string(draft)); a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	op, err := m.mb.AddOperation(t.Context(), mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{id}})
	if err != nil {
		t.Fatal(err)
	}
	hook, err := b.store.CreateWebhook(t.Context(), store.Webhook{App: b.app, URL: "https://app.example.com/hook", Triggers: []string{"message.created"}})
	if err != nil {
		t.Fatal(err)
	}
	redirect, err := b.store.AddRedirectURI(t.Context(), store.RedirectURI{App: b.app, URL: callback, Platform: "web"})
	if err != nil {
		t.Fatal(err)
	}
	spooled, err := m.mb.PutBlobs(t.Context(), []store.BlobData{{Kind: store.BlobOther, Data: []byte("later")}})
	if err != nil {
		t.Fatal(err)
	}
	later, _, err := m.mb.Enqueue(t.Context(), mail.Send{State: mail.SendScheduled, Blob: spooled[0].ID, Size: 5, From: "ann@example.test", SendAt: time.Now().Add(24 * time.Hour),
		NextTry: time.Now().Add(24 * time.Hour), Recipients: []mail.Recipient{{Email: "bob@example.test"}}})
	if err != nil {
		t.Fatal(err)
	}
	if a := m.do("GET", m.base+"/messages/schedules/"+later.ID); a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	theirs := map[string]string{
		"grant": string(m.acct.ID), "message": string(id), "thread": string(msg.ThreadID), "folder": string(m.inbox), "attachment": msg.Attachments[0].ID, "operation": op.ID, "draft": string(draft), "schedule": later.ID,
		"webhook": hook.ID, "action": "replay", "replay": "1", "redirect": redirect.ID, "provider": "imap",
	}
	nothing := map[string]string{
		"grant": uuid(), "message": "mAAAAAAAAAAAAAAAAAAAAAA", "thread": "tAAAAAAAAAAAAAAAA", "folder": "fAAAAAAAAAAAAAAAAAAAAAA", "attachment": "p9", "operation": "oAAAAAAAAAAAAAAAAAAAA", "draft": "mAAAAAAAAAAAAAAAAAAAAAB", "schedule": "sAAAAAAAAAAAAAAAAAAAA",
		"webhook": "wh_" + strings.ToLower(rand.Text()), "action": "replay", "replay": "1", "redirect": uuid(), "provider": "imap",
	}
	// Another application, with a mailbox of its own.
	eve := *b
	eve.app, eve.key = mail.AppID(uuid()), auth.NewKey()
	if err := b.store.PutAPIKey(t.Context(), eve.app, "other", auth.Hash(eve.key)); err != nil {
		t.Fatal(err)
	}
	own := eve.account("eve@example.test")
	inOwn := map[string]string{}
	for k, v := range theirs {
		inOwn[k] = v
	}
	inOwn["grant"] = string(own.acct.ID)
	bob := b.account("bob@example.test") // another grant of the same application, for an access token
	token, err := b.api.Auth.ForAccount(t.Context(), bob.acct)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := m.mb.Seq(t.Context())

	routes := 0
	for _, r := range b.api.routes {
		if r.open {
			continue
		}
		routes++
		method, pattern, _ := strings.Cut(r.pattern, " ")
		body := bodies[r.pattern]
		ask := func(ids map[string]string, header string, more ...string) *answer {
			t.Helper()
			a := b.send(method, filled(t, pattern, ids), body, append([]string{"Authorization", header}, more...)...)
			if a.Header().Get("X-Request-Id") == "" || a.Header().Get("Content-Type") != "application/json" || a.json.RequestID != a.Header().Get("X-Request-Id") {
				t.Errorf("%s: %v", r.pattern, a.Header())
			}
			return a
		}
		// No key, wrong keys: the same for what is there and what is not.
		for _, header := range []string{"", "Bearer " + auth.NewKey(), "Bearer pha_" + rand.Text(), "Basic eDp5"} {
			has, hasNot := ask(theirs, header), ask(nothing, header)
			if has.Code != 401 || hasNot.Code != 401 || same(has) != same(hasNot) {
				t.Errorf("%s with %.10q: %d %s and %d %s", r.pattern, header, has.Code, has.Body, hasNot.Code, hasNot.Body)
			}
		}
		// An access token of another grant.
		if header := "Bearer " + token.Access; strings.Contains(pattern, "{grant}") || !wildcard.MatchString(pattern) {
			has, hasNot := ask(theirs, header), ask(nothing, header)
			if has.Code != 401 || same(has) != same(hasNot) {
				t.Errorf("%s with a token: %d %s and %d %s", r.pattern, has.Code, has.Body, hasNot.Code, hasNot.Body)
			}
		}
		// Whatever changes something heeds an Idempotency-Key.
		if method != "GET" {
			if a := ask(theirs, "Bearer "+b.key, keyHeader, strings.Repeat("k", maxKey+1)); a.Code != 400 || a.json.Error.Type != v3.TypeKeyInvalid {
				t.Errorf("%s with a key that is too long: %d %s", r.pattern, a.Code, a.Body)
			}
		}
		header := "Bearer " + eve.key
		if !wildcard.MatchString(pattern) {
			if method != "GET" {
				continue
			}
			a := ask(theirs, header)
			for what, secret := range theirs {
				if len(secret) > 10 && strings.Contains(a.Body.String(), secret) {
					t.Errorf("%s shows another application the %s", r.pattern, what)
				}
			}
			continue
		}
		if strings.Contains(pattern, "{provider}") {
			continue // every application has its own of the same name
		}
		has, hasNot := ask(theirs, header), ask(nothing, header)
		if has.Code != 404 || hasNot.Code != 404 || same(has) != same(hasNot) {
			t.Errorf("%s of another application: %d %s and of nobody: %d %s", r.pattern, has.Code, has.Body, hasNot.Code, hasNot.Body)
		}
		if strings.Count(pattern, "{") > 1 && strings.Contains(pattern, "{grant}") { // its own grant, our things
			if a := ask(inOwn, header); a.Code != 404 {
				t.Errorf("%s: our object in another grant: %d %s", r.pattern, a.Code, a.Body)
			}
		}
		byMail := map[string]string{}
		for k, v := range theirs {
			byMail[k] = v
		}
		byMail["grant"] = "ann@example.test"
		if a := ask(byMail, header); a.Code != 404 || same(a) != same(hasNot) {
			t.Errorf("%s by address: %d %s", r.pattern, a.Code, a.Body)
		}
	}
	if routes < 40 {
		t.Errorf("only %d routes were walked", routes)
	}
	// Nothing of it did anything.
	if after, _ := m.mb.Seq(t.Context()); after != before {
		t.Errorf("the mailbox changed: %d, was %d", after, before)
	}
	if _, err := b.store.Webhook(t.Context(), b.app, hook.ID); err != nil {
		t.Error(err)
	}
	if u, err := b.store.RedirectURI(t.Context(), b.app, redirect.ID); err != nil || u.Platform != "web" {
		t.Errorf("%+v %v", u, err)
	}
	if acct, err := b.store.Account(t.Context(), b.app, m.acct.ID); err != nil || len(acct.Scope) != 0 {
		t.Errorf("%+v %v", acct, err)
	}
}
