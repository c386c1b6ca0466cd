package store

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestThreadsMerge(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Sent")
		first := letter{id: "a", subject: "plan", from: "Bob <bob@example.com>", to: "ada@example.com", day: 1, body: "one"}
		last := letter{id: "c", subject: "Re: plan", from: "Eve <eve@example.com>", to: "ada@example.com", reply: "b", day: 3, body: "three"}
		bridge := letter{id: "b", subject: "Re: plan", from: "ada@example.com", to: "Bob <bob@example.com>", reply: "a", day: 2, body: "two"}
		r := b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), first), b.held(ref("INBOX", 2), last)}})
		one, three := b.get(r.IDs[ref("INBOX", 1)]), b.get(r.IDs[ref("INBOX", 2)])
		if one.Thread == three.Thread {
			t.Fatalf("threads are one before the message between them is known")
		}
		from := b.seq()
		r = b.do(Batch{New: []NewMessage{b.held(ref("Sent", 1), bridge, mail.FlagSeen)}})
		two := b.get(r.IDs[ref("Sent", 1)])
		b.wantLog(from, "thread.merged "+string(one.Thread), "message.created "+string(two.ID)+" fSent")
		if ch, _ := b.Changes(t.Context(), from, 1); ch[0].Data.From != string(three.Thread) {
			t.Errorf("merged from %q", ch[0].Data.From)
		}
		for _, id := range []mail.ThreadID{one.Thread, three.Thread} {
			th, err := b.Thread(t.Context(), id)
			if err != nil {
				t.Fatalf("thread %s: %v", id, err)
			}
			if th.ID != one.Thread || !slices.Equal(th.Messages, []mail.MessageID{one.ID, two.ID, three.ID}) || th.Latest != three.ID {
				t.Errorf("thread %s: %+v", id, th)
			}
			if th.Subject != "Re: plan" || th.Snippet != "three" || !th.Unread || th.Starred || th.HasAttachments || len(th.Participants) != 3 {
				t.Errorf("thread %s: %+v", id, th)
			}
			if !th.Earliest.Equal(first.date()) || !th.LatestSent.Equal(bridge.date()) || !th.LatestReceived.Equal(last.date()) || th.Row != b.get(three.ID).Row {
				t.Errorf("times: %+v", th)
			}
			if !slices.Equal(th.Folders, []mail.FolderID{"fINBOX", "fSent"}) {
				t.Errorf("folders: %v", th.Folders)
			}
		}
		if list, _, err := b.Messages(t.Context(), MessageQuery{Thread: three.Thread}); err != nil || len(list) != 3 || list[0].ID != three.ID || list[0].Thread != one.Thread {
			t.Errorf("messages of the merged thread's old id: %v %v", list, err)
		}
		b.ok()

		// What holds the thread together goes; it stays one. Then all of it goes, and its id with it.
		b.do(Batch{Vanished: []PlacementRef{ref("Sent", 1), ref("INBOX", 2)}})
		b.sweep(farFuture)
		b.ok()
		th, err := b.Thread(t.Context(), three.Thread)
		if err != nil || th.ID != one.Thread || th.Latest != one.ID {
			t.Errorf("after the sweep: %+v %v", th, err)
		}
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}})
		b.sweep(farFuture)
		_, err = b.Thread(t.Context(), one.Thread)
		wantKind(t, err, mail.NotFound)
		_, err = b.Thread(t.Context(), "nonsense")
		wantKind(t, err, mail.NotFound)
		b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 9), last), b.at(ref("INBOX", 10), bridge)}})
		b.ok()
		if th, err := b.Thread(t.Context(), three.Thread); err != nil || len(th.Messages) != 2 {
			t.Errorf("used again: %+v %v", th, err)
		}
	})
}

var threadOrders = flag.Int("orders", 6, "orders of arrival of TestThreadsInAnyOrder; on PostgreSQL a tenth")

// The threads of a set of messages do not depend on the order in which they arrive, one by one, all at once, or in batches of any size,
// and an id that any order handed out names the thread in every other. For more orders than in every run: go test -run
// ThreadsInAnyOrder ./internal/store -orders=1000.
func TestThreadsInAnyOrder(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		rng := rand.New(rand.NewPCG(3, 4))
		var letters []letter
		for i := range 60 {
			l := letter{id: fmt.Sprint("m", i), subject: []string{"plan", "Re: plan", "Re: lunch", "lunch"}[i%4], day: i % 20, body: "x"}
			if i%3 != 0 {
				l.reply = fmt.Sprint("m", rng.IntN(60))
			}
			for range rng.IntN(3) {
				l.refs = append(l.refs, fmt.Sprint("m", rng.IntN(60)))
			}
			letters = append(letters, l)
		}
		orders := *threadOrders
		if p.name == "postgres" {
			orders = min(orders, 3+orders/10)
		}
		var want []string
		handedOut := map[mail.ThreadID]int{} // to a letter
		for round := range orders {
			b := addBox(t, s, "ada@example.com")
			b.folders("INBOX")
			order := rng.Perm(len(letters))
			ids := make([]mail.MessageID, len(letters))
			size := 1 + rng.IntN(len(letters))
			switch round {
			case 0:
				size = 1
			case 1:
				size = len(letters)
			}
			for chunk := range slices.Chunk(order, size) {
				var batch Batch
				for _, i := range chunk {
					batch.New = append(batch.New, b.at(ref("INBOX", mail.UID(i+1)), letters[i]))
				}
				for r, id := range b.do(batch).IDs {
					ids[r.UID-1] = id
					handedOut[b.get(id).Thread] = int(r.UID - 1)
				}
			}
			first := map[mail.ThreadID]int{}
			var partition []string
			for i, id := range ids {
				th := b.get(id).Thread
				if _, ok := first[th]; !ok {
					first[th] = i
				}
				partition = append(partition, fmt.Sprint(id, " with ", first[th]))
			}
			if round == 0 {
				want = partition
			} else if !slices.Equal(partition, want) {
				t.Errorf("order %d: another partition:\n%v\n%v", round, partition, want)
			}
			for th, i := range handedOut {
				if got, err := b.Thread(t.Context(), th); err != nil || got.ID != b.get(ids[i]).Thread {
					t.Errorf("order %d: thread %s of letter %d: %s %v", round, th, i, got.ID, err)
				}
			}
			b.ok()
			if err := s.DeleteAccount(t.Context(), b.id); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Messages of which people would say at a glance what belongs together: replies that name no parent, and Message-IDs that
// are no ids. In every order of arrival, in batches of every size, they end in the same threads.
func TestThreadsAsPeopleSeeThem(t *testing.T) {
	const ann, bob, eve = "ann@example.com", "bob@example.com", "eve@example.com"
	cases := []struct {
		thread string
		letter
	}{
		{"lunch", letter{id: "l1", subject: "Lunch?", from: ann, to: bob, day: 1}},
		{"lunch", letter{id: "l2", subject: "Re: Lunch?", from: bob, to: ann, day: 2}},
		{"lunch", letter{id: "l3", subject: "AW: Lunch?", from: ann, to: "eve@example.com, bob@example.com", day: 3}},
		{"lunch of others", letter{id: "l4", subject: "Re: Lunch?", from: "dan@example.com", to: "fay@example.com", day: 2}},
		{"lunch in winter", letter{id: "l5", subject: "Re: Lunch?", from: bob, to: ann, day: 300}},
		{"lunch in winter", letter{id: "l6", subject: "lunch?", from: ann, to: bob, day: 299}},
		{"bare", letter{subject: "Bare", from: ann, to: bob, day: 4}},
		{"bare", letter{subject: "Re: Bare", from: bob, to: ann, day: 4, sec: 9}},
		{"new lunch", letter{id: "n1", subject: "Lunch?", from: eve, to: "gil@example.com", day: 2}},
		{"invoice 1", letter{id: "same", subject: "Invoice 1", from: "shop@example.com", to: ann, day: 5}},
		{"invoice 2", letter{id: "same", subject: "Invoice 2", from: "shop@example.com", to: ann, day: 6}},
		{"invoice 3", letter{id: "same", subject: "Invoice 3", from: "shop@example.com", to: ann, day: 7}},
		{"invoice 2", letter{id: "i2", subject: "Re: Invoice 2", from: ann, to: "shop@example.com", reply: "same", day: 8}},
		{"about invoices", letter{id: "i3", subject: "Re: Your invoices", from: ann, to: "shop@example.com", reply: "same", day: 9}},
		{"old", letter{id: "o1", subject: "Old", from: ann, to: bob, day: 10}},
		{"old", letter{id: "o2", subject: "Re: New", from: bob, to: ann, reply: "o1", day: 11}},
		{"old", letter{id: "o1", subject: "Re: Old", from: ann, to: bob, day: 12}},
		{"no subject", letter{id: "e1", from: ann, to: bob, day: 13}},
		{"no subject, either", letter{id: "e2", subject: "Re:", from: bob, to: ann, day: 13}},
	}
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		rng := rand.New(rand.NewPCG(5, 6))
		orders := 20
		if p.name == "postgres" {
			orders = 2
		}
		handedOut := map[mail.ThreadID]int{}
		for round := range orders {
			b := addBox(t, s, ann)
			b.folders("INBOX")
			ids := make([]mail.MessageID, len(cases))
			for chunk := range slices.Chunk(rng.Perm(len(cases)), 1+round%len(cases)) {
				var batch Batch
				for _, i := range chunk {
					batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(i+1)), cases[i].letter))
				}
				for r, id := range b.do(batch).IDs {
					ids[r.UID-1] = id
					handedOut[b.get(id).Thread] = int(r.UID - 1)
				}
				b.ok()
			}
			for i := range cases {
				for j := range i {
					if one := b.get(ids[i]).Thread == b.get(ids[j]).Thread; one != (cases[i].thread == cases[j].thread) {
						t.Fatalf("order %d: letters %d (%s) and %d (%s) in one thread: %v", round, i, cases[i].thread, j, cases[j].thread, one)
					}
				}
			}
			for th, i := range handedOut {
				if _, err := b.Thread(t.Context(), th); err != nil {
					t.Errorf("order %d: thread %s, once of letter %d: %v", round, th, i, err)
				}
			}
			if err := s.DeleteAccount(t.Context(), b.id); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A thread is taken apart, since another message claims the Message-ID that held it together, and what remains of it becomes part
// of an older one, all at once: then the newest message of that is not the one that left.
func TestThreadApartAndMerged(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{New: []NewMessage{
			b.held(ref("INBOX", 1), letter{id: "b", subject: "One", day: 0}), b.held(ref("INBOX", 2), letter{id: "x", subject: "One", day: 1}),
			b.held(ref("INBOX", 3), letter{id: "r", subject: "Re: Other", reply: "x", day: 9}),
		}})
		r := b.do(Batch{New: []NewMessage{
			b.held(ref("INBOX", 4), letter{id: "x", subject: "Two", day: 2}), b.held(ref("INBOX", 5), letter{id: "g", subject: "Re: One", refs: []string{"b", "x"}, day: 3}),
		}})
		bridge := b.get(r.IDs[ref("INBOX", 5)])
		th, err := b.Thread(t.Context(), bridge.Thread)
		if err != nil || len(th.Messages) != 3 || th.Latest != bridge.ID || th.Row != bridge.Row {
			t.Errorf("%+v, %v; the newest is %s in row %d", th, err, bridge.ID, bridge.Row)
		}
		b.ok()
	})
}

// A thread whose messages name thousands of people each is read with those of one in memory, and shows as others do.
func TestThreadOfManyPeople(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		const n = 210
		for i := 0; i < n; i += 30 {
			b.manyPeople(i, i+30, 10)
		}
		list, _, err := b.Threads(t.Context(), ThreadQuery{})
		if err != nil || len(list) != 1 {
			t.Fatal(len(list), err)
		}
		th := list[0]
		if len(th.Messages) != n || len(th.Participants) != maxParticipants || th.Participants[1].Email != "p0.0@example.com" || th.Participants[maxParticipants-1].Email != "p49.8@example.com" ||
			th.Latest != th.Messages[n-1] || !b.get(th.Messages[0]).Date.Equal(th.Earliest) || !slices.IsSortedFunc(th.Messages, func(x, y mail.MessageID) int { return b.get(x).Date.Compare(b.get(y).Date) }) {
			t.Errorf("%d messages, %d people, %v", len(th.Messages), len(th.Participants), th.Participants[:3])
		}
	})
}

// Of a thread of more messages than are shown all can be had, and when it began.
func TestThreadOfManyMessages(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		const n = maxThreadMessages + 2
		for i := 0; i < n; i += 500 {
			b.manyPeople(i, min(i+500, n), 1)
		}
		list, _, err := b.Threads(t.Context(), ThreadQuery{})
		if err != nil || len(list) != 1 || len(list[0].Messages) != maxThreadMessages {
			t.Fatal(len(list), err)
		}
		ids, err := b.MessagesOf(t.Context(), list[0].ID)
		if err != nil || len(ids) != n || !slices.Equal(ids[2:], list[0].Messages) {
			t.Fatal(len(ids), err)
		}
		if first := b.get(ids[0]).Date; !first.Equal(list[0].Earliest) {
			t.Errorf("the first is of %v, the thread begins at %v", first, list[0].Earliest)
		}
		if _, err := b.MessagesOf(t.Context(), "nonsense"); !mail.IsKind(err, mail.NotFound) {
			t.Error(err)
		}
	})
}

// Not parallel: it counts what is allocated.
func TestThreadOfManyPeopleIsRead(t *testing.T) {
	b := newBox(t, newPlace(t, "sqlite"))
	b.folders("INBOX")
	const n = 30
	b.manyPeople(0, n, 1000)
	list, _, err := b.Threads(t.Context(), ThreadQuery{})
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	times := testing.AllocsPerRun(3, func() {
		if _, err := b.Thread(t.Context(), list[0].ID); err != nil {
			t.Error(err)
		}
	})
	if times > 5000 {
		t.Errorf("%.0f allocations to read a thread of %d messages", times, n)
	}
}

// manyPeople stores messages of one thread that name some people each.
func (b *box) manyPeople(from, to, people int) {
	b.t.Helper()
	var batch Batch
	for i := from; i < to; i++ {
		l := letter{id: fmt.Sprint("m", i), subject: "Re: topic", day: i, reply: "m0", body: "x"}
		var names []string
		for k := range people {
			names = append(names, fmt.Sprintf("p%d.%d@example.com", i, k))
		}
		l.to = strings.Join(names, ", ")
		batch.New = append(batch.New, b.at(ref("INBOX", mail.UID(i+1)), l))
	}
	b.do(batch)
}

// A reply that names no parent, sent again and again, is one thread, and no message of it brings the keys of all before it.
func TestLoneRepliesOfOneSubject(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		var list []letter
		for i := range 200 {
			list = append(list, letter{id: fmt.Sprint("m", i), subject: "Re: alert", day: i, body: "x"})
		}
		uid := mail.UID(0)
		for chunk := range slices.Chunk(rand.New(rand.NewPCG(1, 1)).Perm(len(list)), 30) {
			var batch Batch
			for _, i := range chunk {
				uid++
				batch.New = append(batch.New, b.at(ref("INBOX", uid), list[i]))
			}
			b.do(batch)
		}
		var threads, longest int
		ctx := t.Context()
		if err := b.db.read(ctx, func(t *tx) error {
			return t.row(ctx, "SELECT COUNT(DISTINCT thread_id), MAX(LENGTH(thread_keys)) FROM messages WHERE {a}1=1").Scan(&threads, &longest)
		}); err != nil {
			t.Fatal(err)
		}
		if threads != 1 || longest > 8*12 {
			t.Errorf("%d threads, %d bytes of keys in a message", threads, longest)
		}
		b.ok()
	})
}

// Of a subject that has more replies without a parent than are read at once, each finds those it belongs with in any order of arrival.
func TestVeryManyLoneReplies(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		const n = loneAtOnce + 300
		list := []letter{ // two and two that belong together, the oldest and the newest
			{id: "a", from: "ann@example.com", to: "bob@example.com"}, {id: "b", from: "bob@example.com", to: "ann@example.com", sec: 1},
			{id: "c", from: "cid@example.com", to: "dan@example.com", day: 40}, {id: "d", from: "dan@example.com", to: "cid@example.com", day: 40, sec: 1},
		}
		for i := range n {
			list = append(list, letter{id: fmt.Sprint("m", i), from: fmt.Sprintf("p%d@example.com", i), to: "list@example.com", day: 1 + i/150, sec: i % 150})
		}
		for _, late := range []bool{true, false} {
			b := newBox(t, newPlace(t, p.name))
			b.folders("INBOX")
			var ids [4]mail.MessageID
			put := func(which ...int) {
				var batch Batch
				for _, i := range which {
					l := list[i]
					l.subject, l.body = "Re: alert", "x"
					batch.New = append(batch.New, b.at(ref("INBOX", mail.UID(i+1)), l))
				}
				for r, id := range b.do(batch).IDs {
					if r.UID <= 4 {
						ids[r.UID-1] = id
					}
				}
			}
			pairs := func() {
				for i := range 4 {
					put(i)
				}
			}
			if !late {
				pairs()
			}
			order := rand.New(rand.NewPCG(1, 1)).Perm(n)
			for i := range order {
				order[i] += 4
			}
			for chunk := range slices.Chunk(order, 1000) {
				put(chunk...)
			}
			if late {
				pairs()
			}
			for i := 0; i < 4; i += 2 {
				if x, y := b.get(ids[i]).Thread, b.get(ids[i+1]).Thread; x != y {
					t.Errorf("late %v: %s and %s are in two threads", late, list[i].id, list[i+1].id)
				}
			}
			var threads int
			if err := b.db.read(t.Context(), func(tx *tx) error {
				return tx.row(t.Context(), "SELECT COUNT(*) FROM threads WHERE {a}1=1").Scan(&threads)
			}); err != nil || threads != n+2 {
				t.Errorf("late %v: %d threads (%v), want %d", late, threads, err, n+2)
			}
		}
	})
}

var threadSets = flag.Int("sets", 60, "random sets of messages of TestThreadsOfRandomSets")

// Small random sets of messages, with every kind of tie between them: two mailboxes that get each set in orders and batches of their
// own make the same threads of it, and the ids that either gave name them in both.
func TestThreadsOfRandomSets(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		sets := *threadSets
		if p.name == "postgres" {
			sets = min(sets, sets/6+5)
		}
		boxes := []*box{newBox(t, p), newBox(t, newPlace(t, p.name))}
		for _, b := range boxes {
			b.folders("INBOX")
		}
		several, merged := 0, 0
		for set := range sets {
			rng := rand.New(rand.NewPCG(8, uint64(set)))
			list := randomLetters(rng, set)
			ids := make([][]mail.MessageID, len(boxes))
			threads := make([][]mail.ThreadID, len(boxes))
			given := map[mail.ThreadID]bool{} // at any time
			for k, b := range boxes {
				from := b.seq()
				ids[k] = make([]mail.MessageID, len(list))
				for chunk := range slices.Chunk(rng.Perm(len(list)), 1+rng.IntN(len(list))) {
					var batch Batch
					for _, i := range chunk {
						batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(set*100+i+1)), list[i]))
					}
					for r, id := range b.do(batch).IDs {
						i := int(r.UID) - set*100 - 1
						ids[k][i] = id
						given[b.get(id).Thread] = true
					}
				}
				for _, id := range ids[k] {
					threads[k] = append(threads[k], b.get(id).Thread)
				}
				for _, l := range b.log(from) {
					if strings.HasPrefix(l, "thread.merged") {
						merged++
					}
				}
			}
			for i := range list {
				for j := range i {
					one, two := threads[0][i] == threads[0][j], threads[1][i] == threads[1][j]
					if one != two {
						t.Fatalf("set %d: %+v and %+v are in one thread in one order and not in another", set, list[i], list[j])
					}
					if one {
						several++
					}
				}
			}
			for id := range given { // also of threads that were taken apart since: it goes with one of the parts
				var names []int
				for k, b := range boxes {
					th, err := b.Thread(t.Context(), id)
					if err != nil {
						t.Fatalf("set %d: the id %s: %v", set, id, err)
					}
					names = append(names, slices.Index(threads[k], th.ID))
				}
				if names[0] < 0 || names[0] != names[1] {
					t.Fatalf("set %d: the id %s names the threads of letters %v", set, id, names)
				}
			}
		}
		for _, b := range boxes {
			b.ok()
		}
		if several < sets || merged < sets/4 {
			t.Errorf("%d pairs in one thread and %d merges in %d sets: they prove little", several, merged, sets)
		}
	})
}

// randomLetters makes up to a dozen letters that have nothing in common with those of other sets.
func randomLetters(rng *rand.Rand, set int) []letter {
	id := func() string { return fmt.Sprintf("s%d-%d", set, rng.IntN(9)) }
	person := func() string { return fmt.Sprintf("p%d.%d@example.com", set, rng.IntN(3)) }
	var list []letter
	for range 3 + rng.IntN(10) {
		topic := fmt.Sprintf("topic%d%c", set, 'a'+rune(rng.IntN(2)))
		l := letter{id: id(), from: person(), to: person(), day: rng.IntN(200), sec: rng.IntN(60), body: fmt.Sprint("text ", rng.Uint32()),
			subject: []string{topic, "Re: " + topic, "Re: " + topic, "Fwd: " + topic, "[list] AW: " + topic, "", fmt.Sprintf("new%d (was: %s)", set, topic)}[rng.IntN(7)]}
		switch rng.IntN(5) {
		case 0:
			l.id = "" // no Message-ID
		case 1, 2:
			l.reply = id()
		case 3:
			for range 1 + rng.IntN(3) {
				l.refs = append(l.refs, id())
			}
		}
		list = append(list, l)
	}
	return list
}
