package mime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBaseSubject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, base, was string
		reply         bool
	}{
		{"Hello", "hello", "", false},
		{"", "", "", false},
		{"Re: Hello", "hello", "", true},
		{"RE:Re:  re :hello   World", "hello world", "", true},
		{"Re[2]: Hello", "hello", "", true},
		{"Re(3): Hello", "hello", "", true},
		{"Re^2: Hello", "hello", "", true},
		{"Re2: Hello", "hello", "", true},
		{"Fwd: FW: Hello", "hello", "", true},
		{"Hello (fwd)", "hello", "", true},
		{"[Fwd: Re: Hello]", "hello", "", true},
		{"[list] Hello", "hello", "", false},
		{"Re: [list] Re: Hello", "hello", "", true},
		{"[list] Re: [other] Hello", "hello", "", true},
		{"Re [list]: Hello", "hello", "", true},
		{"Hello [solved]", "hello", "", false},
		{"[list]", "[list]", "", false},
		{"Re: [list]", "[list]", "", true},
		{"[a] [b]", "[b]", "", false},
		{"AW: WG: Hallo", "hallo", "", true},
		{"SV: VS: Hej", "hej", "", true},
		{"Réf : Bonjour", "bonjour", "", true},
		{"TR: Bonjour", "bonjour", "", true},
		{"R: I: Ciao", "ciao", "", true},
		{"ENC: RES: Oi", "oi", "", true},
		{"Odp: Witam", "witam", "", true},
		{"Ответ: Привет", "привет", "", true},
		{"回复：你好", "你好", "", true},
		{"Re： 転送: 件名", "件名", "", true},
		{"【list】件名", "件名", "", false},
		{"답장: 안녕", "안녕", "", true},
		{"Re:", "", "", true},
		{"Regarding: the thing", "regarding: the thing", "", false},
		{"New topic (was: Old topic)", "new topic", "old topic", true},
		{"Re: New (was: Re: [x] Old)", "new", "old", true},
		{"New [was: Old]", "new", "old", true},
		{"New (was Old)", "new", "old", true},
		{"New (Re: Old)", "new (re: old)", "old", false},
		{"Re: New? Re: [x] Old", "new? re: old", "old", true},
		{"A question re: ", "a question re:", "", false},
		{"(was: Old)", "(was: old)", "", false},
		{"A\u00a0B\u200b C", "a b c", "", false},
		{"Re: [unclosed tag", "[unclosed tag", "", true},
		{"x [a [b] c] y", "x [a c] y", "", false},
	} {
		if got := BaseSubject(c.in); got != (Subject{c.base, c.was, c.reply, got.Series}) {
			t.Errorf("%q -> %+v, want {%q %q %v}", c.in, got, c.base, c.was, c.reply)
		}
	}
}

// TestBaseSubjectInManyLanguages has the prefixes of mail programs in each language, and words that only look like them.
func TestBaseSubjectInManyLanguages(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"hr, sr, sl", "Odg: Proslj: Bok", "bok"},
		{"sr Cyrillic", "Одг: Просл: Здраво", "здраво"},
		{"lt", "Ats: Prs: Labas", "labas"},
		{"lv", "Atb: Pārs: Sveiki", "sveiki"},
		{"ro", "Răs: Salut", "salut"},
		{"uk", "Відп: Пер: Вітаю", "вітаю"},
		{"bg", "Отг: Прп: Здравей", "здравей"},
		{"be", "Адк: Прывітанне", "прывітанне"},
		{"cs", "Předáno: Ahoj", "ahoj"},
		{"pt", "Resp: Enc: Oi", "oi"},
		{"it", "Rif: Inoltra: Ciao", "ciao"},
		{"fr", "RÉ : TR : Bonjour", "bonjour"},
		{"es", "RV: Rta: Hola", "hola"},
		{"th", "ตอบกลับ: ส่งต่อ: สวัสดี", "สวัสดี"},
		{"el", "Απάντηση: Προώθ: ΑΠ: Γεια", "γεια"},
		{"he", "תשובה: הועבר: השב: שלום", "שלום"},
		{"ar", "الرد: رد: إعادة توجيه: مرحبا", "مرحبا"},
		{"fa", "پاسخ: سلام", "سلام"},
		{"vi", "TL: CT: Chào", "chào"},
		{"tr", "YNT: İLT: Merhaba", "merhaba"},
		{"cy", "ATB: YML: Helo", "helo"},
		{"nl", "Antw: Doorst: Hallo", "hallo"},
		{"hu", "Vá: Továbbítás: Szia", "szia"},
		{"fi", "VS: VL: Moi", "moi"},
		{"is", "SV: FS: Halló", "halló"},
		{"pl", "PD: Odp: Cześć", "cześć"},
		{"id", "BLS: TRS: Halo", "halo"},
		{"ja", "返信: 転送: 件名", "件名"},
		{"ko", "회신: 전달: 안녕", "안녕"},
		{"zh", "答复: 转发: 你好", "你好"},
		{"ru", "Отв: Пересл: Привет", "привет"},
	} {
		if got := BaseSubject(c[1]); got != (Subject{Base: c[2], Reply: true}) {
			t.Errorf("%s: %q -> %+v, want %q", c[0], c[1], got, c[2])
		}
	}
	for _, s := range []string{"tl;dr: read this", "ct scan: results", "ats", "prs to review", "rasmus: hello", "odgovor na pitanje", "отгул: завтра", "період: травень", "رده: x"} {
		if got := BaseSubject(s); got.Base != s || got.Reply {
			t.Errorf("%q -> %+v", s, got)
		}
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"[PATCH 2/7] a": true, "Re: [RFC v2 03/12]: b": true, "a [1/2]": true,
		"[PATCH] a": false, "a 1/2": false, "[a/b] c": false, "[1] /2": false, "[1.5/x] a": false,
	} {
		if got := BaseSubject(s).Series; got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParseThreadID(t *testing.T) {
	t.Parallel()
	k := ThreadKey{1, 2, 3, 250, 251, 252, 7, 8, 9, 10, 11, 12}
	if got, ok := ParseThreadID(k.ID()); !ok || got != k {
		t.Errorf("%q does not come back", k.ID())
	}
	for _, s := range []string{"", "t", "m" + k.ID()[1:], k.ID() + "A", k.ID()[:16], "t" + strings.Repeat("=", 16), "t" + strings.Repeat("+", 16)} {
		if _, ok := ParseThreadID(s); ok {
			t.Errorf("%q is taken for a thread id", s)
		}
	}
}

func TestThreadKeys(t *testing.T) {
	t.Parallel()
	k := MailboxKey("ann@example.net")
	keys := func(raw string, native ...string) Threading {
		m := ParseHeader([]byte(crlf(raw)))
		fp, _ := Fingerprint(m)
		return k.ThreadKeys(m, fp, native...)
	}
	reply := keys("Message-ID: <b@x>\nIn-Reply-To: <a@x>\nReferences: <r@x> <a@x>\nSubject: Re: S\nFrom: B <b@x>\nTo: a@x, B@X\n")
	if !slices.Contains(reply.Keys, reply.Mint) || !slices.Contains(reply.Keys, reply.Anchor) || !reply.IsReply || reply.Lone {
		t.Errorf("reply: %+v", reply)
	}
	if root := keys("Message-ID: <r@x>\nSubject: s\n"); root.Mint != reply.Mint || root.Subject != reply.Subject {
		t.Error("a reply that came first mints another id than its root")
	}
	if lone := keys("Message-ID: <c@x>\nSubject: Re: S\n"); !lone.Lone || lone.Mint != lone.Keys[0] {
		t.Errorf("reply without ids: %+v", lone)
	}
	if none := keys("Subject: s\nFrom: a@x\nDate: Mon, 2 Mar 2026 10:11:10 +0100\n"); len(none.Keys) != 1 || none.Anchor != (ThreadKey{}) || none.Mint != none.Keys[0] {
		t.Errorf("no Message-ID: %+v", none)
	}
	n := keys("Message-ID: <c@x>\nReferences: <r@x>\nSubject: Re: S\n", "", "17")
	if n.Native != "17" || len(n.Keys) != 3 || n.Mint != n.Keys[0] || n.Mint == keys("Subject: x", "18").Mint || slices.Contains(n.Keys, reply.Mint) {
		t.Errorf("native: %+v", n)
	}
	if answer := keys("Message-ID: <d@x>\nReferences: <c@x>\nSubject: Re: S\n"); !slices.ContainsFunc(answer.Keys, func(k ThreadKey) bool { return slices.Contains(n.Keys, k) }) {
		t.Errorf("native: %+v does not find %+v", answer, n)
	}
	if bad := keys("Message-ID: <" + strings.Repeat("x", 300) + "@y>\nReferences: <no-at> <> <@x> <x@>\nSubject: Re: a\n"); len(bad.Keys) != 1 || !bad.Lone {
		t.Errorf("unusable ids: %+v", bad)
	}
	var refs strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&refs, " <%d@x>\n", i)
	}
	if many := keys("Message-ID: <m@x>\nSubject: Re: a\nReferences:" + refs.String()); len(many.Keys) != 2+maxReferences+1 || many.Mint != keys("Message-ID: <0@x>\nSubject: a\n").Mint {
		t.Errorf("%d keys of 1000 references", len(many.Keys))
	}
	other := MailboxKey("bob@example.net")
	m := ParseHeader([]byte("Message-ID: <b@x>\r\nSubject: s\r\n"))
	fp, _ := Fingerprint(m)
	if other.ThreadKeys(m, fp).Mint == k.ThreadKeys(m, fp).Mint || other.MessageID(fp) == k.MessageID(fp) {
		t.Error("ids of two mailboxes compare")
	}
}

// mails are conversations; the first word says which messages a person would put together.
var mails = []struct{ thread, header string }{
	{"chain", "Message-ID: <c1@x>\nSubject: Plan\nFrom: a@x\nTo: b@x\nDate: Mon, 2 Mar 2026 10:00:00 +0000"},
	{"chain", "Message-ID: <c2@x>\nIn-Reply-To: <c1@x>\nReferences: <c1@x>\nSubject: Re: Plan\nFrom: b@x\nTo: a@x"},
	{"chain", "Message-ID: <c3@x>\nIn-Reply-To: <c2@x>\nReferences: <c1@x> <c2@x>\nSubject: AW: [team] Re: Plan\nFrom: a@x\nTo: b@x"},
	{"phantom", "Message-ID: <p2@x>\nReferences: <gone@x>\nSubject: Re: Lost\nFrom: b@x"},
	{"phantom", "Message-ID: <p3@x>\nReferences: <gone@x>\nSubject: Re: Lost\nFrom: c@x"},
	{"bridge", "Message-ID: <b1@x>\nSubject: Bridge\nFrom: a@x"},
	{"bridge", "Message-ID: <b3@x>\nReferences: <b2@x>\nSubject: Re: Bridge\nFrom: c@x"},
	{"bridge", "Message-ID: <b2@x>\nReferences: <b1@x>\nSubject: Re: Bridge\nFrom: b@x"},
	{"new subject", "Message-ID: <n1@x>\nSubject: Old\nFrom: a@x"},
	{"new subject", "Message-ID: <n2@x>\nReferences: <n1@x>\nSubject: New (was: Old)\nFrom: b@x"},
	{"new subject", "Message-ID: <n3@x>\nReferences: <n1@x> <n2@x>\nSubject: Re: New\nFrom: a@x"},
	{"inside", "Message-ID: <i1@x>\nSubject: Some old plan\nFrom: a@x"},
	{"inside", "Message-ID: <i2@x>\nReferences: <i1@x>\nSubject: New (Re: Some oldplan)\nFrom: b@x"},
	{"inside, no reply", "Message-ID: <i3@x>\nSubject: Other (re: Some old plan)\nFrom: a@x"},
	{"changed", "Message-ID: <h1@x>\nSubject: Before\nFrom: a@x"},
	{"changed", "Message-ID: <h2@x>\nIn-Reply-To: <h1@x>\nSubject: Re: After\nFrom: b@x"},
	{"recycled 1", "Message-ID: <r1@x>\nSubject: First topic\nFrom: a@x"},
	{"recycled 2", "Message-ID: <r2@x>\nIn-Reply-To: <r1@x>\nReferences: <r1@x>\nSubject: Other topic\nFrom: b@x"},
	{"recycled 2", "Message-ID: <r3@x>\nReferences: <r1@x> <r2@x>\nSubject: Re: Other topic\nFrom: a@x"},
	{"birthday 1", "Message-ID: <y1@x>\nSubject: Happy birthday\nFrom: a@x\nTo: b@x\nDate: Mon, 2 Mar 2024 10:00:00 +0000"},
	{"birthday 2", "Message-ID: <y2@x>\nSubject: Happy birthday\nFrom: a@x\nTo: b@x\nDate: Mon, 2 Mar 2025 10:00:00 +0000"},
	{"outlook", "Message-ID: <o1@x>\nSubject: Offer\nThread-Index: Ac8AAAAAAAECAwQFBgcICQoLDA0ODw==\nFrom: a@x"},
	{"outlook", "Message-ID: <o2@x>\nSubject: RE: Offer\nThread-Index: Ac9AAAAAAAECAwQFBgcICQoLDA0ODwAAAAAB\nFrom: b@x"},
	{"outlook 2", "Message-ID: <o3@x>\nSubject: Offer\nThread-Index: Ac8AAAAAERITFBUWFxgZGhscHR4fIA==\nFrom: a@x"},
	{"lone", "Message-ID: <l1@x>\nSubject: Lunch?\nFrom: a@x\nTo: b@x\nDate: Mon, 2 Mar 2026 10:00:00 +0000"},
	{"lone", "Message-ID: <l2@x>\nSubject: Re: Lunch?\nFrom: b@x\nTo: a@x\nDate: Mon, 2 Mar 2026 11:00:00 +0000"},
	{"lone, others", "Message-ID: <l3@x>\nSubject: Re: Lunch?\nFrom: d@x\nTo: e@x\nDate: Mon, 2 Mar 2026 11:00:00 +0000"},
	{"lone, later", "Message-ID: <l4@x>\nSubject: Re: Lunch?\nFrom: b@x\nTo: a@x\nDate: Mon, 2 Nov 2026 11:00:00 +0000"},
	{"no ids", "Subject: Bare\nFrom: a@x\nTo: b@x\nDate: Mon, 2 Mar 2026 10:00:00 +0000"},
	{"no ids", "Subject: Re: Bare\nFrom: b@x\nTo: a@x\nDate: Mon, 2 Mar 2026 10:30:00 +0000"},
	{"constant 1", "Message-ID: <same@x>\nSubject: Invoice 1\nFrom: shop@x\nDate: Mon, 2 Mar 2026 10:00:00 +0000"},
	{"constant 2", "Message-ID: <same@x>\nSubject: Invoice 2\nFrom: shop@x\nDate: Tue, 3 Mar 2026 10:00:00 +0000"},
	{"self", "Message-ID: <s1@x>\nReferences: <s1@x> <s2@x>\nSubject: Re: Loop\nFrom: a@x"},
	{"self", "Message-ID: <s2@x>\nReferences: <s1@x>\nIn-Reply-To: <s2@x>\nSubject: Re: Loop\nFrom: b@x"},
	{"forward", "Message-ID: <f1@x>\nSubject: News\nFrom: a@x"},
	{"forward", "Message-ID: <f2@x>\nReferences: <f1@x>\nSubject: Fwd: News\nFrom: b@x\nTo: z@x"},
	{"series", "Message-ID: <q0@x>\nSubject: [PATCH 0/2] Cover\nFrom: a@x"},
	{"series", "Message-ID: <q1@x>\nIn-Reply-To: <q0@x>\nReferences: <q0@x>\nSubject: [PATCH 1/2] One\nFrom: a@x"},
	{"series", "Message-ID: <q3@x>\nIn-Reply-To: <q2@x>\nReferences: <q0@x> <q2@x>\nSubject: Re: [PATCH 2/2] Two\nFrom: b@x"},
	{"mailman", "Message-ID: <m1@x>\nSubject: [l] Q\nFrom: a@x"},
	{"mailman", "Message-ID: <m2@x>\nIn-Reply-To: m1@x\nSubject: [l] Re: Q\nFrom: b@x"},
}

// threader is the union-find of a store, as plain as can be.
type threader struct {
	keys map[ThreadKey]int // the first message with the key
	up   []int
}

type threaderMsg struct {
	t      Threading
	date   time.Time
	people []string // the sender first
}

func (x *threader) find(i int) int {
	for x.up[i] != i {
		i = x.up[i]
	}
	return i
}

// partition threads the messages in this order and returns the component of each, and the ids that were minted on the
// way.
func partition(msgs []threaderMsg, order []int) (comp []int, minted map[ThreadKey]int) {
	minted = map[ThreadKey]int{}
	subjects := map[ThreadKey][12]byte{} // owner of an anchor
	unreliable := map[ThreadKey]bool{}
	x := &threader{keys: map[ThreadKey]int{}, up: make([]int, len(msgs))}
	var seen []int
	insert := func(i int) {
		m := msgs[i]
		x.up[i] = i
		for _, k := range m.t.Keys {
			if unreliable[k] {
				continue
			}
			if j, ok := x.keys[k]; ok {
				x.up[x.find(i)] = x.find(j)
			} else {
				x.keys[k] = i
			}
		}
		for _, j := range seen {
			if n := msgs[j]; (m.t.Lone || n.t.Lone) && m.t.Subject == n.t.Subject && m.date.Sub(n.date).Abs() <= 45*24*time.Hour &&
				slices.Contains(m.people, n.people[0]) && slices.Contains(n.people, m.people[0]) {
				x.up[x.find(i)] = x.find(j)
			}
		}
		seen = append(seen, i)
		if x.find(i) == i {
			alone := true
			for _, j := range seen[:len(seen)-1] {
				alone = alone && x.find(j) != i
			}
			if alone {
				minted[m.t.Mint] = i
			}
		}
	}
	for n, i := range order {
		a := msgs[i].t.Anchor
		if s, ok := subjects[a]; ok && s != msgs[i].t.Subject && a != (ThreadKey{}) && !unreliable[a] {
			unreliable[a] = true
			seen, x.keys = nil, map[ThreadKey]int{}
			for _, j := range order[:n] {
				insert(j)
			}
		}
		subjects[a] = msgs[i].t.Subject
		insert(i)
	}
	comp = make([]int, len(msgs))
	for i := range msgs {
		comp[i] = x.find(i)
	}
	return comp, minted
}

// Whatever the order of arrival: the same threads, those that a person would make, and every id ever minted is a key
// of the thread that its message is in.
func TestThreadsInAnyOrder(t *testing.T) {
	t.Parallel()
	k := MailboxKey("a@x")
	msgs := make([]threaderMsg, len(mails))
	for i, c := range mails {
		m := ParseHeader([]byte(crlf(c.header) + "\r\n"))
		fp, _ := Fingerprint(m)
		msgs[i] = threaderMsg{t: k.ThreadKeys(m, fp), date: m.Date}
		for _, a := range append(m.From, m.To...) {
			msgs[i].people = append(msgs[i].people, a.Email)
		}
		if !slices.Contains(msgs[i].t.Keys, msgs[i].t.Mint) {
			t.Errorf("mail %d: the id to mint is none of its keys", i)
		}
	}
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 1000 {
		order := r.Perm(len(msgs))
		comp, minted := partition(msgs, order)
		for i := range mails {
			for j := range i {
				if same := comp[i] == comp[j]; same != (mails[i].thread == mails[j].thread) {
					t.Fatalf("round %d, order %v: %q and %q together: %v", round, order, mails[i].header, mails[j].header, same)
				}
			}
		}
		for id, i := range minted {
			back, ok := ParseThreadID(id.ID())
			found := false
			for j := range msgs {
				found = found || comp[j] == comp[i] && slices.Contains(msgs[j].t.Keys, back)
			}
			if !ok || !found {
				t.Fatalf("round %d: id of %q does not resolve", round, mails[i].header)
			}
		}
	}
}

// TestParentIsNoAddress: old programs name in In-Reply-To who wrote, beside or instead of the message. As the id of a parent that would
// join all answers to one person.
func TestParentIsNoAddress(t *testing.T) {
	t.Parallel()
	shared := func(a, b Threading) bool {
		return slices.ContainsFunc(a.Keys, func(k ThreadKey) bool { return slices.Contains(b.Keys, k) })
	}
	keys := func(header string) Threading {
		m := parse(t, crlf("From: Bob <bob@example.com>\nTo: \"Ann\" <Ann@example.net>\n"+header+"\n\nx"))
		fp, _ := Fingerprint(m)
		return MailboxKey("a").ThreadKeys(m, fp)
	}
	train := keys("Message-ID: <3@example.com>\nSubject: Re: Train\nIn-Reply-To: Message from Ann <ann@example.net> of \"Tue, 3 Mar 2026 10:11 GMT.\" <2@example.net>")
	boat := keys("Message-ID: <2@example.com>\nSubject: Re: Boat\nIn-Reply-To: Message from Ann <ann@example.net> of \"Mon, 2 Mar 2026 10:11 GMT.\" <1@example.net>")
	if shared(train, boat) {
		t.Error("answers to one person have a key in common")
	}
	if original := keys("Message-ID: <1@example.net>\nSubject: Boat"); !shared(original, boat) || shared(original, train) {
		t.Error("the message beside the address is not the parent")
	}
	if alone := keys("Message-ID: <4@example.com>\nSubject: Re: Boat\nIn-Reply-To: <ann@example.net>"); !alone.Lone {
		t.Error("an answer that names a person only is not one that names no parent")
	}
}
