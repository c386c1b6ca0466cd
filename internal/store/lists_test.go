package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// listBox has 120 messages that differ in everything that lists filter by.
func listBox(t *testing.T, p *place) (*box, []mail.Message) {
	b := newBox(t, p)
	b.folders("INBOX", "Sent", "Archive")
	rng := rand.New(rand.NewPCG(5, 6))
	person := func() string { return fmt.Sprintf("P <P%d@Example.com>", rng.IntN(5)) }
	var batch Batch
	for i := range 120 {
		l := letter{id: fmt.Sprint("m", i), subject: []string{"Grüße 100%", "GRÜSSE", "re_port", "other"}[i%4], from: person(), to: person() + ", ada@example.com",
			day: i / 3, sec: rng.IntN(2), body: "x"}
		if i%3 == 0 {
			l.cc = person()
		}
		if i%4 == 0 && i > 0 {
			l.reply, l.subject = fmt.Sprint("m", i-4), "Re: Grüße 100%"
		}
		if i%9 == 0 {
			l.body = "attached"
		}
		f := []string{"INBOX", "Sent", "Archive"}[rng.IntN(3)]
		batch.New = append(batch.New, b.held(ref(f, mail.UID(i+1)), l, mail.Flags(rng.IntN(16))))
		if i%10 == 0 {
			batch.New = append(batch.New, b.held(ref("Archive", mail.UID(i+1000)), l), b.held(ref("Archive", mail.UID(i+2000)), l))
		}
	}
	b.do(batch)
	all, next, err := b.Messages(t.Context(), MessageQuery{Limit: 1000})
	if err != nil || next != 0 || len(all) != 120 {
		t.Fatalf("all: %d, next %d, %v", len(all), next, err)
	}
	return b, all
}

func has(list []mail.Address, emails []string) bool {
	return slices.ContainsFunc(list, func(a mail.Address) bool {
		return slices.ContainsFunc(emails, func(e string) bool { return strings.EqualFold(a.Email, e) })
	})
}

func is(want *bool, have bool) bool { return want == nil || *want == have }

// passes is what MessageQuery promises, said simply.
func passes(m *mail.Message, q *MessageQuery, thread mail.ThreadID) bool {
	in := len(q.Folders) == 0
	for _, f := range q.Folders {
		in = in || slices.Contains(m.Folders, f)
	}
	return in && (q.Thread == "" || m.Thread == thread) && is(q.Unread, m.Flags&mail.FlagSeen == 0) && is(q.Starred, m.Flags&mail.FlagFlagged != 0) &&
		is(q.Drafts, m.Flags&mail.FlagDraft != 0) && is(q.HasAttachment, m.ListedAsAttached) &&
		(len(q.From) == 0 || has(m.From, q.From)) && (len(q.To) == 0 || has(m.To, q.To)) && (len(q.Cc) == 0 || has(m.Cc, q.Cc)) && (len(q.Bcc) == 0 || has(m.Bcc, q.Bcc)) &&
		(len(q.AnyEmail) == 0 || has(slices.Concat(m.From, m.To, m.Cc, m.Bcc), q.AnyEmail)) &&
		strings.Contains(strings.ToLower(m.Subject), strings.ToLower(q.Subject)) &&
		(q.After.IsZero() || !m.Date.Before(q.After)) && (q.BeforeDate.IsZero() || m.Date.Before(q.BeforeDate))
}

func TestMessageFilters(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b, all := listBox(t, p)
		for i := 1; i < len(all); i++ {
			if all[i-1].Row <= all[i].Row || all[i-1].Date.Before(all[i].Date) {
				t.Fatalf("not newest first at %d", i)
			}
		}
		rng := rand.New(rand.NewPCG(8, 9))
		maybe := func() *bool {
			v := rng.IntN(2) == 0
			if rng.IntN(4) > 0 {
				return nil
			}
			return &v
		}
		emails := func() []string {
			switch rng.IntN(9) {
			case 0:
				return []string{"p1@example.com"}
			case 1:
				return []string{"p2@EXAMPLE.com", "P3@example.com", "nobody@example.com"}
			}
			return nil
		}
		hits := 0
		for range 300 {
			q := MessageQuery{Unread: maybe(), Starred: maybe(), Drafts: maybe(), HasAttachment: maybe(), From: emails(), To: emails(), Cc: emails(), AnyEmail: emails()}
			switch rng.IntN(5) {
			case 0:
				q.Folders = []mail.FolderID{"fINBOX"}
			case 1:
				q.Folders = []mail.FolderID{"fArchive", "fSent", "fnone"}
			}
			switch rng.IntN(8) {
			case 0:
				q.Subject = "grüße 100%"
			case 1:
				q.Subject = "E_P"
			}
			if rng.IntN(6) == 0 {
				q.Thread = all[rng.IntN(len(all))].Thread
			}
			if rng.IntN(5) == 0 {
				q.After = all[rng.IntN(len(all))].Date
			}
			if rng.IntN(5) == 0 {
				q.BeforeDate = all[rng.IntN(len(all))].Date
			}
			var want, got []mail.MessageID
			for i := range all {
				if passes(&all[i], &q, q.Thread) {
					want = append(want, all[i].ID)
				}
			}
			hits += len(want)
			limit := rng.IntN(20) + 1
			for page := q; ; {
				page.Limit = limit
				list, next, err := b.Messages(t.Context(), page)
				if err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				for _, m := range list {
					got = append(got, m.ID)
				}
				if next == 0 {
					break
				}
				if len(list) != limit {
					t.Fatalf("%+v: a page of %d that is not the last has %d", q, limit, len(list))
				}
				page.Before = next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v:\n got %v\nwant %v", q, got, want)
			}
		}
		if hits < 500 {
			t.Errorf("the filters are too narrow to test anything: %d hits", hits)
		}
	})
}

func TestThreadFilters(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b, all := listBox(t, p)
		byThread := map[mail.ThreadID][]*mail.Message{} // newest first
		var order []mail.ThreadID
		for i := range all {
			if byThread[all[i].Thread] == nil {
				order = append(order, all[i].Thread)
			}
			byThread[all[i].Thread] = append(byThread[all[i].Thread], &all[i])
		}
		yes, no := true, false
		for _, q := range []ThreadQuery{
			{}, {Unread: &yes}, {Unread: &no}, {Starred: &yes}, {HasAttachment: &yes}, {HasAttachment: &no}, {Folders: []mail.FolderID{"fSent"}},
			{Folders: []mail.FolderID{"fSent", "fINBOX"}, Unread: &yes}, {From: []string{"p1@example.com"}}, {AnyEmail: []string{"p1@example.com", "p4@example.com"}},
			{To: []string{"p3@example.com"}, Folders: []mail.FolderID{"fArchive"}}, {Cc: []string{"p0@example.com"}, Starred: &yes}, {Bcc: []string{"p0@example.com"}},
			{Subject: "grüße"}, {After: all[60].Date}, {BeforeDate: all[60].Date, Unread: &yes}, {Folders: []mail.FolderID{"fnone"}},
		} {
			var want, got []mail.ThreadID
			for _, id := range order {
				any := func(f func(m *mail.Message) bool) bool { return slices.ContainsFunc(byThread[id], f) }
				latest := byThread[id][0]
				part := func(q MessageQuery) bool { return any(func(m *mail.Message) bool { return passes(m, &q, "") }) }
				ok := part(MessageQuery{Folders: q.Folders}) && part(MessageQuery{From: q.From}) && part(MessageQuery{To: q.To}) && part(MessageQuery{Cc: q.Cc}) &&
					part(MessageQuery{Bcc: q.Bcc}) && part(MessageQuery{AnyEmail: q.AnyEmail}) &&
					is(q.Unread, part(MessageQuery{Unread: &yes})) && is(q.Starred, part(MessageQuery{Starred: &yes})) && is(q.HasAttachment, part(MessageQuery{HasAttachment: &yes})) &&
					passes(latest, &MessageQuery{Subject: q.Subject, After: q.After, BeforeDate: q.BeforeDate}, "")
				if ok {
					want = append(want, id)
				}
			}
			for page := q; ; {
				page.Limit = 7
				list, next, err := b.Threads(t.Context(), page)
				if err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				for _, th := range list {
					got = append(got, th.ID)
					if th.Latest != byThread[th.ID][0].ID || len(th.Messages)+len(th.Drafts) != len(byThread[th.ID]) {
						t.Errorf("thread %+v", th)
					}
				}
				if next == 0 {
					break
				}
				page.Before = next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v:\n got %v\nwant %v", q, got, want)
			}
		}
	})
}

// Every page that is read while mail arrives shows what was there before, each message once and none left out.
func TestPagesWhileMailArrives(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b, all := listBox(t, p)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for i := range 20 {
				l := letter{id: fmt.Sprint("new", i), day: i * 3, body: "y"}
				if _, err := b.Apply(t.Context(), Batch{Term: b.term, New: []NewMessage{b.at(ref("INBOX", mail.UID(5000+i)), l)}}); err != nil {
					t.Errorf("Apply: %v", err)
				}
			}
		})
		for range 5 {
			seen := map[mail.MessageID]int{}
			q := MessageQuery{Limit: 9}
			for {
				list, next, err := b.Messages(t.Context(), q)
				if err != nil {
					t.Error(err)
					return
				}
				for _, m := range list {
					seen[m.ID]++
				}
				if q.Before = next; next == 0 {
					break
				}
			}
			for _, m := range all {
				if seen[m.ID] != 1 {
					t.Errorf("message %s was shown %d times", m.ID, seen[m.ID])
				}
			}
		}
	})
}

func TestChangesExpire(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("a", "b", "c")
		if err := b.db.write(t.Context(), func(x *tx) error {
			if _, err := x.exec(t.Context(), "DELETE FROM changes WHERE {a}seq < 3"); err != nil {
				return err
			}
			_, err := x.exec(t.Context(), "UPDATE state SET min_seq = 3 WHERE {a}1=1")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, err := b.Changes(t.Context(), 1, 10)
		wantKind(t, err, mail.Expired)
		b.wantLog(2, "folder.created fc")
		if c, err := b.Changes(t.Context(), 2, 10); err != nil || c[0].At.IsZero() || time.Since(c[0].At) > time.Hour {
			t.Errorf("%+v %v", c, err)
		}
		b.ok() // the rest of the log is checked, what it no longer tells is not
	})
}
