package api

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestFreshness(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	m.folder("Archive", mail.RoleArchive)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	m.engine.status[m.acct.ID] = mail.SyncStatus{State: mail.StateLive, FreshAt: at(1700000100), SeenAt: at(1700000300), AuditedAt: at(1700000050), Done: 30, Total: 90, Rate: 12.34, ETA: at(1700000400)}
	m.engine.proofs = map[mail.FolderID]mail.FolderProof{m.inbox: {FreshAt: at(1700000300), AuditedAt: at(1700000200)}}
	var got v3.Freshness
	m.get(m.base+"/freshness", &got)
	if got.FreshAt != 1700000100 || got.SeenAt != 1700000300 || got.AuditedAt != 1700000050 || len(got.Folders) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, f := range got.Folders {
		switch f.ID {
		case m.inbox:
			if f.FreshAt != 1700000300 || f.AuditedAt != 1700000200 {
				t.Errorf("proven since the server started: %+v", f)
			}
		default: // not read for the first time yet: what the account says is not about it
			if f.FreshAt != 0 || f.AuditedAt != 0 || f.Name != "Archive" {
				t.Errorf("never read: %+v", f)
			}
		}
	}
	var g v3.Grant
	m.get(m.base, &g)
	if p := g.Sync.Progress; p == nil || p.Rate != 12.3 || p.ETA != 1700000400 || g.Sync.SeenAt != 1700000300 {
		t.Errorf("%+v", g.Sync)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	var got []v3.SetAside
	if m.get(m.base+"/quarantine", &got); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	id := m.deliver(letter{raw: plain("one", "a@example.test", "one", "x"), at: 1700001000, headed: true})[0]
	next := time.Unix(1700009000, 0)
	m.apply(store.Batch{Quarantine: []store.Trouble{{PlacementRef: store.PlacementRef{Folder: m.inbox, UIDValidity: 1, UID: 1}, Reason: "the server refused", NextTry: next}}})
	for _, u := range []store.Unit{
		{Folder: m.inbox, UIDValidity: 1, First: 9, Last: 9, Attempts: 3, Since: next, NextTry: next, Reason: "the connection broke"},
		{Folder: "folder2", Attempts: 3, Since: next, NextTry: next, Reason: "the server does not open it"},
		{Folder: m.inbox, UIDValidity: 1, First: 10, Last: 20, UnderWay: true, Since: next},
		{Folder: m.inbox, UIDValidity: 1, First: 1, Last: 1, Attempts: 1, Since: next, NextTry: next, Reason: "the one that is listed as a body"},
	} {
		if err := m.mb.PutUnit(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	}
	m.get(m.base+"/quarantine", &got)
	kinds := map[string]v3.SetAside{}
	for _, s := range got {
		kinds[s.Kind] = s
	}
	if len(got) != 3 || kinds["body"].MessageID != id || kinds["message"].FirstUID != 9 || kinds["folder"].FolderID != "folder2" || kinds["folder"].NextTry != 1700009000 {
		t.Errorf("%+v", got)
	}
}

// TestContentIsFetchedWhenItIsAskedFor: of a grant that has headers only.
func TestContentIsFetchedWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	id := m.deliver(letter{raw: plain("one", "a@example.test", "one", "hello there"), at: 1700001000, headed: true})[0]
	asked := 0
	m.engine.during = func() { asked++ }
	var got v3.Message
	if m.get(m.base+"/messages/"+string(id), &got); asked != 0 || !got.BodyPending {
		t.Fatalf("asked %d times for a body that comes by itself; %+v", asked, got)
	}
	acct := m.acct
	acct.Settings.Sync = &mail.SyncPolicy{HeadersOnly: true, Days: 30, Without: []string{"Lists"}}
	if err := m.store.UpdateAccount(context.Background(), acct, nil); err != nil {
		t.Fatal(err)
	}
	var list []v3.Message
	if m.get(m.base+"/messages", &list); asked != 0 || len(list) != 1 {
		t.Errorf("a list asked %d times: %+v", asked, list)
	}
	m.get(m.base+"/messages/"+string(id), &got)
	ops, _, err := m.mb.PendingOperations(context.Background(), 10)
	if err != nil || asked != 1 || len(ops) != 1 || ops[0].Kind != mail.OpFetch || ops[0].Messages[0] != id {
		t.Errorf("asked %d times: %+v, %v", asked, ops, err)
	}
	var g v3.Grant
	m.get(m.base, &g)
	if s := g.Settings; s.SyncDays != 30 || s.SyncBodies == nil || *s.SyncBodies || len(s.SyncWithout) != 1 || s.SyncFolders != nil {
		t.Errorf("%+v", s)
	}
}
