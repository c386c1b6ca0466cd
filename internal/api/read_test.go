package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestMessages(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	sent := m.folder("Sent, old", mail.RoleSent)
	ids := m.deliver(
		letter{raw: plain("one", "Alice <alice@example.test>", "first hello", "Just plain <text>.\nSecond line."), at: 1700001000},
		letter{raw: withAttachments, at: 1700002000, flags: mail.FlagSeen | mail.FlagFlagged},
		letter{raw: plain("three", "alice@example.test", "third", "x"), at: 1700003000, headed: true},
		letter{raw: plain("four", "Ann <ann@example.test>", "fourth", "sent"), at: 1700004000, folder: sent, flags: mail.FlagSeen},
	)
	var list []v3.Message
	m.get(m.base+"/messages", &list)
	var got []mail.MessageID
	for _, x := range list {
		got = append(got, x.ID)
		if x.Object != "message" || x.GrantID != m.acct.ID || x.ThreadID == "" || x.From == nil || x.Cc == nil || x.Attachments == nil || len(x.Folders) != 1 {
			t.Errorf("shape of %+v", x)
		}
	}
	want := slices.Clone(ids)
	slices.Reverse(want)
	if !slices.Equal(got, want) {
		t.Fatalf("listed %v, want newest first %v", got, want)
	}
	first, files, headed := list[3], list[2], list[1]
	if first.Date != 1700001000 || !first.Unread || first.Starred || first.From[0].Name != "Alice" || !strings.Contains(first.Body, "Just plain &lt;text&gt;.") || first.BodyPending {
		t.Errorf("the first: %+v", first)
	}
	if files.Unread || !files.Starred || !strings.Contains(files.Body, "<b>the</b>") || files.Headers != nil || len(files.Attachments) != 2 || files.Snippet == "" {
		t.Errorf("the one with files: %+v", files)
	}
	if headed.Subject != "third" || headed.Body != "" || !headed.BodyPending {
		t.Errorf("the one of which only the header is here: %+v", headed)
	}

	for query, want := range map[string][]int{
		"": {3, 2, 1, 0}, "subject=HELLO": {0}, "from=alice@example.test": {2, 0}, "from=alice@example.test,bo@example.test": {2, 1, 0}, "from=alice@example.test&from=bo@example.test": {2, 1, 0},
		"any_email=carol@example.test": {1}, "cc=carol@example.test": {1}, "to=ann@example.test&unread=True": {2, 0}, "unread=false": {3, 1}, "starred=TRUE": {1}, "has_attachment=true": {1},
		"in=inbox": {2, 1, 0}, "in=" + string(m.inbox): {2, 1, 0}, "in=sent": {3}, "in=Sent%2C+old": {3}, "in=inbox&in=sent": {3, 2, 1, 0}, "in=inbox,sent": {3, 2, 1, 0},
		"received_after=1700001000&received_before=1700003000": {1}, "received_after=1700000999": {3, 2, 1, 0}, "thread_id=" + string(list[3].ThreadID): {0}, "subject=nothing": {},
		"bcc=nobody@example.test": {}, "query_imap=true&unknown=1&unread=false": {3, 1},
	} {
		var list []v3.Message
		a := m.get(m.base+"/messages?"+query, &list)
		got := []int{}
		for _, x := range list {
			got = append(got, slices.Index(ids, x.ID))
		}
		if !slices.Equal(got, want) || list == nil || a.json.NextCursor != "" {
			t.Errorf("%s: %v, want %v (cursor %q)", query, got, want, a.json.NextCursor)
		}
	}
	m.fails(m.do("GET", m.base+"/messages?in=nowhere"), 400, v3.TypeInvalid, "in:")
	m.fails(m.do("GET", m.base+"/messages?page_token=not-a-cursor"), 400, v3.TypeInvalid, "page_token")
	m.fails(m.do("GET", m.base+"/messages?limit=0"), 400, v3.TypeInvalid, "limit")
	m.fails(m.do("GET", m.base+"/messages/nothing"), 404, v3.TypeNotFound, "")

	one := m.base + "/messages/" + string(ids[1])
	var x v3.Message
	a := m.get(one, &x)
	if x.ID != ids[1] || x.Body != files.Body || a.Header().Get("ETag") == "" {
		t.Errorf("one: %+v", x)
	}
	if b := m.do("GET", one, "If-None-Match", a.Header().Get("ETag")); b.Code != http.StatusNotModified || b.Body.Len() != 0 {
		t.Errorf("asked again: %d", b.Code)
	}
	if b := m.do("GET", one, "If-None-Match", `W/"other"`); b.Code != http.StatusOK {
		t.Errorf("changed: %d", b.Code)
	}
	if b := m.do("HEAD", one); b.Code != http.StatusOK {
		t.Errorf("HEAD: %d", b.Code)
	}

	m.get(one+"?fields=include_headers&select=headers", &x)
	if fmt.Sprint(x.Headers[0]) != "{Message-ID <att@example.test>}" || !slices.Contains(x.Headers, v3.Header{Name: "X-Seed", Value: "raw  =?utf-8?q?undecoded?="}) ||
		!slices.Contains(x.Headers, v3.Header{Name: "References", Value: "<root@example.test> <second@example.test>"}) {
		t.Errorf("headers %q", x.Headers)
	}
	m.get(one+"?fields=include_basic_headers", &x)
	if fmt.Sprint(x.Headers) != "[{Message-ID <att@example.test>} {In-Reply-To <second@example.test>} {References <root@example.test> <second@example.test>}]" {
		t.Errorf("basic headers %v", x.Headers)
	}
	var raw v3.RawMessage
	a = m.get(one+"?fields=raw_mime", &raw)
	text, err := base64.RawURLEncoding.DecodeString(raw.RawMIME)
	if err != nil || string(text) != strings.ReplaceAll(withAttachments, "\n", "\r\n") || strings.Contains(string(a.json.Data), "subject") {
		t.Errorf("raw: %v %q", err, text)
	}
	m.get(m.base+"/messages/"+string(ids[2])+"?fields=raw_mime", &raw)
	if raw.RawMIME != "" || !raw.BodyPending {
		t.Errorf("raw of what is not here: %+v", raw)
	}
	var raws []v3.RawMessage
	m.get(m.base+"/messages?fields=raw_mime&limit=2", &raws)
	if len(raws) != 2 {
		t.Errorf("%d raw messages", len(raws))
	}
	a = m.get(m.base+"/messages?select=id,subject&limit=1", nil)
	if want := fmt.Sprintf(`[{"id":%q,"object":"message","grant_id":%q,"subject":"fourth"}]`, ids[3], m.acct.ID); string(a.json.Data) != want {
		t.Errorf("selected %s, want %s", a.json.Data, want)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	var ls []letter
	for i := range 23 {
		ls = append(ls, letter{raw: plain(fmt.Sprint("p", i), "alice@example.test", fmt.Sprint("subject ", i), "x"), at: int64(1700001000 + i/3)})
	}
	ids := m.deliver(ls...)
	slices.Reverse(ids)
	var all []v3.Message
	m.get(m.base+"/messages?limit=500", &all)
	if len(all) != 23 {
		t.Fatalf("%d messages", len(all))
	}
	var got []mail.MessageID
	cursor, pages := "", 0
	for _, limit := range []int{5, 2, 9, 100} { // a cursor does not depend on the limit it came with
		var page []v3.Message
		a := m.get(fmt.Sprintf("%s/messages?limit=%d&page_token=%s", m.base, limit, cursor), &page)
		for _, x := range page {
			got = append(got, x.ID)
		}
		if cursor = a.json.NextCursor; cursor == "" {
			break
		}
		if pages++; len(page) != limit {
			t.Errorf("page of %d for limit %d", len(page), limit)
		}
	}
	want := []mail.MessageID{}
	for _, x := range all {
		want = append(want, x.ID)
	}
	if !slices.Equal(got, want) || pages != 3 || cursor != "" {
		t.Errorf("%d pages gave %v, want %v", pages, got, want)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	work := m.folder("Work", "")
	child := m.folder("Work/2024", "", work)
	m.deliver(letter{raw: plain("a", "x@example.test", "s", "b"), at: 1700001000}, letter{raw: plain("b", "x@example.test", "s2", "b"), at: 1700001001, flags: mail.FlagSeen})
	var list []v3.Folder
	m.get(m.base+"/folders", &list)
	if len(list) != 3 || list[0].Name != "INBOX" || list[0].Attributes[0] != `\Inbox` || list[0].TotalCount != 2 || list[0].UnreadCount != 1 || !list[0].SystemFolder || list[1].ChildCount != 1 || list[2].ParentID != work {
		t.Errorf("%+v", list)
	}
	for query, want := range map[string]int{"single_level=true": 2, "parent_id=" + string(work): 1, "limit=1": 1, "include_hidden_folders=true": 3} {
		m.get(m.base+"/folders?"+query, &list)
		if len(list) != want {
			t.Errorf("%s: %+v", query, list)
		}
	}
	a := m.get(m.base+"/folders?limit=2", &list)
	a = m.get(m.base+"/folders?limit=2&page_token="+a.json.NextCursor, &list)
	if len(list) != 1 || list[0].ID != child || a.json.NextCursor != "" {
		t.Errorf("the second page: %+v %q", list, a.json.NextCursor)
	}
	var f v3.Folder
	a = m.get(m.base+"/folders/"+string(work), &f)
	if f.ID != work || f.ChildCount != 1 || a.Header().Get("ETag") == "" {
		t.Errorf("%+v", f)
	}
	m.fails(m.do("GET", m.base+"/folders/nothing"), 404, v3.TypeNotFound, "folder")
}

// A page ends early also where it is subjects, addresses or names of parts that would make it large.
func TestPagesOfLongHeaders(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	long := strings.Repeat("long ", 180_000)
	var letters []letter
	for i := range 40 {
		letters = append(letters, letter{raw: plain(fmt.Sprint("m", i), "x@example.test", long, "b"), at: 1700000000 + int64(i), headed: i%2 == 0})
	}
	m.deliver(letters...)
	for _, path := range []string{"/messages?limit=40", "/messages?limit=40&select=subject", "/messages?limit=40&fields=include_headers&select=headers"} {
		seen, cursor := 0, ""
		for {
			a := m.do("GET", m.base+path+cursor)
			var list []v3.Message
			if err := json.Unmarshal(a.json.Data, &list); err != nil || len(list) == 0 {
				t.Fatal(a.Code, err)
			}
			if a.Body.Len() > pageBytes+2<<20 {
				t.Errorf("%s: a page of %d bytes", path, a.Body.Len())
			}
			seen += len(list)
			if a.json.NextCursor == "" {
				break
			}
			cursor = "&page_token=" + url.QueryEscape(a.json.NextCursor)
		}
		if seen != len(letters) {
			t.Errorf("%s: %d messages of %d", path, seen, len(letters))
		}
	}
}

func TestThreads(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	reply := func(id, parent, body string) string {
		return strings.Replace(plain(id, "Dave <dave@example.test>", "Re: topic", body), "\nFrom:", fmt.Sprintf("\nIn-Reply-To: <%[1]s@example.test>\nReferences: <%[1]s@example.test>\nFrom:", parent), 1)
	}
	ids := m.deliver(
		letter{raw: plain("t1", "Dave <dave@example.test>", "topic", "one"), at: 1700001000, flags: mail.FlagSeen},
		letter{raw: reply("t2", "t1", "two"), at: 1700002000},
		letter{raw: plain("other", "erin@example.test", "other", "z"), at: 1700001500, flags: mail.FlagSeen},
	)
	var list []v3.Thread
	m.get(m.base+"/threads", &list)
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	th := list[0]
	if !slices.Equal(th.MessageIDs, ids[:2]) || !th.Unread || th.EarliestMessageDate != 1700001000 || th.LatestMessageReceivedDate != 1700002000 || th.LatestDraftOrMessage == nil ||
		th.LatestDraftOrMessage.ID != ids[1] || th.LatestDraftOrMessage.Object != "message" || !strings.Contains(th.LatestDraftOrMessage.Body, "two") || th.DraftIDs == nil || len(th.Participants) != 2 {
		t.Errorf("%+v %+v", th, th.LatestDraftOrMessage)
	}
	for query, want := range map[string]int{"unread=true": 1, "unread=false": 1, "in=inbox": 2, "from=erin@example.test": 1, "latest_message_after=1700001500": 1, "latest_message_before=1700002000": 1, "limit=1": 1, "subject=topic": 1} {
		m.get(m.base+"/threads?"+query, &list)
		if len(list) != want {
			t.Errorf("%s: %d threads, want %d", query, len(list), want)
		}
	}
	a := m.get(m.base+"/threads?limit=1", &list)
	a = m.get(m.base+"/threads?limit=1&page_token="+url.QueryEscape(a.json.NextCursor), &list)
	if len(list) != 1 || list[0].ID == th.ID || a.json.NextCursor != "" {
		t.Errorf("the second page: %+v", list)
	}
	m.get(m.base+"/threads/"+string(th.ID), &th)
	if th.ID != list[0].ID && len(th.MessageIDs) != 2 {
		t.Errorf("%+v", th)
	}
	a = m.get(m.base+"/threads/"+string(th.ID)+"?select=unread", nil)
	if want := fmt.Sprintf(`{"id":%q,"object":"thread","grant_id":%q,"unread":true}`, th.ID, m.acct.ID); string(a.json.Data) != want {
		t.Errorf("selected %s, want %s", a.json.Data, want)
	}
	m.fails(m.do("GET", m.base+"/threads/nothing"), 404, v3.TypeNotFound, "")
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	ids := m.deliver(letter{raw: withAttachments, at: 1700002000}, letter{raw: plain("h", "x@example.test", "s", "b"), at: 1700000001, headed: true})
	var msg v3.Message
	m.get(m.base+"/messages/"+string(ids[0]), &msg)
	notes, pix := msg.Attachments[0], msg.Attachments[1]
	if notes.IsInline || notes.Size != 23 || notes.GrantID != m.acct.ID || !pix.IsInline || pix.ContentID != "pix@example.test" || pix.ContentType != "image/png" {
		t.Errorf("%+v %+v", notes, pix)
	}
	const want = "hello, attachment body\n"
	draftTag := `"none"`
	for _, base := range []string{
		m.base + "/attachments/" + notes.ID + "%s?message_id=" + string(ids[0]),
		m.base + "/messages/" + string(ids[0]) + "/attachments/" + notes.ID + "%s",
	} {
		var att v3.Attachment
		m.get(fmt.Sprintf(base, ""), &att)
		if att != notes {
			t.Errorf("%+v, want %+v", att, notes)
		}
		a := m.do("GET", fmt.Sprintf(base, "/download"), "Accept", "application/json")
		h := a.Header()
		if a.Code != 200 || a.Body.String() != want || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Get("Content-Length") != "23" || h.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=") || strings.ContainsAny(h.Get("Content-Disposition"), "/\\\r\n") || h.Get("Content-Security-Policy") == "" || h.Get("X-Request-Id") == "" {
			t.Errorf("%d %q %v", a.Code, a.Body, h)
		}
		for r, part := range map[string]string{"bytes=0-4": "hello", "bytes=7-16": "attachment", "bytes=-5": "body\n", "bytes=18-": "body\n"} {
			a := m.do("GET", fmt.Sprintf(base, "/download"), "Range", r)
			if a.Code != http.StatusPartialContent || a.Body.String() != part {
				t.Errorf("%s: %d %q", r, a.Code, a.Body)
			}
		}
		if a := m.do("GET", fmt.Sprintf(base, "/download"), "Range", "bytes=100-"); a.Code != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range outside: %d", a.Code)
		}
		if a := m.do("GET", fmt.Sprintf(base, "/download"), "If-None-Match", h.Get("ETag")); a.Code != http.StatusNotModified {
			t.Errorf("asked again: %d", a.Code)
		}
	}
	for _, path := range []string{"/attachments/" + notes.ID, "/attachments/" + notes.ID + "/download"} {
		m.fails(m.do("GET", m.base+path), 400, v3.TypeInvalid, "message_id is required")
		m.fails(m.do("GET", m.base+path+"?message_id=nothing"), 404, v3.TypeNotFound, "")
	}
	for i, encoded := range []string{"b25lCg==", "dHdvCg=="} { // two versions of a draft: the same message, other bytes
		id := m.deliver(letter{raw: strings.NewReplacer("att@", "draft@", "aGVsbG8sIGF0dGFjaG1lbnQgYm9keQo=", encoded).Replace(withAttachments), flags: mail.FlagDraft, at: 1700003000 + int64(i)})[0]
		path := m.base + "/attachments/" + notes.ID + "/download?message_id=" + string(id)
		if a := m.do("GET", path, "If-None-Match", draftTag); a.Code != 200 || a.Body.String() != []string{"one\n", "two\n"}[i] {
			t.Errorf("version %d of a draft: %d %q", i, a.Code, a.Body)
		} else {
			draftTag = a.Header().Get("ETag")
		}
	}
	for _, id := range []string{"nope-x", "p9", "p1-1", "2"} {
		m.fails(m.do("GET", m.base+"/attachments/"+id+"?message_id="+string(ids[0])), 404, v3.TypeNotFound, "attachment")
		m.fails(m.do("GET", m.base+"/attachments/"+id+"/download?message_id="+string(ids[0])), 404, v3.TypeNotFound, "attachment")
	}
}
