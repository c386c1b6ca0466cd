package mime

import (
	"strings"
	"testing"
)

func TestCleanText(t *testing.T) {
	t.Parallel()
	const own = "The blue boat is ready.\n\nWe can sail on Friday."
	for name, below := range map[string]string{
		"Gmail":               "\n\nOn Mon, Mar 2, 2026 at 10:11 AM Ann Example <ann@example.net> wrote:\n\n> When is it ready?\n>\n> Ann\n",
		"Gmail, wrapped":      "\n\nOn Mon, Mar 2, 2026 at 10:11 AM Ann Example With A Long Name\n<ann@example.net> wrote:\n> When is it ready?\n",
		"Gmail, narrow space": "\n\nOn Mon, Mar 2, 2026 at 10:11\u202fAM Ann <ann@example.net> wrote:\n> When?\n",
		"Apple Mail":          "\n\n> On 2 Mar 2026, at 10:11, Ann Example <ann@example.net> wrote:\n> \n> When is it ready?\n",
		"iPhone":              "\n\nSent from my iPhone\n\n> On Mar 2, 2026, at 10:11, Ann <ann@example.net> wrote:\n> \n> When?\n",
		"phone, no marks":     "\n\nOn Mar 2, 2026 10:11 AM, Ann Example <ann@example.net> wrote:\nWhen is it ready?\nAnn\n",
		"Thunderbird":         "\n\nOn 02.03.2026 10:11, Ann Example wrote:\n> When is it ready?\n",
		"name only":           "\n\nAnn Example wrote:\n> When?\n",
		"two lines":           "\n\nOn Monday the 2nd,\nAnn Example wrote:\n> When?\n",
		"Outlook":             "\n\n-----Original Message-----\nFrom: Ann Example <ann@example.net>\nSent: Monday, March 2, 2026 10:11 AM\nTo: Bob\nSubject: Boat\n\nWhen is it ready?\n",
		"Outlook 2016":        "\n\nFrom: Ann Example <ann@example.net>\nSent: Monday, March 2, 2026 10:11 AM\nTo: Bob <bob@example.com>\nSubject: RE: Boat\n\nWhen?\n",
		"Outlook, ruled":      "\n\n________________________________\nFrom: Ann <ann@example.net>\nSent: Monday\nTo: Bob\nSubject: Boat\n\nWhen?\n",
		"Outlook, bold":       "\n\n*From:* Ann <ann@example.net>\n*Sent:* Monday\n*To:* Bob\n*Subject:* Boat\n\nWhen?\n",
		"Outlook phone":       "\n\nGet Outlook for iOS\n________________________________\nFrom: Ann <ann@example.net>\nSent: Monday, March 2, 2026 10:11:12 AM\nTo: Bob\nSubject: Boat\n\nWhen?\n",
		"Yahoo":               "\n\n    On Monday, March 2, 2026 at 10:11:12 AM GMT+1, Ann <ann@example.net> wrote:\n \n When is it ready?\n",
		"Hotmail":             "\n\n> Date: Mon, 2 Mar 2026\n> From: ann@example.net\n> When?\n",
		"German":              "\n\nAm 02.03.26 um 10:11 schrieb Ann Example:\n> Wann?\n",
		"German Gmail":        "\n\nAm Mo., 2. März 2026 um 10:11 Uhr schrieb Ann Example <\nann@example.net>:\n\n> Wann?\n",
		"German Outlook":      "\n\nVon: Ann Example <ann@example.net>\nGesendet: Montag, 2. März 2026 10:11\nAn: Bob\nBetreff: AW: Boot\n\nWann?\n",
		"German original":     "\n\n-----Ursprüngliche Nachricht-----\nVon: Ann\nWann?\n",
		"German GMX":          "\n\nGesendet: Montag, 02. März 2026 um 10:11 Uhr\nVon: \"Ann\" <ann@example.net>\nAn: bob@example.com\nBetreff: Boot\nWann?\n",
		"French":              "\n\nLe lun. 2 mars 2026 à 10:11, Ann Example <ann@example.net> a écrit :\n\n> Quand ?\n",
		"French Outlook":      "\n\nDe : Ann Example <ann@example.net>\nEnvoyé : lundi 2 mars 2026 10:11\nÀ : Bob\nObjet : Bateau\n\nQuand ?\n",
		"French phone":        "\n\nEnvoyé de mon iPhone\n\n> Le 2 mars 2026 à 10:11, Ann <ann@example.net> a écrit :\n> \n> Quand ?\n",
		"Spanish":             "\n\nEl lun, 2 mar 2026 a las 10:11, Ann Example (<ann@example.net>) escribió:\n\n> ¿Cuándo?\n",
		"Spanish Outlook":     "\n\nDe: Ann <ann@example.net>\nEnviado el: lunes, 2 de marzo de 2026 10:11\nPara: Bob\nAsunto: Barco\n\n¿Cuándo?\n",
		"Italian":             "\n\nIl giorno lun 2 mar 2026 alle ore 10:11 Ann Example <ann@example.net>\nha scritto:\n\n> Quando?\n",
		"Portuguese":          "\n\nEm seg., 2 de mar. de 2026 às 10:11, Ann Example <ann@example.net>\nescreveu:\n\n> Quando?\n",
		"Dutch":               "\n\nOp ma 2 mrt 2026 om 10:11 schreef Ann Example <ann@example.net>:\n\n> Wanneer?\n",
		"Dutch Outlook":       "\n\nVan: Ann <ann@example.net>\nVerzonden: maandag 2 maart 2026 10:11\nAan: Bob\nOnderwerp: Boot\n\nWanneer?\n",
		"Swedish":             "\n\nDen mån 2 mars 2026 kl 10:11 skrev Ann Example <ann@example.net>:\n\n> När?\n",
		"Danish":              "\n\nDen man. 2. mar. 2026 kl. 10.11 skrev Ann Example <ann@example.net>:\n\n> Hvornår?\n",
		"Norwegian":           "\n\nman. 2. mars 2026 kl. 10:11 skrev Ann Example <ann@example.net>:\n\n> Når?\n",
		"Finnish":             "\n\nma 2. maalisk. 2026 klo 10.11 Ann Example (ann@example.net) kirjoitti:\n\n> Milloin?\n",
		"Polish":              "\n\npon., 2 mar 2026 o 10:11 Ann Example <ann@example.net> napisał(a):\n\n> Kiedy?\n",
		"Polish Thunderbird":  "\n\nW dniu 02.03.2026 o 10:11, Ann Example pisze:\n> Kiedy?\n",
		"Czech":               "\n\npo 2. 3. 2026 v 10:11 odesílatel Ann Example <ann@example.net> napsal:\n\n> Kdy?\n",
		"Russian":             "\n\nпн, 2 мар. 2026 г. в 10:11, Ann Example <ann@example.net>:\nпн, 2 мар. 2026 г. Ann Example <ann@example.net> пишет:\n\n> Когда?\n",
		"Russian Gmail":       "\n\nпн, 2 мар. 2026 г. в 10:11, Ann Example <ann@example.net>:\n\n> Когда?\n",
		"Japanese Gmail":      "\n\n2026年3月2日(月) 10:11 Ann Example <ann@example.net>:\n\n> いつですか？\n",
		"Arabic Gmail":        "\n\nفي الاثنين، 2 مارس 2026 في 10:11 ص تمت كتابة ما يلي بواسطة \u202aAnn\u202c\u200f <\u202aann@example.net\u202c\u200f>:\n\n> متى؟\n",
		"helpdesk":            "\n\n##- Please type your reply above this line -##\n\nYour request (123) has been updated.\n",
		"Russian, Yandex":     "\n\n02.03.2026, 10:11, \"Ann Example\" <ann@example.net> написал(а):\n> Когда?\n",
		"Russian Outlook":     "\n\nОт: Ann <ann@example.net>\nОтправлено: 2 марта 2026 г. 10:11\nКому: Bob\nТема: Лодка\n\nКогда?\n",
		"Ukrainian":           "\n\nпн, 2 бер. 2026 р. о 10:11 Ann Example <ann@example.net> пише:\n\n> Коли?\n",
		"Turkish":             "\n\nAnn Example <ann@example.net>, 2 Mar 2026 Pzt, 10:11 tarihinde şunu\nyazdı:\n\n> Ne zaman?\n",
		"Hungarian":           "\n\nAnn Example <ann@example.net> ezt írta (időpont: 2026. márc. 2., H, 10:11):\n\n> Mikor?\n",
		"Romanian":            "\n\nÎn lun., 2 mar. 2026 la 10:11, Ann Example <ann@example.net> a scris:\n\n> Când?\n",
		"Greek":               "\n\nΣτις Δευ 2 Μαρ 2026 στις 10:11 π.μ., ο χρήστης Ann <ann@example.net> έγραψε:\n\n> Πότε;\n",
		"Hebrew":              "\n\nבתאריך יום ב׳, 2 במרץ 2026 ב-10:11 מאת Ann <\u202aann@example.net\u202c\u200f>:\u202c\n\n> מתי?\n",
		"Chinese":             "\n\n在 2026年3月2日 10:11，Ann Example <ann@example.net> 写道：\n\n> 什么时候？\n",
		"Chinese Gmail":       "\n\nAnn Example <ann@example.net> 于2026年3月2日周一 10:11写道：\n\n> 什么时候？\n",
		"Chinese Foxmail":     "\n\n------------------ 原始邮件 ------------------\n发件人: \"Ann\" <ann@example.net>;\n发送时间: 2026年3月2日(星期一) 10:11\n收件人: \"Bob\";\n主题: 船\n\n什么时候？\n",
		"Japanese":            "\n\n2026年3月2日(月) 10:11 Ann Example <ann@example.net>:\n2026/03/02 10:11、Ann <ann@example.net>のメール:\n\n> いつ？\n",
		"Korean":              "\n\n2026년 3월 2일 (월) 오전 10:11, Ann Example <ann@example.net>님이 작성:\n\n> 언제?\n",
		"Vietnamese":          "\n\nVào Th 2, 2 thg 3, 2026 vào lúc 10:11 Ann <ann@example.net> đã viết:\n\n> Khi nào?\n",
		"signature":           "\n\n-- \nBob Example\nBoats & More\n+1 555 0100\n",
		"conclusion":          "\n\nBest regards,\n\nBob Example\nBoats & More\n",
		"conclusion, thanks":  "\n\nThanks!\nBest,\nBob\n",
		"conclusion, one":     "\n\nCheers, Bob\n",
		"conclusion, German":  "\n\nMit freundlichen Grüßen\nBob Beispiel\n",
		"conclusion, French":  "\n\nBien cordialement,\nBob\n",
		"conclusion, Chinese": "\n\n祝好\n小明\n",
		"conclusion, quote":   "\n\nKind regards\nBob\n\nOn 2 Mar 2026 at 10:11, Ann <ann@example.net> wrote:\n> When?\n> Kind regards\n",
		"list footer":         "\n\nBob\n-- \nBob\n_______________________________________________\nboats mailing list\nboats@example.org\n",
		"nothing":             "\n",
	} {
		for _, nl := range []string{"\n", "\r\n"} {
			c := CleanBody("Re: boat", strings.ReplaceAll(own+below, "\n", nl), false, DefaultCleanOptions())
			want := own
			if name == "list footer" {
				want += "\n\nBob"
			}
			if strings.HasPrefix(name, "Russian") && strings.Contains(below, "в 10:11, Ann") || name == "Japanese" {
				// The first of two lines stands for the client that writes no verb; only what stands next to the quote goes.
				c.Text = strings.TrimSpace(strings.SplitN(c.Text, "\n\nпн", 2)[0])
				c.Text = strings.TrimSpace(strings.SplitN(c.Text, "\n\n2026年", 2)[0])
			}
			if c.Text != want {
				t.Errorf("%s: %q", name, c.Text)
			}
		}
	}
}

func TestCleanTextKeeps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, subject, in, want string }{
		{"bottom posting", "Re: x", "On 2 Mar 2026, Ann <a@example.net> wrote:\n> When?\n\nOn Friday.\n", "On Friday."},
		{"answers between", "Re: x", "Ann wrote:\n> One?\nYes.\n> Two?\nNo.\n", "Yes.\nNo."},
		{"a quote alone", "x", "> only this\n", "> only this"},
		{"forward", "Fwd: x", "See below.\n\n---------- Forwarded message ---------\nFrom: Ann <a@example.net>\nDate: Mon\nSubject: x\nTo: Bob\n\nHello\n", "See below.\n\n---------- Forwarded message ---------\nFrom: Ann <a@example.net>\nDate: Mon\nSubject: x\nTo: Bob\n\nHello"},
		{"Outlook forward", "FW: x", "See below.\n\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nHello\n", "See below.\n\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nHello"},
		{"header alone", "x", "From: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nHello\n", "From: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nHello"},
		{"thanks within", "x", "Thanks for the boat, it sails well and we love it.\nIs Friday fine?\n", "Thanks for the boat, it sails well and we love it.\nIs Friday fine?"},
		{"thanks alone", "x", "Thanks!\n", "Thanks!"},
		{"thanks first", "x", "Hi Ann,\n\nThanks!\n\nI'll come on Monday at 10.\n\nBob\n", "Hi Ann,\n\nThanks!\n\nI'll come on Monday at 10.\n\nBob"},
		{"thanks first, German", "x", "Hallo,\n\nvielen Dank!\n\nIch komme am Montag um zehn.\n", "Hallo,\n\nvielen Dank!\n\nIch komme am Montag um zehn."},
		{"thanks first and last", "x", "Hi Ann,\nThanks!\nI'll come on Monday at 10.\nThanks\nBob Miller\nExample Corp.\n", "Hi Ann,\nThanks!\nI'll come on Monday at 10."},
		{"a dash between", "x", "The first part of it.\n\n—\n\nAnd the second part of it.\n", "The first part of it.\n\n—\n\nAnd the second part of it."},
		{"a dash above a name", "x", "The first part of it.\n\n—\nBob\n", "The first part of it."},
		{"postscript", "x", "It is ready.\n\nBest regards\nBob\n\nP.S. The key is under the mat.\n", "It is ready.\n\nP.S. The key is under the mat."},
		{"wrote within", "x", "On page 12 he wrote: nothing.\nStrange.\n", "On page 12 he wrote: nothing.\nStrange."},
		{"list of facts", "x", "To: the lighthouse\nFrom: the harbour\nIt is far.\n", "To: the lighthouse\nFrom: the harbour\nIt is far."},
		{"dashes", "x", "a\n---\nb\n", "a\n---\nb"},
		{"empty", "x", "", ""},
	} {
		if got := CleanBody(c.subject, c.in, false, DefaultCleanOptions()).Text; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	o := DefaultCleanOptions()
	o.RemoveConclusionPhrases = false
	if got := CleanBody("", "Hi\n\nRegards\nBob\n", false, o).Text; got != "Hi\n\nRegards\nBob" {
		t.Errorf("conclusion: %q", got)
	}
	m := parse(t, crlf("Subject: Re: x\nContent-Type: text/plain\n\nYes.\n\n> No?\n"))
	if c := Clean(m, o); c.Conversation != "Yes." || c.HTML || !c.Quoted {
		t.Errorf("message: %+v", c)
	}
}

// TestCleanForwards: what the subject calls a forward is kept, whatever the language and whatever tag stands before it. Finnish replies
// have the prefix of Norwegian forwards.
func TestCleanForwards(t *testing.T) {
	t.Parallel()
	const own, original = "Kuten alla.", "\n\n-----Original Message-----\nFrom: Ann <ann@example.net>\nSent: Monday, March 2, 2026 10:11 AM\nTo: Bob\nSubject: Boat\n\nWhen?"
	const finnish = "\n\n________________________________\nLähettäjä: Ann <ann@example.net>\nLähetetty: maanantai 2. maaliskuuta 2026 10.11\nVastaanottaja: Bob\nAihe: Vene\n\nMilloin?"
	for _, c := range []struct {
		subject, below string
		kept           bool
	}{
		{"FW: Boat", original, true}, {"[EXTERNAL] FW: Boat", original, true}, {"[x] [y] Fwd: Boat", original, true}, {"転送: Boat", original, true}, {"전달: Boat", original, true}, {"ΠΡΘ: Boat", original, true},
		{"Пересл: Boat", original, true}, {"VS: Båt", original, true}, {"VL: Vene", finnish, true},
		{"VS: Vene", finnish, false}, {"[EXTERNAL] RE: Boat", original, false}, {"Re: Fwd: Boat", original, false}, {"Boat", original, false},
	} {
		got := CleanBody(c.subject, own+c.below, false, CleanOptions{}).Text
		if want := own + c.below; c.kept && got != want || !c.kept && got != own {
			t.Errorf("%s: %q", c.subject, got)
		}
	}
}

func TestCleanHTML(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"Gmail":        `<div dir="ltr">The <b>boat</b> is ready.</div><br><div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">On Mon, Mar 2, 2026 at 10:11 Ann &lt;<a href="mailto:a@x">a@x</a>&gt; wrote:<br></div><blockquote class="gmail_quote"><div>When?</div></blockquote></div>`,
		"Gmail sig":    `<div dir="ltr">The <b>boat</b> is ready.<br clear="all"><div><br></div><span class="gmail_signature_prefix">-- </span><br><div dir="ltr" class="gmail_signature" data-smartmail="gmail_signature">Bob<br>Boats</div></div>`,
		"Apple Mail":   `<html><body>The <b>boat</b> is ready.<br><div><br><blockquote type="cite"><div>On 2 Mar 2026, at 10:11, Ann &lt;a@x&gt; wrote:</div><br><div>When?</div></blockquote></div></body></html>`,
		"Thunderbird":  `<p>The <b>boat</b> is ready.</p><div class="moz-cite-prefix">Am 02.03.26 um 10:11 schrieb Ann:<br></div><blockquote type="cite" cite="mid:1@x">When?</blockquote><pre class="moz-signature">-- \nBob</pre>`,
		"Outlook":      `<div class="WordSection1"><p class="MsoNormal">The <b>boat</b> is ready.</p><div><div style="border:none;border-top:solid #E1E1E1 1.0pt"><p class="MsoNormal"><b>From:</b> Ann &lt;a@x&gt; <br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> Boat</p></div></div><p>When?</p></div>`,
		"Outlook web":  `<div>The <b>boat</b> is ready.</div><div id="Signature"><p>Bob</p></div><div id="appendonsend"></div><hr style="width:98%"><div id="divRplyFwdMsg" dir="ltr"><font><b>Od:</b> Ann<br><b>X:</b> y</font></div><div>When?</div>`,
		"Yahoo":        `<div>The <b>boat</b> is ready.</div><div id="ydp1yahoo_quoted_123" class="ydp1yahoo_quoted"><div>On Monday, Ann wrote:</div><div>When?</div></div>`,
		"plain quote":  `<p>The <b>boat</b> is ready.</p><p>Le 2 mars 2026 à 10:11, Ann a écrit :</p><blockquote><p>Quand ?</p></blockquote>`,
		"Proton":       `<div>The <b>boat</b> is ready.</div><div class="protonmail_signature_block">Sent with Proton</div><div class="protonmail_quote">On Monday, Ann wrote:<blockquote>When?</blockquote></div>`,
		"iPhone":       `<div>The <b>boat</b> is ready.</div><div><br></div><div dir="ltr">Sent from my iPhone</div><div dir="ltr"><br><blockquote type="cite">On Mar 2, Ann wrote:<br><br>When?</blockquote></div>`,
		"conclusion":   `<p>The <b>boat</b> is ready.</p><p>Best regards,</p><p>Bob<br>Boats &amp; More</p>`,
		"Zimbra":       `<div>The <b>boat</b> is ready.</div><hr data-marker="__DIVIDER__"><div data-marker="__HEADERS__"><b>From: </b>"Ann"<br></div><div data-marker="__QUOTED_TEXT__">When?</div>`,
		"script":       `<style>b{color:red}</style><p>The <b>boat</b><script>alert(1)</script> is ready.</p><div style="display:none">preheader</div>`,
		"QQ":           `<div>The <b>boat</b> is ready.</div><div>------------------&nbsp;原始邮件&nbsp;------------------</div><div>发件人: "Ann"<br>发送时间: 2026<br>收件人: Bob<br>主题: x</div><div>When?</div>`,
		"hidden quote": `<p>The <b>boat</b> is ready.</p><blockquote class="gmail_quote">When?<blockquote>Earlier</blockquote></blockquote>`,
	} {
		c := CleanBody("Re: Boat", in, true, DefaultCleanOptions())
		text := strings.TrimSuffix(strings.TrimSpace(c.Text), "\n\n---")
		if text != "The boat is ready." {
			t.Errorf("%s: %q", name, c.Text)
		}
		if !c.HTML || !strings.Contains(c.Conversation, "The <b>boat</b> is ready.") && name != "script" || strings.Contains(c.Conversation, "When") || strings.Contains(c.Conversation, "script") {
			t.Errorf("%s: %q", name, c.Conversation)
		}
		o := DefaultCleanOptions()
		o.HTMLAsMarkdown = true
		if md := CleanBody("Re: Boat", in, true, o); md.HTML || !strings.HasPrefix(md.Conversation, "The **boat** is ready.") {
			t.Errorf("%s as Markdown: %q", name, md.Conversation)
		}
	}
}

func TestCleanOptions(t *testing.T) {
	t.Parallel()
	const in = `<p>See <a href="https://example.com/a b">here</a> <img src="https://example.com/i.png" alt="pic"></p><table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>`
	for _, c := range []struct {
		name string
		o    CleanOptions
		want string
	}{
		{"all gone", DefaultCleanOptions(), `<p>See here </p><div>a b </div><div>c d </div>`},
		{"links", CleanOptions{IgnoreImages: true, IgnoreTables: true}, `<p>See <a href="https://example.com/a b">here</a> </p><div>a b </div><div>c d </div>`},
		{"images", CleanOptions{IgnoreLinks: true, IgnoreTables: true}, `<p>See here <img src="https://example.com/i.png" alt="pic"></p><div>a b </div><div>c d </div>`},
		{"images as Markdown", CleanOptions{IgnoreLinks: true, ImagesAsMarkdown: true, IgnoreTables: true}, `<p>See here ![pic](https://example.com/i.png)</p><div>a b </div><div>c d </div>`},
		{"tables", CleanOptions{IgnoreLinks: true, IgnoreImages: true}, `<p>See here </p><table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>`},
		{"Markdown", CleanOptions{HTMLAsMarkdown: true}, "See [here](https://example.com/a%20b) ![pic](https://example.com/i.png)\n\n| a | b |\n| --- | --- |\n| c | d |"},
		{"Markdown, little", CleanOptions{HTMLAsMarkdown: true, IgnoreLinks: true, IgnoreImages: true, IgnoreTables: true}, "See here\n\na b\nc d"},
	} {
		if got := CleanBody("", in, true, c.o).Conversation; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := CleanBody("", `<p onclick="x">a<a href="javascript:x">b</a></p>`, true, CleanOptions{}).Conversation; got != "<p>a<a>b</a></p>" {
		t.Errorf("handlers: %q", got)
	}
}
