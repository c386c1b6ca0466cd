package demo

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// The owner of the mailbox and the people who write. Nobody of them exists.
var (
	owner = person{"Nora Lindqvist", "nora@example.com"}
	tomas = person{"Tomás Ferreira", "tomas@example.com"}
	grace = person{"Grace Okafor", "grace@kite.test"}
	jonas = person{"Jonas Weiß", "jonas.weiss@example.org"}
	yuki  = person{"高橋 ゆき", "yuki@example.jp.test"}
	mei   = person{"陈美", "mei@lantern.test"}
	anna  = person{"Анна Соколова", "anna@birch.test"}
	layla = person{"ليلى حداد", "layla@cedar.test"}
	pavel = person{"Pavel Dvořák", "pavel@example.net"}
	shop  = person{"Harbour Books", "orders@harbourbooks.test"}
	news  = person{"The Slow Almanac", "almanac@slow.test"}
	build = person{"Build robot", "robot@ci.test"}
	bank  = person{"Northern Savings", "no-reply@northern.test"}
	plain = person{"", "reception@clinic.test"}
)

var (
	seen    = []imap.Flag{imap.FlagSeen}
	starred = []imap.Flag{imap.FlagSeen, imap.FlagFlagged}
	replied = []imap.Flag{imap.FlagSeen, imap.FlagAnswered}
	sentBox = []imap.Flag{imap.FlagSeen}
)

// picture draws a small sunset.
func picture(w, h int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{uint8(255 - 90*y/h), uint8(120 + 80*y/h - 60*x/w), uint8(80 + 150*y/h), 255}
			if dx, dy := x-w/2, y-h/2; dx*dx+dy*dy < h*h/16 {
				c = color.RGBA{255, 236, 170, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil
	}
	return b.Bytes()
}

// document is a PDF of one empty page.
func document() []byte {
	return []byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n" +
		"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")
}

func table() []byte {
	var b strings.Builder
	b.WriteString("room,day,from,to,booked by\r\n")
	for i := range 60 {
		b.WriteString([]string{"Lighthouse", "Harbour", "Dune"}[i%3] + ",")
		b.WriteString([]string{"Mon", "Tue", "Wed", "Thu", "Fri"}[i%5] + ",09:00,10:30,")
		b.WriteString([]string{"Grace", "Tomás", "Jonas", "Nora"}[i%4] + "\r\n")
	}
	return []byte(b.String())
}

const almanac = `<!DOCTYPE html>
<html><head><meta charset="utf-8"><style>body{font-family:Georgia,serif;color:#222}h1{color:#7a3e1d}.box{background:#faf4ea;padding:12px}</style></head>
<body><table width="600" align="center"><tr><td>
<h1>The Slow Almanac</h1>
<p class="box">This week: how to sharpen a pencil with a knife, three soups that want a whole afternoon, and the case for unfinished walks.</p>
<h2>Three soups</h2><ol><li>Leek and barley</li><li>Roasted pumpkin</li><li>White beans, much sage</li></ol>
<p><a href="https://slow.test/read?utm_source=mail">Read on</a> &middot; <a href="https://slow.test/leave">Unsubscribe</a></p>
<img src="https://slow.test/pixel.gif" width="1" height="1" alt="">
</td></tr></table></body></html>
`

const invitation = `Content-Type: multipart/alternative; boundary="invite"

--invite
Content-Type: text/plain; charset=utf-8

You are invited: Harbour walk-through, tomorrow 10:00.

--invite
Content-Type: text/calendar; method=REQUEST; charset=utf-8

BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Kite//Calendar//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:walkthrough-1@kite.test
DTSTAMP:{stamp}
DTSTART:{stamp}
DURATION:PT1H
SUMMARY:Harbour walk-through
ORGANIZER;CN=Grace Okafor:mailto:grace@kite.test
ATTENDEE;CN=Nora Lindqvist;RSVP=TRUE:mailto:nora@example.com
END:VEVENT
END:VCALENDAR

--invite--
`

const bounce = `Content-Type: multipart/report; report-type=delivery-status; boundary="report"

--report
Content-Type: text/plain; charset=us-ascii

Your message to oldname@kite.test could not be delivered: no such mailbox.

--report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com

Final-Recipient: rfc822; oldname@kite.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such mailbox

--report
Content-Type: message/rfc822

From: Nora Lindqvist <nora@example.com>
To: oldname@kite.test
Subject: Plans for the pier
Message-ID: <pier.old@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Are you still looking after the pier?

--report--
`

// sampleMail is what the mailbox holds at the start, in no order.
func sampleMail() []letter {
	return []letter{
		// A project with several people, in INBOX and Sent.
		{folder: "INBOX", key: "pier1", ago: 9 * day, from: grace, to: []person{owner, tomas}, subject: "Pier renovation: first plan", flags: replied,
			text:  "Hello both,\n\nthe first plan is attached. Could you look at the costs of the railing before Thursday?\n\nGrace\n",
			files: []attachment{{"pier-plan.pdf", "application/pdf", document(), ""}, {"Räume.csv", "text/csv", table(), ""}}},
		{folder: "Sent", key: "pier2", re: "pier1", ago: 9*day - 2*hour, from: owner, to: []person{grace}, cc: []person{tomas}, flags: sentBox,
			text: "Thanks, Grace. The railing looks expensive: is oak needed on the whole length?\n\n> Could you look at the costs of the railing\n"},
		{folder: "INBOX", key: "pier3", re: "pier2", ago: 8 * day, from: tomas, to: []person{owner, grace}, flags: seen,
			text: "Oak only where hands are. I asked the yard for larch.\n\nTomás\n"},
		{folder: "INBOX", key: "pier4", re: "pier3", ago: 7 * day, from: grace, to: []person{owner, tomas}, flags: seen,
			text: "Larch it is. New sum on page 3.\n", files: []attachment{{"pier-plan-2.pdf", "application/pdf", document(), ""}}},
		{folder: "INBOX", key: "pier5", re: "pier4", ago: 5 * hour, answerable: true, from: tomas, to: []person{owner, grace},
			text: "The yard can deliver in two weeks. Shall I order?\n"},
		{folder: "Drafts", re: "pier5", ago: 4 * hour, from: owner, to: []person{tomas}, flags: []imap.Flag{imap.FlagDraft, imap.FlagSeen},
			text: "Yes, please order, and\n"},
		{folder: "INBOX", ago: 30 * hour, from: grace, subject: "Invitation: Harbour walk-through", body: invitation},

		// Several languages and character sets.
		{folder: "INBOX", key: "umzug", ago: 6 * day, answerable: true, from: jonas, subject: "Umzug: Schlüsselübergabe am Freitag", charset: "iso-8859-1", flags: starred,
			text: "Liebe Nora,\n\ndie Schlüssel fürs Büro gibt es am Freitag um 9 Uhr. Bitte Müllsäcke mitbringen.\n\nSchöne Grüße\nJonas\n"},
		{folder: "Sent", re: "umzug", ago: 6*day - hour, from: owner, to: []person{jonas}, subject: "Aw: Umzug: Schlüsselübergabe am Freitag", flags: sentBox,
			text: "Lieber Jonas, ich bin da. Grüße, Nora\n"},
		{folder: "INBOX", ago: 4 * day, answerable: true, from: yuki, subject: "写真展のご案内", charset: "iso-2022-jp", flags: seen,
			text: "ノラさん、こんにちは。\n\n来月の写真展のご案内です。ぜひいらしてください。\n\n高橋\n"},
		{folder: "INBOX", ago: 75 * hour, from: mei, subject: "灯笼节的照片", charset: "gb18030",
			text: "诺拉，你好！\n\n附件是灯笼节的照片。希望你喜欢。\n\n陈美\n", files: []attachment{{"灯笼.png", "image/png", picture(160, 120), ""}}},
		{folder: "INBOX", ago: 50 * hour, answerable: true, from: anna, subject: "Рецепт пирога", charset: "koi8-r", flags: seen,
			text: "Нора, привет!\n\nВот рецепт: яблоки, мука, масло, немного корицы. Печь сорок минут.\n\nАнна\n"},
		{folder: "INBOX", ago: 44 * hour, from: layla, subject: "موعد الزيارة", charset: "windows-1256",
			text: "مرحبا نورا،\n\nهل يناسبك يوم الثلاثاء؟\n\nليلى\n"},
		{folder: "INBOX", ago: 90 * hour, from: pavel, subject: "Příští schůzka klubu", charset: "iso-8859-2", flags: seen,
			text: "Ahoj Noro,\n\npříští schůzka je ve středu v kavárně U Mostu.\n\nPavel\n"},
		{folder: "INBOX", ago: 3 * hour, answerable: true, from: tomas, subject: "Fotos 📷 do fim de semana",
			text: "Olá Nora! O pôr do sol de sábado. 🌅\n",
			html: "<p>Olá Nora! O pôr do sol de sábado. 🌅</p><p><img src=\"cid:sunset@example.com\" alt=\"pôr do sol\"></p>\n",
			files: []attachment{
				{"sunset.png", "image/png", picture(320, 200), "sunset@example.com"},
				{"sunset-large.png", "image/png", picture(640, 400), ""},
			}},

		// Machines.
		{folder: "INBOX", ago: 26 * hour, from: news, subject: "Soup, knives and unfinished walks", html: almanac, flags: seen,
			text:    "The Slow Almanac\n\nThis week: how to sharpen a pencil with a knife, three soups, and the case for unfinished walks.\n",
			headers: []string{"List-Id: The Slow Almanac <almanac.slow.test>", "List-Unsubscribe: <https://slow.test/leave>", "Precedence: bulk"}},
		{folder: "INBOX", ago: 8*day + 3*hour, from: news, subject: "Rain, and what to read in it", html: strings.Replace(almanac, "knife", "stone", 1), flags: seen,
			headers: []string{"List-Id: The Slow Almanac <almanac.slow.test>", "List-Unsubscribe: <https://slow.test/leave>"}},
		{folder: "INBOX", ago: 20 * hour, from: shop, subject: "Your order 4711 is on its way",
			text: "Dear Nora Lindqvist,\n\nyour order has left our warehouse:\n\n  1 x Tidal Charts of the North\n  2 x Notebook, dotted\n\nHarbour Books\n",
			html: "<h2>On its way</h2><table border=1><tr><td>Tidal Charts of the North</td><td>1</td></tr><tr><td>Notebook, dotted</td><td>2</td></tr></table>\n"},
		{folder: "INBOX", ago: 2 * hour, from: build, subject: "[harbour] build 218 failed: test TestTide",
			text:    "--- FAIL: TestTide (0.02s)\n    tide_test.go:41: high water at 14:10, want 14:12\nFAIL\n",
			headers: []string{"Auto-Submitted: auto-generated"}},
		{folder: "INBOX", ago: 100 * time.Minute, from: build, subject: "[harbour] build 219 passed", text: "ok  harbour/tide  0.021s\n",
			headers: []string{"Auto-Submitted: auto-generated"}},
		{folder: "INBOX", ago: 70 * hour, from: person{"Mail Delivery System", "mailer-daemon@example.com"}, subject: "Undelivered Mail Returned to Sender",
			body: bounce, headers: []string{"Auto-Submitted: auto-replied"}},
		{folder: "INBOX", ago: 12 * hour, from: bank, subject: "Your statement is ready", flags: seen,
			text: "Dear customer,\n\na new statement is in your vault.\n\nThis mailbox is not read by anybody.\n"},
		{folder: "INBOX", ago: 40 * time.Minute, from: plain, subject: "Appointment", text: "Your appointment: Monday, 08:40. Please bring your card.\n"},
		{folder: "INBOX", ago: 15 * time.Minute, key: "lunch", answerable: true, from: grace, subject: "Lunch?", text: "At the harbour, half past twelve?\n"},

		// The office folder.
		{folder: "Büro", ago: 20 * day, from: jonas, subject: "Büroordnung", charset: "iso-8859-1", flags: seen,
			text: "Liebe alle,\n\nbitte die Kaffeemaschine ausschalten, wenn ihr geht.\n\nJonas\n"},
		{folder: "Büro", ago: 18 * day, from: jonas, subject: "Raumplan", flags: seen, text: "Anbei der neue Raumplan.\n",
			files: []attachment{{"Raumplan März.csv", "text/csv", table(), ""}}},
		{folder: "Büro", ago: 11 * day, from: tomas, subject: "Stühle", text: "Die neuen Stühle sind da.\n"},

		// Archive: an old conversation, and single ones.
		{folder: "Archive", key: "tide1", ago: 60 * day, from: tomas, subject: "Tide tables", flags: seen, text: "Do you still keep the tide tables of last year?\n"},
		{folder: "Archive", key: "tide2", re: "tide1", ago: 59 * day, from: owner, to: []person{tomas}, flags: seen, text: "All of them, since 2009.\n"},
		{folder: "Archive", key: "tide3", re: "tide2", ago: 58 * day, from: tomas, flags: starred, text: "You are a treasure.\n"},
		{folder: "Archive", ago: 200 * day, from: bank, subject: "New terms", flags: seen, text: "Dear customer,\n\nour terms have changed.\n",
			files: []attachment{{"terms.pdf", "application/pdf", document(), ""}}},
		{folder: "Archive", ago: 120 * day, from: yuki, subject: "Re: 船の写真", flags: seen, text: "ありがとうございます！\n"},
		{folder: "Archive", ago: 400 * day, from: person{"Harbour Club", "club@harbour.test"}, to: []person{{"", "members@harbour.test"}}, subject: "Winter storage",
			text: "Boats leave the water on the first of November.\n", flags: seen, headers: []string{"List-Id: <members.harbour.test>"}},

		{folder: "Sent", ago: 3 * day, from: owner, to: []person{plain}, subject: "Appointment on Monday", flags: sentBox, text: "Could it be a little later?\n\nNora Lindqvist\n"},
		{folder: "Sent", ago: 2 * day, from: owner, to: []person{mei, yuki}, subject: "Photographs", flags: sentBox, text: "Dear both, you should meet.\n\nNora\n"},
		{folder: "Drafts", ago: 6 * hour, from: owner, subject: "Letter to the council", flags: []imap.Flag{imap.FlagDraft, imap.FlagSeen},
			text: "Dear council,\n\nconcerning the pier\n", headers: []string{"X-Unsent: 1"}},
		{folder: "Trash", ago: 5 * day, from: shop, subject: "Everything must go", html: "<h1>Sale</h1><p>Everything must go.</p>\n", flags: seen},
		{folder: "Junk", ago: 33 * hour, from: person{"Prize Office", "winner@prize.test"}, subject: "You have won!!!",
			html: "<p>Click <a href=\"https://prize.test/claim\" onclick=\"alert(1)\">here</a>.</p><script>alert(1)</script>\n"},
		{folder: "Junk", ago: 100 * hour, from: person{"", "cheap@pills.test"}, subject: "re: your question", text: "Cheap.\n"},
	}
}

// liveMail is what arrives while the mailbox runs, in turn.
var liveMail = []letter{
	{from: build, subject: "[harbour] build passed", text: "ok  harbour/tide  0.019s\n", headers: []string{"Auto-Submitted: auto-generated"}},
	{from: grace, subject: "Two questions on the pier", text: "Who has the key to the shed, and when is low water?\n"},
	{from: shop, subject: "A book you may like", html: "<p><b>Knots and Hitches</b>, now in paperback.</p>\n"},
	{from: jonas, subject: "Kaffee ist alle", charset: "iso-8859-1", text: "Bringt jemand neuen mit? Möglichst kräftig.\n"},
	{from: yuki, subject: "今日の一枚", text: "港の夕日です。\n", files: []attachment{{"夕日.png", "image/png", picture(120, 80), ""}}},
	{from: tomas, subject: "Wind tomorrow", text: "Force 6 from the west. Better stay in the harbour.\n"},
	{from: news, subject: "A note from the Almanac", html: almanac, headers: []string{"List-Id: The Slow Almanac <almanac.slow.test>"}},
}

// liveReplies answer an earlier message, whose sender they take over.
var liveReplies = []letter{
	{text: "Any news on this?\n"},
	{text: "Thank you, that settles it.\n"},
	{text: "One more thing: could you send me the address again?\n"},
}
