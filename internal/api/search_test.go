package api

import (
	"net/url"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	sent := m.folder("Sent, old", mail.RoleSent)
	ids := m.deliver(
		letter{raw: plain("one", "Alice <alice@example.test>", "first hello", "Just plain text.\nSecond line, 100% a+b."), at: 1700001000},
		letter{raw: withAttachments, at: 1700002000, flags: mail.FlagSeen | mail.FlagFlagged},
		letter{raw: plain("three", "alice@example.test", "third", "plain"), at: 1700003000, headed: true}, // its bytes are not there
		letter{raw: plain("four", "Ann <ann@example.test>", "Grüße aus 東京都", "sent\nประชุมทีมวันพรุ่งนี้ที่กรุงเทพ"), at: 1700004000, folder: sent, flags: mail.FlagSeen},
	)
	mb, err := m.store.Mailbox(t.Context(), m.acct.ID)
	if err != nil {
		t.Fatal(err)
	}
	a := m.get(m.base+"/messages?search_query_native=plain", nil)
	if a.Header().Get("X-Search-Pending") != "4" {
		t.Errorf("without an index X-Search-Pending is %q", a.Header().Get("X-Search-Pending"))
	}
	for more := true; more; {
		if more, err = mb.Index(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string][]int{
		"plain": {0}, "PLAIN text": {0}, "from:alice": {0}, `FROM "lice@"`: {0}, "first OR grüße": {3, 0}, "grusse": {3}, "gruse OR 東京": {3}, "is:starred": {1}, "UNSEEN": {2, 0}, `SUBJECT "ello" UNSEEN`: {0},
		"in:sent": {3}, `in:"Sent, old" 京`: {3}, "100%": {0}, "a+b": {0}, "-plain": {3, 1}, "has:attachment": {1}, "nothing": {},
		"กรุงเทพ": {3}, "ทีม": {3}, "body:พรุ่งนี้": {3}, "เชียงใหม่": {},
	} {
		var list []v3.Message
		a := m.get(m.base+"/messages?search_query_native="+url.QueryEscape(query), &list)
		got := []int{}
		for _, x := range list {
			got = append(got, slices.Index(ids, x.ID))
		}
		if !slices.Equal(got, want) || a.json.NextCursor != "" {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
		var threads []v3.Thread
		m.get(m.base+"/threads?search_query_native="+url.QueryEscape(query), &threads)
		if len(threads) != len(want) {
			t.Errorf("%s: %d threads, want %d", query, len(threads), len(want))
		}
	}
	if a := m.get(m.base+"/messages?search_query_native=plain", nil); a.Header().Get("X-Search-Pending") != "1" {
		t.Errorf("X-Search-Pending is %q", a.Header().Get("X-Search-Pending"))
	}
	if a := m.get(m.base+"/messages?search_query_native=SEEN", nil); a.Header().Get("X-Search-Pending") != "" {
		t.Error("a query that needs no index says that something is pending")
	}
	var list []v3.Message
	m.get(m.base+"/messages?unread=false&in=sent&search_query_native=gr%C3%BC%C3%9Fe", &list)
	if len(list) != 1 || list[0].ID != ids[3] {
		t.Errorf("with other filters: %v", list)
	}
	var first, second []v3.Message
	byRelevance := m.base + "/messages?limit=1&search_order=relevance&search_query_native=" + url.QueryEscape("first OR plain OR grüße")
	page := m.get(byRelevance, &first)
	last := m.get(byRelevance+"&page_token="+page.json.NextCursor, &second)
	if len(first) != 1 || first[0].ID != ids[0] || len(second) != 1 || second[0].ID != ids[3] || last.json.NextCursor != "" {
		t.Errorf("by relevance: %v, %v, then %q", first, second, last.json.NextCursor)
	}
	m.get(m.base+"/messages?search_order=relevance&search_query_native=is:starred", &list) // says nothing of relevance
	if len(list) != 1 || list[0].ID != ids[1] {
		t.Errorf("by relevance, without a text: %v", list)
	}
	m.fails(m.do("GET", m.base+"/threads?search_order=relevance&search_query_native=a"), 400, v3.TypeInvalid, "search_order")
	var g v3.Grant
	m.get(m.base, &g)
	if g.Sync.Search == nil || *g.Sync.Search != (v3.Progress{Done: 3, Total: 4}) {
		t.Errorf("grant: %+v", g.Sync.Search)
	}
	m.fails(m.do("GET", m.base+"/messages?search_query_native=SUBJECT"), 400, v3.TypeInvalid, "character 8")
	m.fails(m.do("GET", m.base+"/messages?search_query_native=hello+in:nowhere"), 400, v3.TypeInvalid, "character 10")
	m.fails(m.do("GET", m.base+"/threads?search_query_native=(a"), 400, v3.TypeInvalid, "character 1")
}

// TestSearchUIDs: a UID is one of the folders that are listed, not of others where the message lies too.
func TestSearchUIDs(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	sent := m.folder("Sent", mail.RoleSent)
	one := plain("one", "Ann <ann@example.test>", "to myself", "x")
	ids := m.deliver(letter{raw: one, at: 1700001000}, letter{raw: one, at: 1700001000, folder: sent})
	for query, want := range map[string]int{
		"in=sent&search_query_native=UID+2": 1, "in=sent&search_query_native=UID+1": 0, "in=inbox&search_query_native=UID+1:2": 1, "in=sent&in=inbox&search_query_native=UID+1": 1,
		"search_query_native=UID+1": 1, "in=sent&search_query_native=NOT+UID+1": 1,
	} {
		var list []v3.Message
		if m.get(m.base+"/messages?"+query, &list); len(list) != want || want == 1 && list[0].ID != ids[0] {
			t.Errorf("%s: %d messages, want %d", query, len(list), want)
		}
		var threads []v3.Thread
		if m.get(m.base+"/threads?"+query, &threads); len(threads) != want {
			t.Errorf("%s: %d threads, want %d", query, len(threads), want)
		}
	}
}
