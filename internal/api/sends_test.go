package api

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/v3"
)

// outlet is an SMTP server without login.
type outlet struct {
	mu     sync.Mutex
	refuse error
	got    []string
	to     [][]string
}

type outletSession struct {
	o  *outlet
	to []string
}

func (s *outletSession) Mail(string, *smtp.MailOptions) error { s.to = nil; return nil }
func (s *outletSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}
func (s *outletSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.refuse != nil {
		return s.o.refuse
	}
	s.o.got, s.o.to = append(s.o.got, string(b)), append(s.o.to, s.to)
	return nil
}
func (*outletSession) Reset()        {}
func (*outletSession) Logout() error { return nil }

func (o *outlet) last() (string, []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.got) == 0 {
		return "", nil
	}
	return o.got[len(o.got)-1], o.to[len(o.to)-1]
}

// sending is a mailbox that can send.
func sending(t *testing.T) (*mailbox, *outlet) {
	t.Helper()
	b := setup(t)
	o := &outlet{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &outletSession{o: o}, nil }))
	s.EnableSMTPUTF8 = true
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	m := b.account("ann@example.test")
	m.acct.Name = "Ann Żółw"
	m.acct.Settings.SMTP = &mail.Endpoint{Host: "127.0.0.1", Port: int(netip.MustParseAddrPort(l.Addr().String()).Port()), Security: mail.SecurityNone}
	if err := b.store.UpdateAccount(t.Context(), m.acct, nil); err != nil {
		t.Fatal(err)
	}
	m.folder("Sent", mail.RoleSent)
	return m, o
}

func TestSendMessage(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	original := m.deliver(letter{raw: strings.Replace(plain("root", "Bo <bo@example.test>", "Plan", "x"), "Subject:", "References: <older@example.test>\nSubject:", 1), at: 1700000000})[0]
	var root v3.Message
	m.get(m.base+"/messages/"+string(original), &root)

	a := m.send("POST", m.base+"/messages/send?fields=include_basic_headers", fmt.Sprintf(`{"to":[{"name":"Bo","email":"bo@example.test"}],"cc":[{"email":"cy@example.test"}],
		"bcc":[{"email":"secret@example.test"}],"reply_to":[{"name":"R","email":"r@example.test"}],"subject":"Re: Plan ☕","body":"<p>héllo</p>","reply_to_message_id":%q,
		"custom_headers":[{"name":"X-Test","value":"1"}],"metadata":{"key1":"v"},"tracking_options":{"opens":false},"use_draft":true,
		"attachments":[{"filename":"a.txt","content_type":"text/plain","content":%q}]}`, original, base64.StdEncoding.EncodeToString([]byte("attached"))))
	if a.Code != http.StatusOK || a.json.Error.Message != "" {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var sent v3.SentMessage
	m.decode(a, &sent)
	raw, to := o.last()
	parsed, err := mime.Parse(strings.NewReader(raw), mime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(to, []string{"bo@example.test", "cy@example.test", "secret@example.test"}) || strings.Contains(strings.ToLower(raw), "bcc") || strings.Contains(raw, "secret") {
		t.Errorf("sent to %v: %s", to, raw)
	}
	fp, _ := mime.Fingerprint(parsed)
	if want := m.mb.IDKey().MessageID(fp); string(sent.ID) != want || sent.ThreadID != root.ThreadID {
		t.Errorf("answered with id %s in thread %s, want %s in %s", sent.ID, sent.ThreadID, want, root.ThreadID)
	}
	if parsed.From[0].Name != "Ann Żółw" || parsed.From[0].Email != "ann@example.test" || !slices.Equal(parsed.InReplyTo, []string{"root@example.test"}) ||
		!slices.Equal(parsed.References, []string{"older@example.test", "root@example.test"}) || parsed.Header.Get("X-Test") != "1" || len(parsed.Attachments) != 1 || parsed.ReplyTo[0].Email != "r@example.test" {
		t.Errorf("sent: %s", raw)
	}
	if len(sent.Bcc) != 1 || sent.Subject != "Re: Plan ☕" || sent.Body != "<p>héllo</p>" || len(sent.Headers) != 3 || len(sent.Attachments) != 1 || len(sent.Folders) != 1 || sent.Unread ||
		sent.Metadata["key1"] != "v" || len(sent.Send.Recipients) != 3 || sent.Send.Recipients[2].State != "sent" || !strings.Contains(a.Body.String(), `"grant_id":"`+string(m.acct.ID)+`","data"`) {
		t.Errorf("answer: %s", a.Body)
	}

	// By Message-ID, and from another address.
	a = m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"from":[{"email":"alias@example.test"}],"subject":"Re: elsewhere","body":"a < b","is_plaintext":true,"reply_to_message_id":"<other@example.test>"}`)
	raw, _ = o.last()
	if a.Code != http.StatusOK || !strings.Contains(raw, "In-Reply-To: <other@example.test>\r\n") || strings.Contains(raw, "text/html") || !strings.Contains(raw, "From: alias@example.test") {
		t.Errorf("%d: %s", a.Code, raw)
	}

	// A whole message.
	form := "--B\r\nContent-Disposition: form-data; name=\"mime\"\r\n\r\nTo: bo@example.test\nBcc: x@example.test\nSubject: mine\n\n.\nbody\r\n--B--\r\n"
	a = m.send("POST", m.base+"/messages/send?type=mime", form, "Content-Type", "multipart/form-data; boundary=B")
	raw, to = o.last()
	if a.Code != http.StatusOK || len(to) != 2 || strings.Contains(raw, "Bcc") || !strings.HasSuffix(raw, "To: bo@example.test\r\nSubject: mine\r\n\r\n.\r\nbody\r\n") || !strings.Contains(raw, "Message-ID: <") || !strings.Contains(raw, "From: ann@example.test\r\n") {
		t.Errorf("%d %s: %q", a.Code, a.Body, raw)
	}

	// The same key is the same send.
	one := m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"x"}`, "Idempotency-Key", "k")
	two := m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"x"}`, "Idempotency-Key", "k")
	var first, second v3.SentMessage
	m.decode(one, &first)
	m.decode(two, &second)
	if first.ID != second.ID || first.Send.ID != second.Send.ID || two.Header().Get("Idempotent-Response") != "true" || one.Header().Get("Idempotent-Response") != "" {
		t.Errorf("%s %s", first.ID, second.ID)
	}
	m.fails(m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"y"}`, "Idempotency-Key", "k"), 409, v3.TypeKeyReused, "another request")
	m.fails(m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"x"}`, "Idempotency-Key", strings.Repeat("k", 257)), 400, v3.TypeKeyInvalid, "256")
	if n := len(o.got); n != 4 {
		t.Errorf("%d messages went out", n)
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	now := time.Now().Unix()
	const to = `"to":[{"email":"bo@example.test"}]`
	for body, says := range map[string]string{
		`{"subject":"x","to":[]}`: "no recipient",
		`{`:                       "JSON",
		`{"to":"x"}`:              "to",
		`{` + to + `,"subject":"a\r\nBcc: x@example.test"}`:                           "line end",
		`{` + to + `,"custom_headers":[{"name":"Bcc","value":"x@example.test"}]}`:     "Bcc",
		`{"to":[{"email":"bo@example.test>\r\nX: y"}]}`:                               "to",
		`{` + to + `,"reply_to_message_id":"mNone"}`:                                  "reply_to_message_id",
		`{` + to + `,"tracking_options":{"opens":true}}`:                              "tracking_options",
		`{` + to + `,"metadata":{"a":1}}`:                                             "metadata",
		fmt.Sprintf(`{`+to+`,"send_at":%d}`, now-600):                                 "send_at",
		fmt.Sprintf(`{`+to+`,"send_at":%d}`, now+31*86400):                            "send_at",
		`{` + to + `,"from":[{"email":"a@example.test"},{"email":"b@example.test"}]}`: "from",
		`{` + to + `,"from":[]}`:                                                      "from",
	} {
		m.fails(m.send("POST", m.base+"/messages/send", body), 400, v3.TypeInvalid, says)
	}
	m.fails(m.send("POST", m.base+"/messages/send?fields=raw_mime", `{`+to+`}`), 400, v3.TypeInvalid, "fields")
	m.fails(m.send("POST", m.base+"/messages/send?type=mime", `{`+to+`}`), 400, v3.TypeInvalid, "multipart")
	m.fails(m.send("POST", m.base+"/drafts/mNone", ""), 404, v3.TypeNotFound, "")
	if len(o.got) != 0 {
		t.Errorf("sent: %q", o.got)
	}
	o.refuse = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "canary"}
	m.fails(m.send("POST", m.base+"/messages/send", `{`+to+`}`), 402, v3.TypeProvider, "refused every recipient")
	o.mu.Lock()
	o.refuse = &smtp.SMTPError{Code: 451, Message: "canary"}
	o.mu.Unlock()
	if a := m.send("POST", m.base+"/messages/send", `{`+to+`}`); a.Code != http.StatusAccepted || !strings.Contains(a.Body.String(), `"state":"queued"`) || strings.Contains(a.Body.String(), "canary") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	none := m.account("bob@example.test")
	m.fails(m.send("POST", none.base+"/messages/send", `{`+to+`}`), 400, v3.TypeInvalid, "smtp_host")
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	at := time.Now().Unix() + 3600
	a := m.send("POST", m.base+"/messages/send", fmt.Sprintf(`{"to":[{"email":"bo@example.test"}],"subject":"later","body":"x","send_at":%d}`, at))
	var sent v3.SentMessage
	m.decode(a, &sent)
	if a.Code != http.StatusAccepted || sent.ScheduleID == "" || sent.SendAt != at || sent.ID == "" || sent.Date != at || len(sent.Folders) != 0 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"subject":"now"}`)
	var list []v3.Schedule
	m.get(m.base+"/messages/schedules", &list)
	if len(list) != 1 || list[0].ID != sent.ScheduleID || list[0].Status.Code != "pending" || list[0].CloseTime != 0 {
		t.Errorf("%+v", list)
	}
	one := m.base + "/messages/schedules/" + sent.ScheduleID
	if a := m.do("DELETE", one); a.Code != http.StatusAccepted || !strings.Contains(a.Body.String(), "cancelation") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	var now v3.Schedule
	m.get(one, &now)
	if now.Status.Code != "canceled" || now.CloseTime == 0 {
		t.Errorf("%+v", now)
	}
	m.fails(m.do("GET", m.base+"/messages/schedules/sNone"), 404, v3.TypeNotFound, "")
	m.fails(m.do("DELETE", m.base+"/messages/schedules/sNone"), 404, v3.TypeNotFound, "")
	other := m.account("bob@example.test")
	m.fails(m.do("GET", other.base+"/messages/schedules/"+sent.ScheduleID), 404, v3.TypeNotFound, "")
	if raw, _ := o.last(); len(o.got) != 1 || !strings.Contains(raw, "Subject: now") {
		t.Errorf("sent: %q", o.got)
	}
}

func TestSendDraft(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	drafts := m.folder("Drafts", mail.RoleDrafts)
	id := m.deliver(letter{folder: drafts, flags: mail.FlagDraft, at: 1700000000,
		raw: "Message-ID: <draft@example.test>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: Ann <ann@example.test>\nX-Posthorn-Revision: r1\nTo: bo@example.test\nBcc: secret@example.test\nSubject: finished\n\nthe very bytes\n"})[0]
	a := m.send("POST", m.base+"/drafts/"+string(id), "")
	var sent v3.SentMessage
	m.decode(a, &sent)
	raw, to := o.last()
	if a.Code != http.StatusOK || sent.ID == id || sent.Subject != "finished" || !slices.Equal(to, []string{"bo@example.test", "secret@example.test"}) {
		t.Fatalf("%d %s, to %v", a.Code, a.Body, to)
	}
	if !strings.HasSuffix(raw, "\r\nMessage-ID: <draft@example.test>\r\nFrom: Ann <ann@example.test>\r\nTo: bo@example.test\r\nSubject: finished\r\n\r\nthe very bytes\r\n") || strings.Contains(raw, "2023") {
		t.Errorf("sent: %q", raw)
	}
	m.fails(m.send("POST", m.base+"/drafts/"+string(id), "{}"), 409, v3.TypeConflict, "being sent")
	received := m.deliver(letter{raw: plain("in", "bo@example.test", "no draft", "x"), at: 1700000001})[0]
	m.fails(m.send("POST", m.base+"/drafts/"+string(received), ""), 404, v3.TypeNotFound, "")
}

// TestTrackReplies: whoever sends with thread_replies is told of the answers, and what cannot be tracked is refused.
func TestTrackReplies(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	n := notify.New(notify.Options{Store: m.store})
	n.Start(t.Context())
	t.Cleanup(n.Stop)
	m.api.Notify = n
	a := m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"subject":"offer","body":"x","tracking_options":{"thread_replies":true,"opens":false,"label":"q3"}}`)
	if a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var sent v3.SentMessage
	m.decode(a, &sent)
	raw, _ := o.last()
	copied := m.deliver(letter{folder: m.folder("Sent", mail.RoleSent), raw: strings.ReplaceAll(raw, "\r\n", "\n"), at: 1700000000, live: true})[0]
	if copied != sent.ID {
		t.Fatalf("the copy is %s, the answer said %s", copied, sent.ID)
	}
	var got v3.Message
	m.get(m.base+"/messages/"+string(copied)+"?fields=include_tracking_options", &got)
	if got.Tracking == nil || *got.Tracking != (v3.Tracking{Replies: true, Label: "q3"}) {
		t.Errorf("%+v", got.Tracking)
	}
	if m.get(m.base+"/messages/"+string(copied), &got); strings.Contains(m.get(m.base+"/messages", nil).Body.String(), "tracking_options") {
		t.Error("tracking options that nobody asked for")
	}
	parsed, err := mime.Parse(strings.NewReader(raw), mime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reply := func(id, from string) string {
		return strings.Replace(plain(id, from, "Re: offer", "yes"), "Subject:", "In-Reply-To: <"+parsed.MessageID+">\nReferences: <"+parsed.MessageID+">\nSubject:", 1)
	}
	old := m.deliver(letter{raw: reply("old", "bo@example.test"), at: 1700000001})[0] // found by a first synchronisation
	first := m.deliver(letter{raw: reply("r1", "bo@example.test"), at: 1700000002, live: true})[0]
	m.deliver(letter{raw: reply("r1", "bo@example.test"), at: 1700000002, live: true, folder: m.folder("Archive", "")}) // a copy
	m.deliver(letter{raw: plain("x", "bo@example.test", "Re: offer", "unrelated"), at: 1700000003, live: true})
	second := m.deliver(letter{raw: reply("r2", "Ann <ANN@example.test>"), at: 1700000004, live: true})[0]
	p := m.page(m.base + "/events?types=thread.replied")
	if len(p.Data) != 2 {
		t.Fatalf("%+v, old %s", p, old)
	}
	for i, want := range []struct {
		reply mail.MessageID
		self  bool
	}{{first, false}, {second, true}} {
		e := p.Data[i]
		ob := e.Data.Object
		if e.Type != "thread.replied" || e.Source != "/com/nylas/tracking" || ob["message_id"] != string(want.reply) || ob["root_message_id"] != string(copied) || ob["label"] != "q3" ||
			ob["thread_id"] != string(sent.ThreadID) || ob["from_self"] != want.self || ob["reply_data"].(map[string]any)["count"] != float64(i+1) || ob["object"] != "thread" {
			t.Errorf("%+v", e)
		}
	}
	for _, bad := range []string{`{"opens":true}`, `{"links":true,"thread_replies":true}`, `{"thread_replies":true,"label":"` + strings.Repeat("x", 2049) + `"}`, `7`} {
		m.fails(m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"x","tracking_options":`+bad+`}`), 400, v3.TypeInvalid, "tracking_options")
	}
	m.fails(m.send("POST", m.base+"/drafts", `{"subject":"s","tracking_options":{"thread_replies":true}}`), 400, v3.TypeInvalid, "draft")
	m.fails(m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"template":{"id":"x"}}`), 400, v3.TypeInvalid, "template")
	m.fails(m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"signature_id":"x"}`), 400, v3.TypeInvalid, "signature_id")
	draft := m.deliver(letter{folder: m.folder("Drafts", mail.RoleDrafts), raw: plain("draft", "ann@example.test", "unsent", "b"), flags: mail.FlagDraft, at: 1700002000})[0]
	m.fails(m.send("POST", m.base+"/drafts/"+string(draft), `{"signature_id":"x"}`), 400, v3.TypeInvalid, "signature_id")
}

// TestTrackVisits: a tracked message tells when it is opened and which of its links are followed, and its links still lead where
// they did.
func TestTrackVisits(t *testing.T) {
	t.Parallel()
	m, o := sending(t)
	n := notify.New(notify.Options{Store: m.store})
	n.Start(t.Context())
	t.Cleanup(n.Stop)
	m.api.Notify, m.api.PublicURL = n, "https://post.example.com"
	a := m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"subject":"offer","body":"<p><a href=\"https://a.example/?x=1&amp;y=2\">one</a> <a href=\"https://b.example/\">two</a></p>",
		"tracking_options":{"opens":true,"links":true,"label":"q4"}}`)
	if a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var sent v3.SentMessage
	m.decode(a, &sent)
	raw, _ := o.last()
	parsed, err := mime.Parse(strings.NewReader(raw), mime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base := regexp.MustCompile(`https://post\.example\.com(/t/[A-Za-z0-9_-]{43})"`).FindStringSubmatch(parsed.HTML)
	if base == nil || strings.Contains(parsed.HTML, "a.example") || strings.Contains(parsed.HTML, "b.example") {
		t.Fatalf("%s", parsed.HTML)
	}
	seen := m.seen
	m.seen = nil // recorded answers here are no JSON
	visit := func(method, path string, status int, to string) {
		t.Helper()
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("User-Agent", "Reader/1")
		w := httptest.NewRecorder()
		m.api.ServeHTTP(w, r)
		if w.Code != status || w.Header().Get("Location") != to || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s %s: %d %v", method, path, w.Code, w.Header())
		}
		if status == 200 && w.Header().Get("Content-Type") != "image/gif" {
			t.Errorf("%v", w.Header())
		}
	}
	visit("GET", base[1], 200, "")
	visit("HEAD", base[1], 200, "") // looks, and opens nothing
	visit("GET", base[1]+"/2", 302, "https://b.example/")
	visit("GET", base[1]+"/1", 302, "https://a.example/?x=1&y=2")
	visit("GET", base[1]+"/2", 302, "https://b.example/")
	for _, path := range []string{base[1] + "/0", base[1] + "/3", base[1] + "/x", "/t/x", base[1][:len(base[1])-1] + "A", "/t/" + strings.Repeat("A", 43)} {
		if path != base[1] {
			visit("GET", path, 404, "")
		}
	}
	m.seen = seen
	p := m.page(m.base + "/events?types=message.opened,message.link_clicked")
	if len(p.Data) != 4 || p.Data[0].Type != "message.opened" || p.Data[1].Type != "message.link_clicked" || p.Data[0].Source != "/com/nylas/tracking" {
		t.Fatalf("%+v", p)
	}
	opened, clicked := p.Data[0].Data.Object, p.Data[3].Data.Object
	if opened["message_id"] != string(sent.ID) || opened["label"] != "q4" || opened["message_data"].(map[string]any)["count"] != float64(1) || len(opened["recents"].([]any)) != 1 || opened["recents"].([]any)[0].(map[string]any)["user_agent"] != "Reader/1" {
		t.Errorf("%+v", opened)
	}
	links, recents := clicked["link_data"].([]any), clicked["recents"].([]any)
	if len(links) != 2 || links[0].(map[string]any)["url"] != "https://a.example/?x=1&y=2" || links[0].(map[string]any)["count"] != float64(1) || links[1].(map[string]any)["count"] != float64(2) ||
		len(recents) != 3 || recents[0].(map[string]any)["link_index"] != float64(1) || recents[1].(map[string]any)["link_index"] != float64(0) || recents[0].(map[string]any)["click_id"] != float64(3) {
		t.Errorf("%+v", clicked)
	}
	// A thousand visits are told, and no more.
	token := base[1][len("/t/"):]
	for range 1000 {
		if _, err := m.mb.Visit(t.Context(), token, mail.Visit{}); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := m.mb.Visits(t.Context(), sent.ID); err != nil || v.Opens != 997 || len(v.Last) != 20 {
		t.Errorf("%d openings, %d kept, %v", v.Opens, len(v.Last), err)
	}
	visit("GET", base[1]+"/2", 302, "https://b.example/")
	// Text and whole messages are sent as they are.
	m.send("POST", m.base+"/messages/send", `{"to":[{"email":"bo@example.test"}],"body":"see https://a.example/","is_plaintext":true,"tracking_options":{"opens":true,"links":true}}`)
	if raw, _ = o.last(); !strings.Contains(raw, "see https://a.example/") || strings.Contains(raw, "/t/") {
		t.Errorf("%s", raw)
	}
}
