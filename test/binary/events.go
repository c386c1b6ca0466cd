package binary

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Event is a notification.
type Event struct {
	ID, Type, Source string
	Data             struct {
		Object struct {
			Message
			Object   string
			Name     string
			MergedID string `json:"merged_id"`
		}
	}
}

// Feed reads all events of a grant, from the place of a cursor on.
func Feed(t testing.TB, s *Server, grant, query string) (all []Event, cursor string) {
	t.Helper()
	for more := true; more; {
		var page struct {
			Data       []Event
			NextCursor string `json:"next_cursor"`
			HasMore    bool   `json:"has_more"`
		}
		if err := s.Get(t.Context(), "/v3/grants/"+grant+"/events?limit=500&"+query, &page); err != nil {
			t.Fatal(err)
		}
		all, cursor, more = append(all, page.Data...), page.NextCursor, page.HasMore
		query = "cursor=" + cursor
	}
	return all, cursor
}

// fold makes of all events of a grant what its mailbox must be, as lines.
func fold(all []Event) []string {
	messages, folders, merged := map[string]Message{}, map[string]string{}, map[string]string{}
	for _, e := range all {
		o := e.Data.Object
		switch strings.TrimSuffix(e.Type, ".truncated") {
		case "message.created", "message.updated":
			messages[o.ID] = o.Message
		case "message.deleted":
			delete(messages, o.ID)
		case "folder.created", "folder.updated":
			folders[o.ID] = o.Name
		case "folder.deleted":
			delete(folders, o.ID)
		case "thread.merged":
			merged[o.MergedID] = o.ID
		}
	}
	var list []Message
	for _, m := range messages {
		for into, ok := merged[m.ThreadID]; ok; into, ok = merged[m.ThreadID] {
			m.ThreadID = into
		}
		list = append(list, m)
	}
	return lines(list, folders)
}

func lines(messages []Message, folders map[string]string) (out []string) {
	for _, m := range messages {
		slices.Sort(m.Folders)
		out = append(out, fmt.Sprintf("message %s %s %q %v %v %v %q %q", m.ID, m.ThreadID, m.Subject, m.Unread, m.Starred, m.Folders, m.Snippet, m.Body))
	}
	for id, name := range folders {
		out = append(out, "folder "+id+" "+name)
	}
	slices.Sort(out)
	return out
}

// Folds checks that the events of a grant, read from the first on, make the mailbox that the API lists.
func Folds(t testing.TB, s *Server, grant string) {
	t.Helper()
	all, _ := Feed(t, s, grant, "cursor=earliest")
	list, err := s.Messages(t.Context(), grant, nil)
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.Folders(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]string{}
	for _, f := range names {
		folders[f.ID] = f.Name
	}
	got, want := fold(all), lines(list, folders)
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("only by the events: %s", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("not by the events: %s", l)
		}
	}
	t.Logf("%d events make %d messages and %d folders", len(all), len(list), len(folders))
}
