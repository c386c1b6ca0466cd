package api

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

// known is a message as the generator made it.
type known struct {
	id             mail.MessageID
	at             int64
	from, to, cc   string
	subject        string
	unread, star   bool
	attached       bool
	folder, thread string
	metadata       map[string]string
}

// question is a set of filters and what they mean for one message.
type question struct {
	q     url.Values
	holds []func(known) bool
}

func (x *question) ask(name, value string, holds func(known) bool) {
	x.q.Add(name, value)
	x.holds = append(x.holds, holds)
}

// TestFiltersAgreeWithANaiveScan asks for lists with random combinations of filters and page sizes, while mail arrives,
// and compares with what a loop over all messages finds.
func TestFiltersAgreeWithANaiveScan(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	m := setup(t).account("ann@example.test")
	m.seen = nil // thousands of answers of one kind
	people := []string{"bo@example.test", "carol@example.test", "dan@example.test", "ann@example.test"}
	folders := []mail.FolderID{m.inbox, m.folder("Work", ""), m.folder("Work/Old", "")}
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	words := []string{"Budget", "lunch", "RE: Budget", "100% _off_", "größe", ""}

	var all []known
	byID := map[mail.MessageID]*known{}
	write := func(n int, at int64) (known, letter) {
		k := known{at: at, from: pick(people), to: pick(people), subject: pick(words), attached: r.IntN(4) == 0, unread: r.IntN(2) == 0, star: r.IntN(5) == 0}
		folder := folders[r.IntN(len(folders))]
		k.folder = string(folder)
		head := fmt.Sprintf("Message-ID: <f%d@example.test>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: <%s>\nTo: X <%s>\nSubject: =?utf-8?q?%s?=\n", n, k.from, k.to, qEncode(k.subject))
		if r.IntN(3) == 0 {
			k.cc = pick(people)
			head += "Cc: " + k.cc + "\n"
		}
		if n > 3 && r.IntN(3) == 0 {
			head += fmt.Sprintf("In-Reply-To: <f%d@example.test>\n", r.IntN(n))
		}
		body := "Content-Type: text/plain\n\nhello\n"
		if k.attached {
			body = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: application/pdf; name=x.pdf\nContent-Disposition: attachment; filename=x.pdf\n\nx\n--b--\n"
		}
		var flags mail.Flags
		if !k.unread {
			flags |= mail.FlagSeen
		}
		if k.star {
			flags |= mail.FlagFlagged
		}
		if r.IntN(4) == 0 {
			k.metadata = map[string]string{"key1": pick([]string{"a", "b", "x,y"}), "other": "x"}
			if r.IntN(2) == 0 {
				k.metadata["key2"] = "c:d"
			}
		}
		return k, letter{folder: folder, raw: head + body, flags: flags, at: at}
	}
	const total = 250
	var letters []letter
	for n := range total {
		k, l := write(n, 1700000000+int64(r.IntN(100))*60)
		all, letters = append(all, k), append(letters, l)
	}
	for i, id := range m.deliver(letters...) {
		all[i].id = id
		if all[i].metadata != nil {
			if err := m.mb.SetMetadata(t.Context(), id, all[i].metadata); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Threads are the store's business: which they are is read once, from one message at a time.
	for i := range all {
		msg, err := m.mb.Message(t.Context(), all[i].id)
		if err != nil {
			t.Fatal(err)
		}
		all[i].thread = string(msg.Thread)
		byID[all[i].id] = &all[i]
	}

	flag := func(b bool) string {
		return pick([]string{strconv.FormatBool(b), strings.ToUpper(strconv.FormatBool(b)[:1]) + strconv.FormatBool(b)[1:]})
	}
	filters := []func(*question){
		func(x *question) {
			want := r.IntN(2) == 0
			x.ask("unread", flag(want), func(k known) bool { return k.unread == want })
		},
		func(x *question) {
			want := r.IntN(2) == 0
			x.ask("starred", flag(want), func(k known) bool { return k.star == want })
		},
		func(x *question) {
			want := r.IntN(2) == 0
			x.ask("has_attachment", flag(want), func(k known) bool { return k.attached == want })
		},
		func(x *question) {
			want := pick([]string{"budget", "LUNCH", "%", "_", "GRÖSSE", "größe", "nothing"})
			x.ask("subject", want, func(k known) bool { return strings.Contains(strings.ToLower(k.subject), strings.ToLower(want)) })
		},
		func(x *question) {
			a, b := pick(people), pick(people)
			x.ask("from", a, func(k known) bool { return k.from == a || k.from == b })
			x.q.Add("from", strings.ToUpper(b))
		},
		func(x *question) {
			a := pick(people)
			x.ask("to", a, func(k known) bool { return k.to == a })
		},
		func(x *question) {
			a := pick(people)
			x.ask("cc", a, func(k known) bool { return k.cc == a })
		},
		func(x *question) {
			a, b := pick(people), pick(people)
			x.ask("any_email", a+","+b, func(k known) bool {
				return slices.Contains([]string{k.from, k.to, k.cc}, a) || slices.Contains([]string{k.from, k.to, k.cc}, b)
			})
		},
		func(x *question) {
			a, b := string(folders[r.IntN(len(folders))]), string(folders[r.IntN(len(folders))])
			x.ask("in", a, func(k known) bool { return k.folder == a || k.folder == b })
			x.q.Add("in", b)
		},
		func(x *question) {
			at := 1700000000 + int64(r.IntN(100))*60
			x.ask("received_after", strconv.FormatInt(at, 10), func(k known) bool { return k.at > at })
		},
		func(x *question) {
			at := 1700000000 + int64(r.IntN(100))*60
			x.ask("received_before", strconv.FormatInt(at, 10), func(k known) bool { return k.at < at })
		},
		func(x *question) {
			th := all[r.IntN(total)].thread
			x.ask("thread_id", th, func(k known) bool { return k.thread == th })
		},
		func(x *question) {
			v := pick([]string{"a", "b", "x,y", "none"})
			x.ask("metadata_pair", "key1:"+v, func(k known) bool { return k.metadata["key1"] == v })
		},
		func(x *question) {
			x.ask("metadata_pair", "key1:a,key2:c:d", func(k known) bool { return k.metadata["key1"] == "a" && k.metadata["key2"] == "c:d" })
		},
	}
	rounds := 150
	if testing.Short() {
		rounds = 60
	}
	found, later := 0, 0
	for range rounds {
		x := &question{q: url.Values{"select": {"id"}}}
		for _, i := range r.Perm(len(filters))[:r.IntN(5)] {
			if x.q.Has("metadata_pair") && i >= len(filters)-2 {
				continue
			}
			filters[i](x)
		}
		var want []mail.MessageID
		for _, k := range all {
			if !slices.ContainsFunc(x.holds, func(h func(known) bool) bool { return !h(k) }) {
				want = append(want, k.id)
			}
		}
		var got []mail.MessageID
		token := ""
		for page := 0; ; page++ {
			x.q.Set("limit", strconv.Itoa(1+r.IntN(40)))
			if token != "" {
				x.q.Set("page_token", token)
			}
			var list []v3.Message
			a := m.get(m.base+"/messages?"+x.q.Encode(), &list)
			for _, v := range list {
				if byID[v.ID] != nil { // what came meanwhile is not asked about
					got = append(got, v.ID)
				}
			}
			if token = a.json.NextCursor; token == "" {
				break
			}
			if page == 0 && r.IntN(10) == 0 {
				later++ // newer than all: it must not shift the pages; and of a thread of its own, as it could join two
				m.deliver(letter{folder: folders[r.IntN(len(folders))], raw: plain(fmt.Sprint("later", later), pick(people), fmt.Sprint("later ", later), "x"), at: 1700006000 + int64(later)})
			}
		}
		if !slices.IsSortedFunc(got, func(x, y mail.MessageID) int { return int(byID[y].at - byID[x].at) }) {
			t.Errorf("%s: not newest first", x.q.Encode())
		}
		found += len(want)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d messages, want %d", x.q.Encode(), len(got), len(want))
		}
	}
	if found < rounds {
		t.Errorf("%d messages in %d lists: the filters are too narrow to prove anything", found, rounds)
	}
}

// qEncode writes text as the inside of a Q encoded word (RFC 2047 4.2).
func qEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}
