package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
)

// model is a mailbox at a server, and what of it the store was told.
type model struct {
	b       *box
	rng     *rand.Rand
	letters []letter
	valid   map[string]mail.UIDValidity // folders that exist
	uid     mail.UID
	live    map[PlacementRef]*copyOf
	dead    map[PlacementRef]*copyOf // vanished, perhaps swept
}

type copyOf struct {
	letter   int
	flags    mail.Flags
	keywords []string
}

var modelFolders = []string{"INBOX", "Sent", "Archive", "Lists"}

func newModel(b *box, seed uint64) *model {
	m := &model{b: b, rng: rand.New(rand.NewPCG(seed, 7)), valid: map[string]mail.UIDValidity{}, live: map[PlacementRef]*copyOf{}, dead: map[PlacementRef]*copyOf{}}
	for i := range 24 {
		l := letter{id: fmt.Sprint("m", i/2*2), subject: fmt.Sprint("Re: topic ", i%3), day: i / 4, body: "body"}
		if i%2 == 1 && i%4 == 1 { // the same headers as the one before, other bytes
			l.body = []string{"BODIES", "another body"}[i/4%2]
		} else if i%2 == 1 {
			l.id = fmt.Sprint("n", i)
		}
		if i%6 == 5 {
			l.id = "" // weak
		}
		if i > 2 && i%3 == 0 {
			l.reply = fmt.Sprint("m", m.rng.IntN(i)/2*2)
			l.refs = []string{fmt.Sprint("m", m.rng.IntN(24)/2*2), l.reply}
		}
		if i%2 == 1 && i%4 == 1 {
			l.reply, l.refs, l.subject = m.letters[i-1].reply, m.letters[i-1].refs, m.letters[i-1].subject
			l.id, l.day = m.letters[i-1].id, m.letters[i-1].day
		}
		m.letters = append(m.letters, l)
	}
	return m
}

func (m *model) folderAny() string {
	return slices.Sorted(maps.Keys(m.valid))[m.rng.IntN(len(m.valid))]
}

func (m *model) refs(of map[PlacementRef]*copyOf) []PlacementRef {
	list := slices.Collect(maps.Keys(of))
	slices.SortFunc(list, func(x, y PlacementRef) int {
		return slices.Compare([]string{string(x.Folder), fmt.Sprintf("%9d%9d", x.UIDValidity, x.UID)}, []string{string(y.Folder), fmt.Sprintf("%9d%9d", y.UIDValidity, y.UID)})
	})
	return list
}

func (m *model) some(of map[PlacementRef]*copyOf, most int) []PlacementRef {
	list := m.refs(of)
	m.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), m.rng.IntN(most)+1)]
}

func (m *model) flags() (mail.Flags, []string) {
	var kw []string
	if m.rng.IntN(3) == 0 {
		kw = []string{fmt.Sprint("k", m.rng.IntN(3))}
	}
	return mail.Flags(m.rng.IntN(16)), kw
}

// arrive makes a copy of a letter appear.
func (m *model) arrive(batch *Batch, folder string, letter int, flags mail.Flags, kw []string) {
	m.uid++
	r := refIn(folder, m.valid[folder], m.uid)
	n := m.b.at(r, m.letters[letter], flags)
	n.Keywords = kw
	n.InternalDate = n.InternalDate.Add(time.Duration(m.rng.IntN(2)) * time.Hour)
	if m.rng.IntN(3) == 0 {
		c := m.b.content(m.letters[letter])
		n.Content = &c
	}
	batch.New = append(batch.New, n)
	m.live[r] = &copyOf{letter, flags, kw}
}

func (m *model) vanish(batch *Batch, r PlacementRef) {
	batch.Vanished = append(batch.Vanished, r)
	m.dead[r] = m.live[r]
	delete(m.live, r)
}

func (m *model) vanishFolder(name string) {
	for _, r := range m.refs(m.live) {
		if r.Folder == fid(name) {
			m.dead[r] = m.live[r]
			delete(m.live, r)
		}
	}
}

// step makes something happen at the server and tells the store.
func (m *model) step() string {
	var batch Batch
	what := ""
	switch k := m.rng.IntN(20); {
	case len(m.valid) < 2 || k == 0 && len(m.valid) < len(modelFolders):
		for _, f := range modelFolders {
			if m.valid[f] == 0 {
				m.valid[f] = mail.UIDValidity(m.rng.IntN(1000) + 1)
				batch.Folders = append(batch.Folders, folder(f, m.valid[f]))
				what = "create " + f
				break
			}
		}
	case k < 7:
		what = "arrive"
		for range m.rng.IntN(8) + 1 {
			f, kw := m.flags()
			m.arrive(&batch, m.folderAny(), m.rng.IntN(len(m.letters)), f, kw)
		}
	case k < 10:
		what = "flags"
		for _, r := range m.some(m.live, 6) {
			c := m.live[r]
			c.flags, c.keywords = m.flags()
			batch.Flags = append(batch.Flags, FlagUpdate{PlacementRef: r, Flags: c.flags, Keywords: c.keywords})
		}
	case k < 12:
		what = "vanish"
		for _, r := range m.some(m.live, 5) {
			m.vanish(&batch, r)
		}
	case k < 14:
		what = "move"
		for _, r := range m.some(m.live, 5) {
			c := m.live[r]
			m.vanish(&batch, r)
			if m.rng.IntN(2) == 0 {
				m.b.do(batch)
				batch = Batch{}
			}
			m.arrive(&batch, m.folderAny(), c.letter, c.flags, c.keywords)
		}
	case k < 15:
		what = "not vanished after all"
		for _, r := range m.some(m.dead, 4) {
			if c := m.dead[r]; m.valid[string(r.Folder[1:])] == r.UIDValidity {
				n := m.b.at(r, m.letters[c.letter], c.flags)
				n.Keywords = c.keywords
				batch.New = append(batch.New, n)
				m.live[r] = c
				delete(m.dead, r)
			}
		}
	case k < 18:
		what = "bodies"
		for _, f := range slices.Sorted(maps.Keys(m.valid)) {
			list, err := m.b.Unheld(m.b.t.Context(), fid(f), 4)
			if err != nil {
				m.b.t.Fatal(err)
			}
			for _, p := range list {
				r := PlacementRef{p.Folder, p.UIDValidity, p.UID}
				if m.rng.IntN(5) == 0 {
					batch.Quarantine = append(batch.Quarantine, Trouble{PlacementRef: r, Reason: "refused"})
				} else {
					batch.Bodies = append(batch.Bodies, m.b.body(r, m.letters[m.live[r].letter]))
				}
			}
		}
	case k < 19:
		f := m.folderAny()
		m.vanishFolder(f)
		if m.rng.IntN(2) == 0 {
			what = "remove " + f
			batch.GoneFolders = []mail.FolderID{fid(f)}
			delete(m.valid, f)
		} else {
			what = "reset " + f
			m.valid[f] += mail.UIDValidity(m.rng.IntN(5) + 1)
			batch.Folders = []mail.Folder{folder(f, m.valid[f])}
		}
	default:
		m.b.sweep(farFuture)
		clear(m.dead)
		return "sweep"
	}
	r := m.b.do(batch)
	if len(batch.Folders) == 0 || m.rng.IntN(2) == 0 {
		if again := m.b.do(batch); again.Changes != 0 || again.Seq != r.Seq {
			m.b.t.Errorf("%s a second time made changes: %q", what, m.b.log(r.Seq))
		}
	}
	return what
}

// compare compares what applications see with the server.
func (m *model) compare() {
	t, ctx := m.b.t, m.b.t.Context()
	byLetter := map[int]mail.MessageID{}
	byID := map[mail.MessageID]int{}
	folders := map[mail.MessageID]map[mail.FolderID]bool{}
	for f, v := range m.valid {
		list, err := m.b.Placements(ctx, fid(f), v)
		if err != nil {
			t.Fatal(err)
		}
		n, unread := 0, 0
		for r, c := range m.live {
			if r.Folder == fid(f) {
				n++
				unread += int(bit(c.flags&mail.FlagSeen == 0))
			}
		}
		if got := m.b.folder(f); len(list) != n || got.Total != n || got.Unread != unread {
			t.Errorf("%s: %d placements, %d/%d; the server has %d/%d", f, len(list), got.Total, got.Unread, n, unread)
		}
		for _, p := range list {
			c := m.live[PlacementRef{p.Folder, p.UIDValidity, p.UID}]
			if c == nil || p.Flags != c.flags || !slices.Equal(p.Keywords, c.keywords) {
				t.Errorf("placement %+v, the server has %+v", p, c)
				continue
			}
			if folders[p.Message] == nil {
				folders[p.Message] = map[mail.FolderID]bool{}
			}
			folders[p.Message][p.Folder] = true
			if !p.Held {
				continue
			}
			if id, ok := byLetter[c.letter]; ok && id != p.Message {
				t.Errorf("letter %d is the two messages %s and %s", c.letter, id, p.Message)
			}
			if l, ok := byID[p.Message]; ok && l != c.letter {
				t.Errorf("the letters %d and %d are one message", c.letter, l)
			}
			byLetter[c.letter], byID[p.Message] = p.Message, c.letter
		}
	}
	list, _, err := m.b.Messages(ctx, MessageQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range list {
		for f := range folders[msg.ID] {
			if !slices.Contains(msg.Folders, f) {
				t.Errorf("message %s is in %v, not in %s", msg.ID, msg.Folders, f)
			}
		}
		if len(m.dead) == 0 && len(msg.Folders) != len(folders[msg.ID]) {
			t.Errorf("message %s is in %v, at the server in %v", msg.ID, msg.Folders, folders[msg.ID])
		}
		if one := m.b.get(msg.ID); !reflect.DeepEqual(one, msg) {
			t.Errorf("alone %+v\nlisted %+v", one, msg)
		}
		delete(folders, msg.ID)
	}
	if len(folders) > 0 {
		t.Errorf("not listed: %v", folders)
	}
	m.b.ok()
}

// modelQueries find some of the letters.
var modelQueries = []string{"body", "another", "bodies", "subject:topic", `BODY "o"`, "-another", "after:2026-01-03", "is:unread body", `NOT BODY "other"`, "topic 1"}

// Searches and the index beside a history: none fails, and at the end the index is what it should be.
func TestSearchBesideAHistory(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		m := newModel(newBox(t, p), 100)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		for worker := range 2 {
			wg.Go(func() {
				for i := worker; ctx.Err() == nil; i++ {
					q, err := query.Parse(modelQueries[i%len(modelQueries)], time.Unix(1800000000, 0))
					if err != nil {
						t.Error(err)
						return
					}
					mq := MessageQuery{Search: q, Limit: 1 + i%7, ByRelevance: i%3 == 0 && len(q.Asks()) > 0}
					_, ierr := m.b.Index(ctx)
					_, gerr := m.b.Merge(ctx)
					_, _, merr := m.b.Messages(ctx, mq)
					_, _, terr := m.b.Threads(ctx, ThreadQuery{Search: q, Limit: mq.Limit})
					if err := errors.Join(ierr, gerr, merr, terr); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 40 {
			m.step()
		}
		m.b.index()
		m.b.wantScan(modelQueries...)
		m.compare()
	})
}

func TestRandomHistories(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		steps, runs := 60, 6
		if p.name == "postgres" {
			steps, runs = 40, 2
		}
		if testing.Short() {
			runs = 1
		}
		for run := range runs {
			seed := uint64(run + 1)
			m := newModel(addBox(t, s, fmt.Sprintf("ada%d@example.com", run)), seed)
			var history []string
			for i := range steps {
				history = append(history, m.step())
				if m.rng.IntN(3) == 0 {
					if _, err := m.b.Index(t.Context()); err != nil {
						t.Fatalf("Index: %v", err)
					}
				}
				if m.rng.IntN(3) == 0 {
					if _, err := m.b.Merge(t.Context()); err != nil {
						t.Fatalf("Merge: %v", err)
					}
				}
				if i%20 == 9 {
					m.b.index()
					m.b.wantScan(modelQueries...)
				}
				if i%10 == 9 {
					m.compare()
				}
				if t.Failed() {
					t.Fatalf("seed %d, after %q", seed, history)
				}
			}
			m.b.sweep(farFuture)
			clear(m.dead)
			m.b.index()
			m.compare()
			if t.Failed() {
				t.Fatalf("seed %d, at the end", seed)
			}
		}
	})
}
