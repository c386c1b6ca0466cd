package api

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/v3"
)

const invitation = `From: Ann <ann@example.test>
To: bob@example.test
Subject: Plan
Date: Mon, 2 Mar 2026 10:11:10 +0100
Message-ID: <inv@example.test>
List-Id: Team <team.lists.example.test>
List-Unsubscribe: <https://lists.example.test/u?1>, <mailto:leave@lists.example.test>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Disposition-Notification-To: ann@example.test
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/html

<p>Come <b>all</b><script>steal()</script><img src="http://elsewhere.example.test/pixel"></p>
--x
Content-Type: text/calendar; method=REQUEST; name=plan.ics

BEGIN:VCALENDAR
METHOD:REQUEST
END:VCALENDAR
--x--
`

const bounce = `From: MAILER-DAEMON@example.test
To: ann@example.test
Subject: Undelivered
Message-ID: <dsn@example.test>
Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type=delivery-status; boundary=y

--y

It did not arrive.
--y
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test

Final-Recipient: rfc822; nobody@example.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 no such user

--y
Content-Type: text/rfc822-headers

Message-ID: <out@example.test>
Subject: Hello
--y--
`

func TestDetails(t *testing.T) {
	t.Parallel()
	m := setup(t).account("bob@example.test")
	ids := m.deliver(letter{raw: invitation, at: 1700000001}, letter{raw: bounce, at: 1700000002}, letter{raw: plain("late", "a@example.test", "late", "x"), at: 1700000003, headed: true})
	path := func(i int) string { return m.base + "/messages/" + string(ids[i]) + "/details" }
	var d v3.MessageDetails
	m.get(path(0), &d)
	if d.ID != ids[0] || d.ParseState != "complete" || d.Text != "Come all" || d.HTML != "<p>Come <b>all</b><img></p>" || !d.Automatic || len(d.ReceiptTo) != 1 {
		t.Errorf("%+v", d)
	}
	if l := d.List; l == nil || l.ID != "team.lists.example.test" || l.Name != "Team" || !l.OneClick || len(l.Unsubscribe) != 2 {
		t.Errorf("list %+v", l)
	}
	var x v3.Message
	m.get(m.base+"/messages/"+string(ids[0]), &x)
	if len(d.Calendars) != 1 || d.Calendars[0].Method != "REQUEST" || !slices.ContainsFunc(x.Attachments, func(a v3.Attachment) bool { return a.ID == d.Calendars[0].AttachmentID }) {
		t.Errorf("calendars %+v of %+v", d.Calendars, x.Attachments)
	}
	d = v3.MessageDetails{}
	m.get(path(1), &d)
	if r := d.Delivery; r == nil || !r.Failed || !r.Standard || r.MessageID != "out@example.test" || r.Subject != "Hello" || len(r.Recipients) != 1 ||
		r.Recipients[0] != (v3.DeliveryRecipient{Email: "nobody@example.test", Action: "failed", Status: "5.1.1", Diagnostic: "550 no such user"}) {
		t.Errorf("report %+v", d.Delivery)
	}
	m.fails(m.do("GET", path(2)), 504, v3.TypeProvider, "not fetched")
	m.fails(m.do("GET", m.base+"/messages/nothing/details"), 404, v3.TypeNotFound, "")
}
