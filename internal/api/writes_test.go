package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// What the mail server confirms is tested with a real one; here nobody confirms, so that every write stays pending.
func TestWritesThatWait(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	work := m.folder("Work", "")
	m.deliver(letter{raw: plain("a", "x@example.test", "s", "b"), at: 1700001000}, letter{raw: plain("c", "x@example.test", "t", "b"), at: 1700000000, folder: m.folder("Trash", mail.RoleTrash)})
	var msgs []v3.Message
	m.get(m.base+"/messages", &msgs)
	trashed := m.base + "/messages/" + string(msgs[1].ID)
	message, thread := m.base+"/messages/"+string(msgs[0].ID), m.base+"/threads/"+string(msgs[0].ThreadID)
	for _, c := range []struct {
		method, path, body string
		want               mail.Operation
	}{
		{"PUT", message, `{"unread":false,"starred":true}`, mail.Operation{Kind: mail.OpUpdate, Set: mail.FlagSeen | mail.FlagFlagged}},
		{"PUT", message, `{"unread":true,"folders":["` + string(work) + `"]}`, mail.Operation{Kind: mail.OpUpdate, Clear: mail.FlagSeen, Folder: work}},
		{"PUT", thread, `{"starred":false,"folders":["Work"]}`, mail.Operation{Kind: mail.OpUpdate, Clear: mail.FlagFlagged, Folder: work}},
		{"DELETE", message, "", mail.Operation{Kind: mail.OpTrash}},
		{"DELETE", trashed, "", mail.Operation{Kind: mail.OpPurge}},
		{"DELETE", thread + "?hard_delete=True", "", mail.Operation{Kind: mail.OpRemove}},
		{"POST", m.base + "/folders", `{"name":"New"}`, mail.Operation{Kind: mail.OpFolderCreate, Name: "New"}},
		{"POST", m.base + "/folders", `{"name":"New","parent_id":"` + string(work) + `"}`, mail.Operation{Kind: mail.OpFolderCreate, Name: "Work/New"}},
		{"PUT", m.base + "/folders/" + string(work), `{"name":"Old/Work"}`, mail.Operation{Kind: mail.OpFolderRename, Folder: work, Name: "Old/Work"}},
		{"DELETE", m.base + "/folders/" + string(work), "", mail.Operation{Kind: mail.OpFolderDelete, Folder: work}},
	} {
		a := m.send(c.method, c.path, c.body)
		if a.Code != http.StatusAccepted {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.Code, a.Body)
			continue
		}
		var told, later v3.Operation
		if err := json.Unmarshal(a.json.Data, &told); err != nil {
			t.Fatal(err)
		}
		m.get(m.base+"/operations/"+told.ID, &later)
		if told != later || told.State != mail.OpPending || told.Kind != c.want.Kind {
			t.Errorf("%s %s: %+v, later %+v", c.method, c.path, told, later)
		}
		got, err := m.mb.Operation(t.Context(), told.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Set != c.want.Set || got.Clear != c.want.Clear || got.Folder != c.want.Folder || got.Name != c.want.Name {
			t.Errorf("%s %s %s: stored %+v", c.method, c.path, c.body, got)
		}
		if aboutMessage := strings.HasPrefix(string(c.want.Kind), "message."); aboutMessage && (len(got.Messages) != 1 || (got.Messages[0] == msgs[1].ID) != (c.path == trashed)) {
			t.Errorf("%s %s: about %v", c.method, c.path, got.Messages)
		}
	}
}

// What is asked of a thread is done with all its messages, also when it has more than are shown.
func TestWritesToLongThread(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	var letters []letter
	for i := range 5003 {
		reply := strings.Replace(plain(fmt.Sprint("t", i), "Dave <dave@example.test>", "Re: topic", "b"), "\nFrom:", "\nIn-Reply-To: <t@example.test>\nFrom:", 1)
		letters = append(letters, letter{raw: reply, at: 1700000000 + int64(i), headed: true})
	}
	letters[3].flags = mail.FlagDraft
	m.deliver(letters...)
	var list []v3.Thread
	m.get(m.base+"/threads?select=id,message_ids", &list)
	if len(list) != 1 {
		t.Fatalf("%d threads", len(list))
	}
	for _, method := range []string{"PUT", "DELETE"} {
		a := m.send(method, m.base+"/threads/"+string(list[0].ID), `{"unread":false}`)
		var told v3.Operation
		if err := json.Unmarshal(a.json.Data, &told); err != nil || a.Code != http.StatusAccepted {
			t.Fatal(a.Code, err)
		}
		if op, err := m.mb.Operation(t.Context(), told.ID); err != nil || len(op.Messages) != len(letters) {
			t.Errorf("%s is about %d messages of %d, %v", method, len(op.Messages), len(letters), err)
		}
	}
}

func TestWritesThatAreRefused(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	m.deliver(letter{raw: plain("a", "x@example.test", "s", "b"), at: 1700001000})
	var msgs []v3.Message
	m.get(m.base+"/messages", &msgs)
	message, thread := m.base+"/messages/"+string(msgs[0].ID), m.base+"/threads/"+string(msgs[0].ThreadID)
	work, leaf := string(m.folder("Work", "")), string(m.mb.IDKey().FolderID("Leaf"))
	m.apply(store.Batch{Folders: []mail.Folder{
		{ID: mail.FolderID(leaf), RawName: "Leaf", Name: "Leaf", Delimiter: "/", Attrs: []string{`\NoInferiors`}, Selectable: true},
		{ID: mail.FolderID(m.mb.IDKey().FolderID("[Gmail]")), RawName: "[Gmail]", Name: "[Gmail]", Delimiter: "/", Attrs: []string{`\Noselect`}},
	}})
	for _, c := range []struct {
		method, path, body string
		status             int
		typ, says          string
	}{
		{"PUT", message, `{`, 400, v3.TypeInvalid, "JSON"},
		{"PUT", message, `{"unread":"no"}`, 400, v3.TypeInvalid, "unread"},
		{"PUT", message, `{"folders":[]}`, 400, v3.TypeInvalid, "exactly one"},
		{"PUT", message, `{"folders":["a","b"]}`, 400, v3.TypeInvalid, "exactly one"},
		{"PUT", message, `{"folders":["nowhere"]}`, 400, v3.TypeInvalid, "no folder"},
		{"PUT", message, `{"metadata":{"key1":{"x":"y"}}}`, 400, v3.TypeInvalid, "metadata"},
		{"PUT", message, `{"metadata":{"key1":"x"},"folders":["nowhere"]}`, 400, v3.TypeInvalid, "folders: there is no folder"},
		{"PUT", message, `{"metadata":{"key1":"x"},"folders":["[Gmail]"]}`, 400, v3.TypeInvalid, "no messages"},
		{"PUT", thread, `{"folders":["[Gmail]"]}`, 400, v3.TypeInvalid, "no messages"},
		{"PUT", m.base + "/messages/mAAAAAAAAAAAAAAAAAAAAAA", `{"unread":false}`, 404, v3.TypeNotFound, ""},
		{"DELETE", m.base + "/messages/mAAAAAAAAAAAAAAAAAAAAAA", "", 404, v3.TypeNotFound, ""},
		{"PUT", m.base + "/threads/tAAAAAAAAAAAAAAAA", `{"unread":false}`, 404, v3.TypeNotFound, ""},
		{"POST", m.base + "/folders", `{}`, 400, v3.TypeInvalid, "name"},
		{"POST", m.base + "/folders", `{"name":" "}`, 400, v3.TypeInvalid, "name"},
		{"POST", m.base + "/folders", `{"name":"a\u0000b"}`, 400, v3.TypeInvalid, "control"},
		{"POST", m.base + "/folders", `{"name":"a","parent_id":"nowhere"}`, 400, v3.TypeInvalid, "parent_id"},
		{"POST", m.base + "/folders", `{"name":"a","parent_id":"` + leaf + `"}`, 400, v3.TypeInvalid, "no folders inside"},
		{"POST", m.base + "/folders", `{"name":"Leaf/a"}`, 400, v3.TypeInvalid, "no folders inside"},
		{"PUT", m.base + "/folders/" + work, `{"parent_id":"` + leaf + `"}`, 400, v3.TypeInvalid, "no folders inside"},
		{"PUT", m.base + "/folders/" + work, `{"name":"Leaf/a"}`, 400, v3.TypeInvalid, "no folders inside"},
		{"PUT", m.base + "/folders/" + work, `{"parent_id":"` + work + `"}`, 400, v3.TypeInvalid, "inside itself"},
		{"PUT", m.base + "/folders/" + work, `{"name":"Work/a"}`, 400, v3.TypeInvalid, "inside itself"},
		{"PUT", m.base + "/folders/nowhere", `{"name":"a"}`, 404, v3.TypeNotFound, ""},
		{"DELETE", m.base + "/folders/nowhere", "", 404, v3.TypeNotFound, ""},
		{"GET", m.base + "/operations/nothing", "", 404, v3.TypeNotFound, ""},
	} {
		m.fails(m.send(c.method, c.path, c.body), c.status, c.typ, c.says)
	}
	var same v3.Message
	a := m.send("PUT", message, `{}`)
	if err := json.Unmarshal(a.json.Data, &same); err != nil || a.Code != 200 || same.ID != msgs[0].ID {
		t.Errorf("an update that asks for nothing: %d %s", a.Code, a.Body)
	}
	if len(same.Metadata) > 0 {
		t.Errorf("what was refused has set %v", same.Metadata)
	}
}
