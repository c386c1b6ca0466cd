package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/v3"
)

// pending sends a request that is accepted and returns its operation and what it would write.
func (m *mailbox) pending(method, path, body string, headers ...string) (mail.Operation, *mime.Message) {
	m.t.Helper()
	a := m.send(method, path, body, headers...)
	var told v3.Operation
	if err := json.Unmarshal(a.json.Data, &told); err != nil || a.Code != http.StatusAccepted {
		m.t.Fatalf("%s %s: %d %s", method, path, a.Code, a.Body)
	}
	op, err := m.mb.Operation(m.t.Context(), told.ID)
	if err != nil {
		m.t.Fatal(err)
	}
	if op.Blob == 0 {
		return op, nil
	}
	r, err := m.mb.OpenBlob(m.t.Context(), op.Blob)
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Close()
	msg, err := mime.Parse(r, mime.Options{})
	if err != nil || len(msg.Problems) > 0 {
		m.t.Fatalf("%v %v", err, msg.Problems)
	}
	if rev := msg.Header.Get(mime.RevisionField); rev == "" || rev != op.Draft.Revision || string(op.Messages[0]) != m.mb.IDKey().MessageID(mime.DraftFingerprint(msg.MessageID)) {
		m.t.Errorf("revision %q and id %v of %+v", rev, op.Messages, op.Draft)
	}
	return op, msg
}

func TestDrafts(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	m.deliver(letter{raw: plain("a", "x@example.test", "hello", "b"), at: 1700001000})
	var msgs []v3.Message
	m.get(m.base+"/messages", &msgs)
	drafts := m.base + "/drafts"

	op, msg := m.pending("POST", drafts, `{"to":[{"name":"Żółw","email":"to@example.test"}],"bcc":[{"email":"b@example.test"}],"subject":"Re: hello","body":"<p>hi <img src=\"cid:i1\"></p>",
		"reply_to_message_id":"`+string(msgs[0].ID)+`","custom_headers":[{"name":"X-A","value":"v"}],"starred":true,"metadata":{"key1":"m"},
		"attachments":[{"filename":"a.txt","content_type":"text/plain","content":"aGVsbG8="},{"filename":"i.png","content_type":"image/png","content":"cG5n","content_id":"<i1>","is_inline":true}]}`)
	if op.Kind != mail.OpDraftSave || op.Set != mail.FlagFlagged || op.Draft.Metadata["key1"] != "m" || !op.Draft.Tagged || op.Draft.Old != "" {
		t.Errorf("%+v %+v", op, op.Draft)
	}
	if msg.Subject != "Re: hello" || msg.From[0].Email != "ann@example.test" || msg.To[0].Name != "Żółw" || len(msg.Bcc) != 1 || !slices.Equal(msg.InReplyTo, []string{"a"}) && len(msg.InReplyTo) != 1 ||
		msg.Header.Get("X-A") != "v" || !strings.Contains(msg.HTML, "cid:i1") || !strings.Contains(msg.Text, "hi") || len(msg.Attachments) != 2 || msg.Date.IsZero() {
		t.Errorf("%+v", msg)
	}
	m.fails(m.send("GET", drafts+"/"+string(op.Messages[0]), ""), 404, v3.TypeNotFound, "") // not confirmed

	// A draft that is there.
	raw := strings.ReplaceAll("From: ann@example.test\r\nTo: one@example.test\r\nCc: two@example.test\r\nSubject: old\r\nMessage-ID: <d@example.test>\r\nReferences: <r@example.test>\r\nX-Keep: kept\r\n"+
		"X-Posthorn-Revision: r0\r\nDate: Sun, 1 Mar 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nthe text\r\n--b\r\n"+
		"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"f.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\ncGRm\r\n--b--\r\n", "\r", "")
	m.deliver(letter{raw: raw, at: 1700002000, flags: mail.FlagDraft | mail.FlagSeen})
	var list []v3.Message
	m.get(drafts+"?any_email=one@example.test&any_email=x@example.test", &list)
	if len(list) != 1 || list[0].Object != "draft" || list[0].Subject != "old" || list[0].Date == 0 {
		t.Fatalf("%+v", list)
	}
	one := drafts + "/" + string(list[0].ID)
	var got v3.Message
	a := m.get(one, &got)
	if got.Object != "draft" || got.Body == "" || len(got.Attachments) != 1 {
		t.Errorf("%+v", got)
	}

	// Only what is given changes.
	op, msg = m.pending("PUT", one, `{"subject":"new"}`, "If-Match", a.Header().Get("ETag"))
	if op.Messages[0] != got.ID || op.Draft.Old != got.ID || len(op.Draft.Replaces) != 1 {
		t.Errorf("%+v %+v", op, op.Draft)
	}
	if msg.Subject != "new" || msg.MessageID != "d@example.test" || msg.To[0].Email != "one@example.test" || msg.Cc[0].Email != "two@example.test" || !slices.Equal(msg.References, []string{"r@example.test"}) ||
		msg.Header.Get("X-Keep") != "kept" || len(msg.Header.All(mime.RevisionField)) != 1 || strings.TrimSpace(msg.Text) != "the text" || msg.HTML != "" || len(msg.Attachments) != 1 || msg.Attachments[0].Name != "f.pdf" {
		t.Errorf("%+v", msg)
	}
	// The next change knows the one that waits, and takes its place.
	first := op
	op, msg = m.pending("PUT", one, "--b\r\nContent-Disposition: form-data; name=\"message\"; filename=\"\"\r\nContent-Type: application/json\r\n\r\n{\"to\":[],\"body\":\"t\",\"is_plaintext\":true}\r\n"+
		"--b\r\nContent-Disposition: form-data; name=\"file0\"; filename=\"o.bin\"\r\n\r\nxyz\r\n--b\r\nContent-Disposition: form-data; name=\"cid9\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\nxyz\r\n--b--\r\n\r\n", "Content-Type", "multipart/form-data; boundary=b")
	if msg.Subject != "new" || len(msg.To) != 0 || msg.Text != "t" && msg.Text != "t\r\n" || len(msg.Attachments) != 2 || msg.Attachments[0].Name != "o.bin" || msg.Attachments[1].ContentID != "cid9" || !slices.Contains(op.Draft.Bases, first.Draft.Revision) {
		t.Errorf("%+v %+v", msg, op.Draft)
	}
	// A removal too; then it is gone for those who would change it.
	op, _ = m.pending("DELETE", one, "{}")
	if op.Kind != mail.OpDraftDelete || len(op.Draft.Bases) < 2 || len(op.Draft.Replaces) != 1 {
		t.Errorf("%+v %+v", op, op.Draft)
	}
	m.fails(m.send("PUT", one, `{"subject":"x"}`), 404, v3.TypeNotFound, "")

	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", drafts, `{"to":[{"email":"nobody"}]}`, 400, "to: an address"},
		{"POST", drafts, `{"subject":"a\r\nBcc: x@example.test"}`, 400, "subject"},
		{"POST", drafts, `{"custom_headers":[{"name":"Bcc","value":"x@example.test"}]}`, 400, "custom_headers"},
		{"POST", drafts, `{"attachments":[{"filename":"a","content":"!"}]}`, 400, "base64"},
		{"POST", drafts, `{"attachments":[{"filename":"a"}]}`, 400, "content"},
		{"POST", drafts, `{"attachments":[{"content":"YQ=="}]}`, 400, "filename"},
		{"POST", drafts, `{"reply_to_message_id":"mAAAAAAAAAAAAAAAAAAAAAA"}`, 400, "reply_to_message_id"},
		{"POST", drafts, `{"send_at":1}`, 400, "send_at"},
		{"POST", drafts, `{"metadata":{"a":{}}}`, 400, "metadata"},
		{"POST", drafts, ``, 400, "JSON"},
		{"PUT", drafts + "/" + string(msgs[0].ID), `{"subject":"x"}`, 404, ""},
		{"DELETE", drafts + "/" + string(msgs[0].ID), ``, 404, ""},
		{"GET", drafts + "/nope", ``, 404, ""},
		{"PUT", drafts + "/nope", `{"subject":"x"}`, 404, ""},
	} {
		typ := v3.TypeInvalid
		if c.status == 404 {
			typ = v3.TypeNotFound
		}
		m.fails(m.send(c.method, c.path, c.body), c.status, typ, c.says)
	}
	if a := m.send("POST", drafts, "--b\r\n\r\nx\r\n--b--", "Content-Type", "multipart/form-data; boundary=b"); a.Code != 400 {
		t.Errorf("a form without a message: %d %s", a.Code, a.Body)
	}
}

func TestDraftsIfMatch(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	m.deliver(letter{raw: plain("d", "x@example.test", "old", "b"), at: 1700001000, flags: mail.FlagDraft})
	var list []v3.Message
	m.get(m.base+"/drafts", &list)
	one := m.base + "/drafts/" + string(list[0].ID)
	if a := m.send("PUT", one, `{"subject":"x"}`, "If-Match", `W/"other"`); a.Code != http.StatusPreconditionFailed {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	// Flags and metadata need no new version.
	op, msg := m.pending("PUT", one, `{"starred":true}`)
	if op.Kind != mail.OpUpdate || op.Set != mail.FlagFlagged || msg != nil {
		t.Errorf("%+v", op)
	}
	var got v3.Message
	a := m.send("PUT", one, `{"metadata":{"key1":"v"}}`)
	if err := json.Unmarshal(a.json.Data, &got); err != nil || a.Code != 200 || got.Metadata["key1"] != "v" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	// They are kept while the mail server has not confirmed the flags.
	m.pending("PUT", one, `{"starred":false,"metadata":{"key1":"w"}}`)
	if m.get(one, &got); got.Metadata["key1"] != "w" {
		t.Errorf("metadata beside flags that wait: %v", got.Metadata)
	}
	m.fails(m.send("PUT", one, `{"metadata":{"key1":"x"},"send_at":1}`), 400, v3.TypeInvalid, "send_at")
	m.fails(m.send("PUT", one, `{"metadata":{"key1":"x"},"tracking_options":{"opens":true}}`), 400, v3.TypeInvalid, "tracking_options")
	if m.get(one, &got); got.Metadata["key1"] != "w" {
		t.Errorf("what was refused has set %v", got.Metadata)
	}
}

// TestDraftsThatAreLeftOut: where the folder of drafts is not synchronised a draft would be there no more as soon as it was saved.
func TestDraftsThatAreLeftOut(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	for _, p := range []mail.SyncPolicy{{Without: []string{"Drafts"}}, {Folders: []string{"INBOX"}}} {
		m.acct.Settings.Sync = &p
		if err := m.store.UpdateAccount(t.Context(), m.acct, nil); err != nil {
			t.Fatal(err)
		}
		m.fails(m.send("POST", m.base+"/drafts", `{"subject":"s"}`), 400, v3.TypeInvalid, "let it in")
	}
	m.acct.Settings.Sync = &mail.SyncPolicy{Folders: []string{"INBOX", "Drafts"}}
	if err := m.store.UpdateAccount(t.Context(), m.acct, nil); err != nil {
		t.Fatal(err)
	}
	m.pending("POST", m.base+"/drafts", `{"subject":"s"}`)
}
