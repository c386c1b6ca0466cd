package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// asker refuses endpoints with "bad" in their URL and remembers what it was asked.
type asker struct {
	Notifier
	told []string
}

func (a *asker) Challenge(_ context.Context, url string) error {
	a.told = append(a.told, "challenge "+url)
	if strings.Contains(url, "bad") {
		return mail.E(mail.Invalid, "verify webhook", "unable.verify.webhook_url : status is not ok, got 404", nil)
	}
	return nil
}

func (a *asker) Try(_ context.Context, _ mail.AppID, kind, url string) error {
	a.told = append(a.told, kind+" "+url)
	return nil
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ask := &asker{}
	b.api.Notify = ask
	made := func(body string) v3.Webhook {
		t.Helper()
		a := b.send("POST", "/v3/webhooks", body)
		var w v3.Webhook
		if a.Code != 200 || json.Unmarshal(a.json.Data, &w) != nil {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		return w
	}
	w := made(`{"trigger_types":["message.created","folder.created","message.created"],"webhook_url":"https://x.example/h","description":"d","notification_email_addresses":["ops@example.com"]}`)
	if !strings.HasPrefix(w.WebhookSecret, "whsec_") || w.Status != "active" || len(w.TriggerTypes) != 2 || w.CreatedAt == 0 || w.Emails[0] != "ops@example.com" {
		t.Errorf("%+v", w)
	}
	path := "/v3/webhooks/" + w.ID
	var got v3.Webhook
	b.get(path, &got)
	if got.WebhookSecret != "" || got.WebhookURL != w.WebhookURL {
		t.Errorf("%+v", got)
	}
	var list []v3.Webhook
	if b.get("/v3/webhooks", &list); len(list) != 1 || list[0].ID != w.ID || list[0].WebhookSecret != "" {
		t.Errorf("%+v", list)
	}
	for _, body := range []string{`{"status":"pause"}`, `{"status":"active"}`, `{"description":"new"}`, `{"webhook_url":"https://y.example/"}`} {
		if a := b.send("PUT", path, body); a.Code != 200 {
			t.Errorf("%s: %d %s", body, a.Code, a.Body)
		}
	}
	if want := []string{"challenge https://x.example/h", "challenge https://x.example/h", "challenge https://y.example/"}; !slices.Equal(ask.told, want) {
		t.Errorf("asked %v, want %v", ask.told, want)
	}
	b.get(path, &got)
	if got.Description != "new" || got.Status != "active" || len(got.TriggerTypes) != 2 {
		t.Errorf("%+v", got)
	}
	b.fails(b.send("PUT", path, `{"webhook_url":"https://bad.example/"}`), 400, v3.TypeInvalid, "unable.verify.webhook_url")
	secrets := map[string]bool{w.WebhookSecret: true}
	for _, a := range []*answer{b.send("POST", "/v3/webhooks/rotate-secret/"+w.ID, "{}"), b.send("PUT", path+"/rotate-secret", "{}")} {
		if a.Code != 200 || json.Unmarshal(a.json.Data, &got) != nil || secrets[got.WebhookSecret] || got.WebhookSecret == "" {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		secrets[got.WebhookSecret] = true
	}

	for body, says := range map[string]string{
		`{}`: "required", ``: "JSON", `[]`: "JSON", `{"trigger_types":[],"webhook_url":"https://x.example"}`: "at least one",
		`{"trigger_types":["message.nonsense"],"webhook_url":"https://x.example"}`:                                            "message.nonsense",
		`{"trigger_types":["message.created"],"webhook_url":"ftp://x.example"}`:                                               "https URL",
		`{"trigger_types":["message.created"],"webhook_url":"https://u:p@x.example"}`:                                         "https URL",
		`{"trigger_types":["message.created"],"webhook_url":"https://bad.example"}`:                                           "got 404",
		`{"trigger_types":["message.created"],"webhook_url":"https://x.example","notification_email_addresses":["not mail"]}`: "notification_email_addresses",
	} {
		b.fails(b.send("POST", "/v3/webhooks", body), 400, v3.TypeInvalid, says)
	}
	b.fails(b.send("PUT", path, `{"status":"failed"}`), 400, v3.TypeInvalid, "status")
	for _, kind := range v3.Triggers() {
		a := b.send("POST", "/v3/webhooks/mock-payload", fmt.Sprintf(`{"trigger_type":%q}`, kind))
		if a.Code != 200 {
			t.Errorf("%s: %s", kind, a.Body)
		}
	}
	b.fails(b.send("POST", "/v3/webhooks/mock-payload", `{"trigger_type":"x"}`), 400, v3.TypeInvalid, "trigger")
	if a := b.send("POST", "/v3/webhooks/send-test-event", `{"trigger_type":"message.created","webhook_url":"https://z.example/"}`); a.Code != 200 || ask.told[len(ask.told)-1] != "message.created https://z.example/" {
		t.Errorf("%s %v", a.Body, ask.told)
	}
	b.get("/v3/webhooks/ip-addresses", nil)

	// Deliveries.
	acct := b.account("ann@example.test").acct.ID
	whole, err := b.store.Webhook(t.Context(), "", w.ID)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		d := store.Delivery{Notification: "n", Type: "message.created", Attempt: n + 1, Status: 500, Took: time.Second, Error: "the endpoint answered 500"}
		if err := b.store.RecordDelivery(t.Context(), whole, store.WebhookCursor{Webhook: w.ID, Account: acct}, d); err != nil {
			t.Fatal(err)
		}
	}
	var ds []v3.Delivery
	a := b.get(path+"/deliveries?limit=2", &ds)
	if len(ds) != 2 || ds[0].Attempt != 3 || ds[0].Delivered || ds[0].GrantID != string(acct) || a.json.NextCursor == "" {
		t.Errorf("%+v", ds)
	}
	if b.get(path+"/deliveries?page_token="+a.json.NextCursor, &ds); len(ds) != 1 || ds[0].Attempt != 1 {
		t.Errorf("%+v", ds)
	}
	b.fails(b.do("GET", path+"/deliveries?page_token=x"), 400, v3.TypeInvalid, "page_token")

	for _, a := range []*answer{b.do("GET", "/v3/webhooks/wh_none"), b.do("DELETE", "/v3/webhooks/wh_none"), b.send("PUT", "/v3/webhooks/wh_none", "{}"), b.send("POST", "/v3/webhooks/rotate-secret/wh_none", "{}"),
		b.do("GET", "/v3/webhooks/wh_none/deliveries")} {
		b.fails(a, http.StatusNotFound, v3.TypeNotFound, "")
	}
	if a := b.do("DELETE", path); a.Code != 200 || string(a.json.Data) != `{"status":"success"}` {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.fails(b.do("GET", path), http.StatusNotFound, v3.TypeNotFound, "webhook")
}
