package mime

import (
	"strings"
	"testing"
)

// TestCleanKeepsWhatOnlyLooksQuoted: own text that begins or ends like what clients add to a reply.
func TestCleanKeepsWhatOnlyLooksQuoted(t *testing.T) {
	t.Parallel()
	const below = "\n> When?\n"
	for _, c := range []struct{ name, in, want string }{
		{"a journey", "Please book a flight.\n\nFrom: Berlin\nTo: Hamburg\nDate: 3 May 2026\n\nAn aisle seat would be nice.\n", ""},
		{"a journey, German", "Route:\nVon: Berlin\nAn: Hamburg\nDatum: 3. Mai\n\nBitte buchen.\n", ""},
		{"what he wrote", "Hi,\n\nOn 2 March 2026 at 10:15 he wrote the following:\n\nThe pump is broken.\n\nPlease send a new one.\n", ""},
		{"what she said", "Hi,\n\nOn 2 March 2026 at 10:15 she said:\n\nThe pump is broken.\n", ""},
		{"what he wrote, German", "Hallo,\n\nAm 2. März 2026 um 10:15 schrieb er folgendes:\n\nDie Pumpe ist kaputt.\n", ""},
		{"a sentence above an introduction", "It is ready.\n\nTo be sure, I checked.\nAnn wrote:" + below, "It is ready.\n\nTo be sure, I checked."},
		{"a name above an introduction", "It is ready.\n\nMario agrees.\nAnn wrote:" + below, "It is ready.\n\nMario agrees."},
		{"a time above an introduction", "It is ready.\n\nOn 2 Mar 2026 at 10 a.m.\nAnn wrote:" + below, "It is ready."},
		{"text below a conclusion", "It is ready.\n\nCheers,\nBob\n\nOh, the key is under the mat.\n", "It is ready.\n\nOh, the key is under the mat."},
		{"an item of a list", "They had these:\n\nSamsung\nLG\nSony\n", ""},
		{"the first item of a list", "I would put them so:\n\nBest\nWorst\nMiddle\n", ""},
		{"a conclusion of one word", "It is ready\nLG\nBob\n", "It is ready"},
		{"two conclusions of one word", "It is ready.\nDanke\nGruß\nBob\n", "It is ready."},
		{"a disclaimer below a conclusion", "It is ready.\n\nCheers,\nBob\n\nThis message is confidential, please delete it.\n", "It is ready."},
		{"a slogan in a signature", "It is ready.\n\nCheers,\nBob\nBoats & More\nWe build boats that last.\n", "It is ready."},
		{"text below a phone's line", "It is ready.\n\nSent from my iPhone\n\nOh, the key is under the mat.\n", "It is ready.\n\nOh, the key is under the mat."},
		{"an apology of a phone", "It is ready.\n\nSent from my iPhone.\n\nPlease excuse any typos, it is small.\n", "It is ready."},
		{"from my father", "Hallo,\n\nVon meinem Vater habe ich nichts gehört.\n", ""},
		{"sent from a warehouse", "Hello,\n\nSent from my warehouse on Monday.\n", ""},
		{"sent from Berlin", "Das Paket wurde\ngesendet von Berlin nach Hamburg.\n", ""},
		{"sent yesterday, Finnish", "Hei\n\nLähetetty eilen postissa.\n", ""},
		{"dashes between parts", "The first part of it.\n--\nAnd the second part of it.\n", ""},
		{"a signature without its blank", "The first part of it.\n--\nBob\nBoats & More\n", "The first part of it."},
		{"text below such a signature", "The first part of it.\n\n--\nBob\n\nAnd the second part of it.\n", "The first part of it.\n\nAnd the second part of it."},
		{"Proton's line", "It is ready.\n\nSent with [Proton Mail](https://proton.me/) secure email.\n", "It is ready."},
	} {
		want := c.want
		if want == "" {
			want = strings.TrimSuffix(c.in, "\n")
		}
		if got := CleanBody("Re: x", c.in, false, DefaultCleanOptions()).Text; got != want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	for _, c := range []struct{ name, in, want string }{
		{"answers within Proton's quote", `<div class="protonmail_quote">On Monday, Ann wrote:<br><blockquote class="protonmail_quote" type="cite">One?</blockquote><div>Yes.</div><blockquote class="protonmail_quote" type="cite">Two?</blockquote><div>No.</div></div>`, "Yes.\nNo."},
		{"what is quoted from a book", `<p>On page 12 he wrote:</p><blockquote>The sea is grey.</blockquote><p>Is it?</p>`, "On page 12 he wrote:\n\n> The sea is grey.\n\nIs it?"},
		{"what Kant wrote", `<p>Kant wrote:</p><blockquote>The sea is grey.</blockquote><p>Is it?</p>`, "Kant wrote:\n\n> The sea is grey.\n\nIs it?"},
		{"a mail, by its day only", `<p>Yes.</p><p>On 2 March 2026, Ann wrote:</p><blockquote>Is the sea grey?</blockquote>`, "Yes."},
		{"text below a conclusion", `<p>It is ready.</p><p>Best regards,</p><p>Bob</p><p>Oh, the key is under the mat.</p>`, "It is ready.\n\nOh, the key is under the mat."},
	} {
		if got := CleanBody("Re: x", c.in, true, DefaultCleanOptions()).Text; got != c.want {
			t.Errorf("HTML, %s: %q", c.name, got)
		}
	}
}

// TestCleanForwardsOfUnknownLanguage: a quote that begins with a header is what a forward passes on, whatever the line above it says.
func TestCleanForwardsOfUnknownLanguage(t *testing.T) {
	t.Parallel()
	const text = "FYI\n\n> Välitetty viesti alkaa:\n>\n> Lähettäjä: Ann <ann@example.net>\n> Aihe: Vene\n> Päivämäärä: 2. maaliskuuta 2026\n> Vastaanottaja: Bob\n>\n> Hei"
	const html = `<div>FYI<br><blockquote type="cite"><div>Välitetty viesti alkaa:</div><br><div><b>Lähettäjä: </b>Ann</div><div><b>Aihe: </b>Vene</div><div><b>Päivämäärä: </b>2.3.</div><br><div>Hei</div></blockquote></div>`
	for _, c := range []struct {
		subject string
		kept    bool
	}{{"Fwd: Vene", true}, {"Re: Vene", false}} {
		if got := CleanBody(c.subject, text, false, CleanOptions{}).Text; strings.HasSuffix(got, "Hei") != c.kept || !strings.HasPrefix(got, "FYI") {
			t.Errorf("%s: %q", c.subject, got)
		}
		if got := CleanBody(c.subject, html, true, CleanOptions{}).Text; strings.HasSuffix(got, "Hei") != c.kept || !strings.HasPrefix(got, "FYI") {
			t.Errorf("%s, HTML: %q", c.subject, got)
		}
	}
}

// TestSnippetEndsAtTheOriginal: the header of an original without marks is no text of a reply, but may be of anything else.
func TestSnippetEndsAtTheOriginal(t *testing.T) {
	t.Parallel()
	const original = "From: Ann <ann@example.net>\nSent: Monday, March 2, 2026 10:11 AM\nTo: Bob\nSubject: Boat\n\nWhen?\n"
	for _, c := range []struct{ subject, body, want string }{
		{"RE: Boat", "Own.\n\n________________________________\n" + original, "Own."},
		{"SV: Boat", "Own.\n\n-----Original Message-----\n" + original, "Own."},
		{"FW: Boat", "Own.\n\n" + original, "Own. From: Ann <ann@example.net> Sent: Monday"},
		{"Boat", "Own.\n\n" + original, "Own. From: Ann <ann@example.net> Sent: Monday"},
		{"RE: Boat", original, "From: Ann <ann@example.net> Sent: Monday"},
	} {
		if got := parse(t, crlf("Subject: "+c.subject+"\n\n"+c.body)).Snippet(); !strings.HasPrefix(got, c.want) || c.want == "Own." && got != c.want {
			t.Errorf("%s: %q", c.subject, got)
		}
	}
}

// TestCleanKeepsAnswersWithoutMarks: what is written between the lines of an original that has no marks, as Outlook's have none, is
// kept, and the original with it, if the text above says that it is there.
func TestCleanKeepsAnswersWithoutMarks(t *testing.T) {
	t.Parallel()
	const original = "From: Ann <ann@example.net>\nSent: Monday, March 2, 2026 10:11 AM\nTo: Bob\nSubject: Boat\n\nWhen?\nOn Friday."
	const html = `<div style="border:none"><p><b>From:</b> Ann &lt;ann@example.net&gt;<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> Boat</p></div><p>When?</p><p style="color:red">On Friday.</p>`
	const phone = "On Mar 2, 2026 10:11 AM, Ann <ann@example.net> wrote:\nWhen?\nOn Friday."
	for _, c := range []struct {
		above string
		kept  bool
	}{
		{"Please see my answers in red.", true}, {"My comments inline.", true}, {"Antworten im Text.", true}, {"Mes réponses en rouge.", true}, {"見てください（赤字）。", true},
		{"See below.", false}, {"We ordered it online in redwood.", false}, {"It is ready.", false},
	} {
		for _, below := range []string{original, "-----Original Message-----\n" + original, phone} {
			if got := CleanBody("RE: Boat", c.above+"\n\n"+below, false, CleanOptions{}).Text; strings.HasSuffix(got, "On Friday.") != c.kept || !strings.HasPrefix(got, c.above) {
				t.Errorf("%s: %q", c.above, got)
			}
		}
		if got := CleanBody("RE: Boat", "<p>"+c.above+"</p>"+html, true, CleanOptions{}).Text; strings.HasSuffix(got, "On Friday.") != c.kept || !strings.HasPrefix(got, c.above) {
			t.Errorf("%s, HTML: %q", c.above, got)
		}
	}
	if got := CleanBody("RE: Boat", `<div>Own.</div><hr id="stopSpelling">Date: Mon<br>From: ann@example.net<br><br>When?`, true, CleanOptions{}).Text; got != "Own." {
		t.Errorf("below Hotmail's rule: %q", got)
	}
}
