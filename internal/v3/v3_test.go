package v3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func encoded(t *testing.T, sel string, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := ParseSelect(sel).Encode(&b, v); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.Bytes()) {
		t.Fatalf("not JSON: %s", &b)
	}
	return b.String()
}

func TestMessageShape(t *testing.T) {
	t.Parallel()
	bare := encoded(t, "", MessageOf(mail.Message{ID: "m1", Thread: "t1", Date: time.Unix(1700000000, 0)}, "g"))
	want := `{"id":"m1","object":"message","grant_id":"g","thread_id":"t1","subject":"","from":[],"to":[],"cc":[],"bcc":[],"reply_to":[],` +
		`"date":1700000000,"created_at":1700000000,"unread":true,"starred":false,"folders":[],"snippet":"","body":"","attachments":[],"body_pending":true}`
	if bare != want {
		t.Errorf("a message with nothing in it:\n got %s\nwant %s", bare, want)
	}
	m := MessageOf(mail.Message{
		ID: "m1", Flags: mail.FlagSeen | mail.FlagFlagged, From: []mail.Address{{Name: "Ann", Email: "ann@example.test"}}, Body: mail.BodyHeld,
		Attachments: []mail.Part{{ID: "2.1", ContentType: "image/png", Filename: "a.png", ContentID: "x@y", Size: 3, Inline: true}},
	}, "g")
	m.Body = "<p>a & b</p>"
	got := encoded(t, "", m)
	for _, part := range []string{
		`"unread":false,"starred":true`, `"from":[{"name":"Ann","email":"ann@example.test"}]`, `"body":"<p>a & b</p>"`,
		`{"id":"p2-1","grant_id":"g","filename":"a.png","content_type":"image/png","size":3,"content_id":"x@y","content_disposition":"inline; filename=\"a.png\"","is_inline":true}`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
	if strings.Contains(got, "body_pending") || strings.Contains(got, "headers") {
		t.Errorf("%s has what was not asked for", got)
	}
	m.Headers = []Header{}
	if got := encoded(t, "", m); !strings.Contains(got, `"headers":[]`) {
		t.Error("headers that were asked for are missing when there are none")
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	ms := []Message{MessageOf(mail.Message{ID: "m1", Subject: "s"}, "g"), MessageOf(mail.Message{ID: "m2"}, "g")}
	if got, want := encoded(t, "subject, nonsense", ms), `[{"id":"m1","object":"message","grant_id":"g","subject":"s"},{"id":"m2","object":"message","grant_id":"g","subject":""}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := encoded(t, "id", []Message{}); got != "[]" {
		t.Errorf("nothing selected of nothing: %s", got)
	}
	if got, want := encoded(t, "sync", GrantOf(mail.Account{ID: "g"}, mail.SyncStatus{State: mail.StateLive, Since: time.Unix(5, 0)})), `{"id":"g","object":"grant","sync":{"state":"live","since":5}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s := ParseSelect(" , "); !s.Has("body") {
		t.Error("an empty list selects nothing")
	}
}

func TestGrantShape(t *testing.T) {
	t.Parallel()
	a := mail.Account{
		ID: "id", Email: "ann@example.test", Provider: "imap", CreatedAt: time.Unix(10, 0), UpdatedAt: time.Unix(20, 0), State: "st",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "h", Port: 993, Security: "tls", Username: "u"}, SMTP: &mail.Endpoint{Host: "s", Port: 465, Security: "tls", Username: "u"}},
	}
	got := encoded(t, "", GrantOf(a, mail.SyncStatus{State: mail.StateReauth, Since: time.Unix(30, 0), Reason: "why", Action: "do", FreshAt: time.Unix(25, 0), Done: 1, Total: 4}))
	want := `{"id":"id","object":"grant","provider":"imap","grant_status":"invalid","email":"ann@example.test","scope":[],"state":"st",` +
		`"settings":{"imap_host":"h","imap_port":993,"imap_security":"tls","imap_username":"u","smtp_host":"s","smtp_port":465,"smtp_security":"tls","smtp_username":"u"},` +
		`"sync":{"state":"reauth_required","since":30,"reason":"why","action":"do","fresh_at":25,"progress":{"done":1,"total":4}},"created_at":10,"updated_at":20}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	fs := []mail.Folder{
		{ID: "f1", Name: "INBOX", Role: mail.RoleInbox, Attrs: []string{`\HasChildren`, `\inbox`}, Total: 3, Unread: 1},
		{ID: "f2", Name: "INBOX/sent", Parent: "f1"},
		{ID: "f3", Name: "Gesendet", Role: mail.RoleSent},
		{ID: "f4", Name: "spam"},
		{ID: "f5", Name: "Junk", Role: mail.RoleJunk},
		{ID: "f6", Name: "f2"},
	}
	if got, want := encoded(t, "", FoldersOf(fs, "g")[0]), `{"id":"f1","object":"folder","grant_id":"g","name":"INBOX","attributes":["\\Inbox","\\HasChildren"],"child_count":1,"total_count":3,"unread_count":1,"system_folder":true}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for in, want := range map[string]string{
		"f1": "[f1]", "inbox": "[f1]", `\Inbox`: "[f1]", "sent": "[f3]", "gesendet": "[f3]", "spam": "[f4]", "SPAM": "[f5]", "f2": "[f2]", "nothing": "[]", "archive": "[]",
	} {
		if got := fmt.Sprint(MatchFolder(fs, in)); got != want {
			t.Errorf("MatchFolder(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestThreadShape(t *testing.T) {
	t.Parallel()
	m := MessageOf(mail.Message{ID: "d1"}, "g")
	th := ThreadOf(mail.Thread{ID: "t1", Drafts: []mail.MessageID{"d1"}, Earliest: time.Unix(9, 0)}, "g", &m)
	got := encoded(t, "", th)
	for _, part := range []string{`"object":"thread"`, `"has_drafts":true`, `"message_ids":[]`, `"draft_ids":["d1"]`, `"participants":[]`, `"earliest_message_date":9`, `"latest_draft_or_message":{"id":"d1","object":"draft"`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	for _, pos := range []int64{1, 50, 1 << 62} {
		tok := Cursor(CursorMessages, pos)
		if got, err := ParseCursor(CursorMessages, tok); err != nil || got != pos {
			t.Errorf("%d came back as %d, %v", pos, got, err)
		}
		if _, err := ParseCursor(CursorThreads, tok); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("a token of another list: %v", err)
		}
	}
	for _, bad := range []string{"not-a-cursor", "x", "!!", strings.Repeat("A", 18), Cursor(CursorMessages, 7) + "A", Cursor(CursorMessages, -1)} {
		if _, err := ParseCursor(CursorMessages, bad); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, err := ParseCursor(CursorMessages, ""); got != 0 || err != nil {
		t.Error("the start")
	}
}

func TestParseMessageQuery(t *testing.T) {
	t.Parallel()
	q, err := ParseMessageQuery(url.Values{
		"limit": {"500"}, "unread": {"True"}, "starred": {"FALSE"}, "any_email": {"a@x,b@x", "c@x"}, "in": {"A, B", "C"}, "received_after": {"5"}, "select": {"id,subject"}, "to": {" a@x "},
	})
	if err != nil || q.Limit != 200 || !*q.Unread || *q.Starred || q.HasAttachment != nil || fmt.Sprint(q.AnyEmail) != "[a@x b@x c@x]" ||
		fmt.Sprintf("%q", q.In) != `["A, B" "C"]` || q.After.Unix() != 5 || q.Select.Has("body") || q.Fields != FieldsStandard || q.To[0] != "a@x" {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []string{
		"limit=0", "limit=-1", "limit=x", "unread=maybe", "received_before=x", "received_after=-1", "fields=all", "page_token=zz", "metadata_pair=key6:a", "metadata_pair=key1", "metadata_pair=key1:a,key1:b",
		"subject=" + strings.Repeat("x", 2000), "subject=%00", "subject=%ff", "any_email=" + strings.Repeat("a@x,", 26),
		"search_order=oldest&search_query_native=a", "search_order=relevance", "search_order=relevance&search_query_native=a&page_token=" + Cursor(CursorMessages, 9), "search_query_native=a&page_token=" + Cursor(CursorRanked, 9),
	} {
		v, _ := url.ParseQuery(bad)
		if _, err := ParseMessageQuery(v); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
	for query, want := range map[string]string{
		"search_query_native=from:a+b": "from:a b", "search_query_native=SUBJECT%20%22a%2Bb%25%22": `SUBJECT "a+b%"`, "search_query_native=from%253Aa%2520b": "from:a b",
		"search_query_native=100%25": "100%", "search_query_native=a%2520%22": `a%20"`, "search_query_native=%25zz%2520": "%zz%20",
	} {
		v, _ := url.ParseQuery(query)
		if q, err := ParseMessageQuery(v); err != nil || q.Search != want {
			t.Errorf("%s: %q, %v", query, q.Search, err)
		}
	}
	if q, err := ParseThreadQuery(url.Values{"limit": {"51"}}); err != nil || q.Limit != 50 {
		t.Errorf("%+v, %v", q, err)
	}
	if q, err := ParseGrantQuery(url.Values{}); err != nil || q.Limit != 10 || !q.Desc || q.SortBy != "created_at" {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []url.Values{{"offset": {"-1"}}, {"sort_by": {"email"}}, {"order_by": {"up"}}, {"grant_status": {"x"}}} {
		if _, err := ParseGrantQuery(bad); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestParseConnect(t *testing.T) {
	t.Parallel()
	c, err := ParseConnect(strings.NewReader(`{"provider":"imap","state":"st","unknown":1,"settings":{"imap_username":"Ann@Example.test","imap_password":"pä ss","imap_host":"IMAP.example.test.",
		"imap_port":"993","imap_tls":true,"smtp_host":"smtp.example.test","smtp_port":587,"smtp_security":"STARTTLS","other":{"a":[1]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Email != "ann@example.test" || c.IMAP != (mail.Endpoint{Host: "imap.example.test", Port: 993, Security: "tls", Username: "Ann@Example.test"}) ||
		c.IMAPPassword.Reveal() != "pä ss" || *c.SMTP != (mail.Endpoint{Host: "smtp.example.test", Port: 587, Security: "starttls"}) || c.State != "st" {
		t.Errorf("%+v %+v", c, c.SMTP)
	}
	c, err = ParseConnect(strings.NewReader(`{"settings":{"imap_username":"ann","email":"ann@example.test","imap_password":"x","imap_tls":false,"smtp_host":null}}`))
	if err != nil || c.Email != "ann@example.test" || c.IMAP.Security != mail.SecurityNone || c.SMTP != nil || c.Provider != "imap" {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = ParseConnect(strings.NewReader(`{"provider":"icloud","settings":{"username":"ann@icloud.com","password":"x"}}`))
	if err != nil || c.Provider != "icloud" || c.IMAP.Username != "ann@icloud.com" || c.IMAPPassword.Reveal() != "x" {
		t.Errorf("%+v, %v", c, err)
	}
	for bad, says := range map[string]string{
		``: "JSON object", `{`: "error parsing request body", `[]`: "error parsing request body", `{"settings":"x"}`: "settings has the wrong type", `{"settings":{}}`: "settings is required",
		`{"settings":{"imap_username":"a@b"}}`:                                           "imap_password is required",
		`{"settings":{"imap_password":"a"}}`:                                             "imap_username is required",
		`{"provider":"google","settings":{"refresh_token":"x"}}`:                         "provider must be",
		`{"settings":{"imap_username":"a\r\nb","imap_password":"x"}}`:                    "imap_username",
		`{"settings":{"imap_username":"a","imap_password":"x","imap_host":"h:993"}}`:     "imap_host",
		`{"settings":{"imap_username":"a","imap_password":"x","imap_host":"https://h"}}`: "imap_host",
		`{"settings":{"imap_username":"a","imap_password":"x","imap_port":0}}`:           "imap_port",
		`{"settings":{"imap_username":"a","imap_password":"x","imap_port":"70000"}}`:     "imap_port",
		`{"settings":{"imap_username":"a","imap_password":"x","imap_security":"ssl"}}`:   "imap_security",
		`{"settings":{"imap_username":"a","imap_password":"x","smtp_tls":"maybe"}}`:      "smtp_tls",
		`{"settings":{"imap_username":1,"imap_password":"x"}}`:                           "must be a string",
		`{"settings":{"imap_username":"a","imap_password":"x","email":"nobody"}}`:        "e-mail address",
	} {
		if _, err := ParseConnect(strings.NewReader(bad)); !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", bad, err, says)
		}
	}
	if s := fmt.Sprintf("%+v %v", c, c); strings.Contains(s, `"x"`) || !strings.Contains(s, "***") {
		t.Errorf("the password shows in %s", s)
	}
}

func TestAttachmentIDs(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"1", "2.1", "10.20.3"} {
		id := AttachmentID(part)
		if back, ok := PartID(id); !ok || back != part || strings.ContainsAny(id, "./%") {
			t.Errorf("%s became %s became %s", part, id, back)
		}
	}
	for _, bad := range []string{"", "p", "2-1", "p-1", "p1-", "p1--2", "p1.2", "nope-1", "p" + strings.Repeat("1", 300)} {
		if _, ok := PartID(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestDispositionIsSafe(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                  `attachment`,
		"a b.txt":           `attachment; filename="a b.txt"`,
		"../../etc/passwd":  `attachment; filename="passwd"`,
		`C:\x\y.doc`:        `attachment; filename="y.doc"`,
		"a\"b;\r\nX: y.txt": `attachment; filename="a_b_X: y.txt"; filename*=UTF-8''a%22b%3BX%3A%20y.txt`,
		"Übersicht.pdf":     `attachment; filename="_bersicht.pdf"; filename*=UTF-8''%C3%9Cbersicht.pdf`,
		"exe\u202efdp.pdf":  `attachment; filename="exefdp.pdf"`,
		"..":                `attachment`,
		"bad\xffutf":        `attachment; filename="bad_utf"`,
	} {
		if got := Disposition("attachment", in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"image/png": "image/png", "text/html\r\nX: y": "application/octet-stream", "": "application/octet-stream", "junk": "application/octet-stream", "TEXT/Plain": "text/plain"} {
		if got := ContentType(mail.Part{ContentType: in}); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got := ContentType(mail.Part{ContentType: "text/plain", Charset: "utf-8"}); got != "text/plain; charset=utf-8" {
		t.Error(got)
	}
	if got := ContentType(mail.Part{ContentType: "text/plain", Charset: "utf-8\r\nX: y"}); strings.ContainsAny(got, "\r\n") {
		t.Errorf("%q", got)
	}
}

func TestErrorOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		typ    string
	}{
		{mail.E(mail.Invalid, "op", "m", nil), 400, TypeInvalid},
		{mail.E(mail.NotFound, "op", "m", nil), 404, TypeNotFound},
		{fmt.Errorf("wrapped: %w", mail.E(mail.Unauthorized, "op", "m", nil)), 401, TypeUnauthorized},
		{mail.E(mail.Reauth, "op", "m", nil), 401, TypeUnauthorized},
		{mail.E(mail.Unreachable, "op", "m", nil), 400, TypeInvalid},
		{mail.E(mail.Limited, "op", "m", nil), 429, TypeRateLimit},
		{mail.E(mail.Unavailable, "op", "m", nil), 504, TypeProvider},
		{mail.E(mail.Refused, "op", "m", nil), 422, TypeProvider},
		{mail.E(mail.Conflict, "op", "m", nil), 409, TypeConflict},
		{mail.E(mail.Expired, "op", "m", nil), 410, TypeExpired},
		{mail.E(mail.Fenced, "op", "", nil), 503, TypeUnexpected},
		{mail.E(mail.Internal, "op", "secret", errors.New("secret")), 500, TypeUnexpected},
		{errors.New("secret"), 500, TypeUnexpected},
		{context.DeadlineExceeded, 504, TypeProvider},
		{context.Canceled, StatusClientGone, TypeUnexpected},
	} {
		status, e := ErrorOf(c.err)
		if status != c.status || e.Type != c.typ || e.Message == "" || strings.Contains(e.Message, "secret") {
			t.Errorf("%v: %d %+v", c.err, status, e)
		}
	}
}

func FuzzParseConnect(f *testing.F) {
	f.Add(`{"settings":{"imap_username":"a@b.c","imap_password":"x","imap_host":"h","imap_port":993}}`)
	f.Add(`{"settings":{"smtp_port":"\"1\""}}`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConnect(strings.NewReader(s))
		if err == nil && (c.IMAP.Username == "" || c.IMAPPassword.IsZero() || strings.ContainsAny(c.IMAP.Username+c.IMAPPassword.Reveal()+c.IMAP.Host, "\r\n\x00")) {
			t.Errorf("taken: %+v", c)
		}
	})
}
