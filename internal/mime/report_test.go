package mime

import (
	"reflect"
	"strings"
	"testing"
)

const dsn = `Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example.net>
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied (bounce)
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

I could not deliver it.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: QQ314159
Arrival-Date: Mon, 2 Mar 2026 10:11:10 +0100

Final-Recipient: rfc822; ann@example.org
Original-Recipient: rfc822;Ann@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>: no
 such user

Final-Recipient: RFC822; <bob@example.org>
Action: Delayed
Status: 4.4.1 (no answer)
Will-Retry-Until: Wed, 4 Mar 2026 10:11:10 +0100

--b
Content-Type: message/rfc822

Message-ID: <orig@example.net>
Subject: =?utf-8?Q?caf=C3=A9?=
To: ann@example.org

secret
--b--
`

func TestDelivery(t *testing.T) {
	t.Parallel()
	m := parse(t, crlf(dsn))
	d := m.Delivery
	if d == nil || !d.Standard || d.ReportingMTA != "mx.example.net" || d.EnvelopeID != "QQ314159" || d.Arrival.Unix() != 1772442670 || len(d.Recipients) != 2 || !d.Failed() {
		t.Fatalf("%+v", d)
	}
	a, b := d.Recipients[0], d.Recipients[1]
	if a.Address != "ann@example.org" || a.OriginalAddress != "Ann@example.org" || a.Action != "failed" || a.Status != "5.1.1" || a.RemoteMTA != "mail.example.org" || a.Diagnostic != "550 5.1.1 <ann@example.org>: no such user" {
		t.Errorf("%+v", a)
	}
	if b.Address != "bob@example.org" || b.Action != "delayed" || b.Status != "4.4.1" || b.RetryUntil.IsZero() {
		t.Errorf("%+v", b)
	}
	if r := d.Returned; r == nil || r.MessageID != "orig@example.net" || r.Subject != "café" {
		t.Errorf("returned: %+v", r)
	}
	if len(m.Attachments) != 2 || m.Auto != "auto-replied" || !m.Automatic() || !strings.Contains(m.Text, "could not") {
		t.Errorf("%+v", m)
	}
	headers := strings.Replace(crlf(dsn), "Content-Type: message/rfc822", "Content-Type: text/rfc822-headers", 1)
	if r := parse(t, headers).Delivery.Returned; r == nil || r.MessageID != "orig@example.net" {
		t.Errorf("headers only: %+v", r)
	}
	const smtputf8 = `utf-8; j\x{F6}rg\x{5C}\x{zz}\x{1F600}\x{D800}@example.org`
	if r := parse(t, strings.Replace(crlf(dsn), "rfc822; ann@example.org", smtputf8, 1)).Delivery.Recipients[0]; r.Address != `jörg\\x{zz}😀\x{D800}@example.org` {
		t.Errorf("%q", r.Address)
	}
	if m := parse(t, crlf("From: a@x\nSubject: s\n\nuser unknown\nann@example.org: no such user\n")); m.Delivery != nil || m.Automatic() {
		t.Errorf("a person's message is a bounce: %+v", m.Delivery)
	}
}

func TestBounces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, raw, addr, status, diag, mid string }{
		{"qmail", "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your message.\n\n<ann@example.org>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 No such user\nGiving up on 192.0.2.1.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <bob@x>\nMessage-ID: <o@x>\nSubject: s\n\nhi\n",
			"ann@example.org", "5.1.1", "192.0.2.1 does not like recipient. Remote host said: 550 5.1.1 No such user Giving up on 192.0.2.1.", "o@x"},
		{"Exim", "From: Mail Delivery System <Mailer-Daemon@mx>\nX-Failed-Recipients: ann@example.org\nSubject: Mail delivery failed\n\nThis message was created automatically by mail delivery software.\n\n  ann@example.org\n    host mail.example.org [192.0.2.1]: 550 Unrouteable address\n\n------ This is a copy of the message, including all the headers. ------\n\nMessage-ID: <o@x>\nSubject: s\n\nhi\n",
			"ann@example.org", "5.0.0", "host mail.example.org [192.0.2.1]: 550 Unrouteable address", "o@x"},
		{"GMX", "From: MAILER-DAEMON@gmx.net\nSubject: Mail delivery failed: returning message to sender\n\nEine oder mehrere E-Mails konnten nicht zugestellt werden. Delivery failed.\n\nann@example.org:\nhost: mx.example.org reason: 550 5.1.1 user unknown\n\n\n--- The header of the original message is following. ---\n\nReceived: from x\nMessage-ID: <o@x>\nSubject: \u0130stanbul\n",
			"ann@example.org", "5.1.1", "host: mx.example.org reason: 550 5.1.1 user unknown", "o@x"},
		{"nothing returned, but a parent", "From: MAILER-DAEMON@mx\nIn-Reply-To: <o@x>\nReferences: <o@x>\n\nDelivery failed\n\nann@example.org: 550 5.1.1 unknown\n", "ann@example.org", "5.1.1", "550 5.1.1 unknown", "o@x"},
		{"Exchange in words", "From: postmaster@x\n\nDelivery has failed to these recipients or groups:\n\nDiagnostic information for administrators:\n\nann@example.org\nRemote Server returned '550 5.1.10 not found'\n\nOriginal message headers:\n\nReceived: from x by y\n (z)\nMessage-ID: <o@x>\nSubject: s\n",
			"ann@example.org", "5.1.10", "Remote Server returned '550 5.1.10 not found'", "o@x"},
		{"header alone", "From: postmaster@x\nX-Failed-Recipients: ann@example.org\n\nIt failed.\n", "ann@example.org", "", "", ""},
		{"one line", "Return-Path: <>\nFrom: post@x\n\nYour message could not be delivered:\n\nann@example.org: mailbox full (452)\n", "ann@example.org", "4.0.0", "mailbox full (452)", ""},
		{"a subject of what came back", "From: MAILER-DAEMON@mx\nSubject: Undeliverable: your delayed order\n\nDelivery to the following recipients failed.\n\nann@example.org: 550 5.1.1 unknown\n",
			"ann@example.org", "5.1.1", "550 5.1.1 unknown", ""},
	} {
		d := parse(t, crlf(c.raw)).Delivery
		if d == nil || d.Standard || len(d.Recipients) != 1 {
			t.Errorf("%s: %+v", c.name, d)
			continue
		}
		r := d.Recipients[0]
		if r.Address != c.addr || r.Action != "failed" || r.Status != c.status || r.Diagnostic != c.diag {
			t.Errorf("%s: %+v", c.name, r)
		}
		if c.mid != "" && (d.Returned == nil || d.Returned.MessageID != c.mid) {
			t.Errorf("%s: returned %+v", c.name, d.Returned)
		}
	}
}

// TestDeliveryOf: what a report is about stands elsewhere too, where the message was not returned.
func TestDeliveryOf(t *testing.T) {
	t.Parallel()
	status := func(fields string) string {
		return "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n" + fields + "\nFinal-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"
	}
	const report = "Content-Type: multipart/report; boundary=b\n\n"
	for _, c := range []struct{ name, raw, mid string }{
		{"returned", "In-Reply-To: <p@x>\n" + report + status("X-Original-Message-ID: <q@x>\n") + "--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <o@x>\n--b--\n", "o@x"},
		{"returned without it", report + status("X-Original-Message-ID: <o@x>\n") + "--b\nContent-Type: text/rfc822-headers\n\nSubject: s\n--b--\n", "o@x"},
		{"in the status", "In-Reply-To: <p@x>\n" + report + status("X-Original-Message-ID: <o@x>\n") + "--b--\n", "o@x"},
		{"in the status, without X-", report + status("Original-Message-ID: <o@x>\n") + "--b--\n", "o@x"},
		{"its parent", "In-Reply-To: <o@x>\n" + report + status("") + "--b--\n", "o@x"},
		{"not known", report + status("") + "--b--\n", ""},
	} {
		d := parse(t, crlf(c.raw)).Delivery
		if d == nil || !d.Failed() || (d.Returned == nil) != (c.mid == "") || d.Returned != nil && d.Returned.MessageID != c.mid {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
	m := parse(t, crlf("In-Reply-To: <o@x>\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; ann@example.org\nDisposition: automatic-action/MDN-sent-automatically; displayed\n--b--\n"))
	if m.Receipt == nil || m.Receipt.OriginalMessageID != "o@x" {
		t.Errorf("receipt: %+v", m.Receipt)
	}
}

// TestReportPassedOn: a report that a person passes on with a message is none of the mail system on what the person answers.
func TestReportPassedOn(t *testing.T) {
	t.Parallel()
	const parts = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nlook at this\n--b\nContent-Type: message/delivery-status; name=details.txt\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; ann@example.org\nAction: failed\n" +
		"--b\nContent-Type: message/rfc822\n\nMessage-ID: <o@x>\n\nhi\n--b--\n"
	if m := parse(t, crlf("From: Bob <bob@example.org>\nSubject: Fwd: Undelivered\n"+parts)); m.Delivery != nil || m.Automatic() || len(m.Attachments) != 2 {
		t.Errorf("%+v", m.Delivery)
	}
	for _, from := range []string{"Mailer-Daemon <MAILER-DAEMON@mx>", "<>"} {
		if m := parse(t, crlf("From: "+from+"\nSubject: Undelivered\n"+parts)); m.Delivery == nil || m.Delivery.Returned == nil {
			t.Errorf("from %s: %+v", from, m.Delivery)
		}
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	m := parse(t, crlf("Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread\n--b\nContent-Type: message/disposition-notification\n\nReporting-UA: Mailer\nFinal-Recipient: rfc822; ann@example.org\nOriginal-Message-ID: <o@x>\nDisposition: manual-action/MDN-sent-manually; Displayed/error\n--b--\n"))
	if want := (&Receipt{Recipient: "ann@example.org", OriginalMessageID: "o@x", Disposition: "displayed", UserAgent: "Mailer"}); !reflect.DeepEqual(m.Receipt, want) || m.Delivery != nil {
		t.Errorf("%+v", m.Receipt)
	}
	m = ParseHeader([]byte("Disposition-Notification-To: Ann <ann@example.org>\r\n"))
	if len(m.ReceiptTo) != 1 || m.ReceiptTo[0].Email != "ann@example.org" {
		t.Errorf("%+v", m.ReceiptTo)
	}
}

func TestListFields(t *testing.T) {
	t.Parallel()
	m := ParseHeader([]byte(crlf("List-Id: =?utf-8?Q?Caf=C3=A9?= list <Cafe.lists.example.org>\nList-Unsubscribe: <mailto:u@example.org?subject=x>,\n <https://example.org/u\n /1> (comment)\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nList-Post: NO\nList-Archive: <https://example.org/a>\nPrecedence: List\nAuto-Submitted: no\n")))
	want := List{ID: "cafe.lists.example.org", Name: "Café list", Unsubscribe: []string{"mailto:u@example.org?subject=x", "https://example.org/u/1"}, Archive: []string{"https://example.org/a"}, OneClick: true}
	if l := ParseHeader([]byte(crlf("List-Unsubscribe: https://example.org/u?a=1,2\nList-Help: see https://example.org\nList-Owner: mailto:o@example.org (Ann)\n"))).List; len(l.Unsubscribe) != 1 || l.Unsubscribe[0] != "https://example.org/u?a=1,2" || l.Help != nil || len(l.Owner) != 1 || l.Owner[0] != "mailto:o@example.org" {
		t.Errorf("without brackets: %+v", l)
	}
	if !reflect.DeepEqual(m.List, want) || m.Precedence != "list" || m.Auto != "no" || !m.Automatic() {
		t.Errorf("%+v %q %q", m.List, m.Precedence, m.Auto)
	}
}

func TestCalendarFragmentTNEF(t *testing.T) {
	t.Parallel()
	m := parse(t, crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/calendar; method=request; charset=utf-8\n\nBEGIN:VCALENDAR\n--b\nContent-Type: text/calendar\nContent-Transfer-Encoding: base64\n\nQkVHSU46VkNBTEVOREFSDQpNRVRIT0Q6UkVQTFkNCg==\n--b\nContent-Type: application/octet-stream; name=WINMAIL.DAT\n\nx\n--b\nContent-Type: application/vnd.ms-tnef\n\nx\n--b--\n"))
	if a := m.Attachments; len(a) != 4 || a[0].Method != "REQUEST" || a[1].Method != "REPLY" || a[2].ContentType != tnefType || a[3].ContentType != tnefType {
		t.Errorf("%+v", a)
	}
	m = parse(t, crlf("Content-Type: message/partial; id=\"a@x\"; number=2; total=3\n\nrest\n"))
	if m.Fragment == nil || *m.Fragment != (Fragment{"a@x", 2, 3}) || len(m.Attachments) != 1 {
		t.Errorf("%+v", m)
	}
}

// An alternative form of the text is none that a person attached; an invitation is.
func TestOtherAlternatives(t *testing.T) {
	t.Parallel()
	m := parse(t, "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\na\r\n--b\r\nContent-Type: text/x-amp-html\r\n\r\n<html amp4email>\r\n"+
		"--b\r\nContent-Type: text/html\r\n\r\nb\r\n--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nx\r\n--b\r\nContent-Type: text/csv; name=a.csv\r\n\r\nx\r\n--b--\r\n")
	if a := m.Attachments; len(a) != 3 || !a[0].Inline || a[1].Inline || a[2].Inline {
		t.Errorf("%+v", a)
	}
}

func TestInlineByContentID(t *testing.T) {
	t.Parallel()
	m := parse(t, crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<img src=\"cid:a%40x\"><img src=CID:b@x> placid:no\n--b\nContent-Type: image/png\nContent-ID: <a@x>\n\n1\n--b\nContent-Type: image/png\nContent-ID: <b@x>\nContent-Disposition: attachment\n\n2\n--b\nContent-Type: image/png\nContent-ID: <c@x>\n\n3\n--b--\n"))
	a := m.Attachments
	if len(a) != 3 || !a[0].Inline || !a[0].Shown || a[1].Inline || !a[1].Shown || a[2].Inline || a[2].Shown {
		t.Errorf("%+v", a)
	}
	if p := m.ByContentID("b@x"); p == nil || p.ID != "3" {
		t.Errorf("%+v", p)
	}
	m = parse(t, crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<img src='cid:a&#64;x&amp;y'><img src=\"cid:b&commat;x\">\n--b\nContent-Type: image/png\nContent-ID: <a@x&y> (a picture)\n\n1\n--b\nContent-Type: image/png\nContent-ID: (another) <b@x>\n\n2\n--b\nContent-Type: image/png\nContent-ID: c@x\n\n3\n--b--\n"))
	if a := m.Attachments; len(a) != 3 || !a[0].Shown || a[0].ContentID != "a@x&y" || !a[1].Shown || a[1].ContentID != "b@x" || a[2].ContentID != "c@x" {
		t.Errorf("with comments and entities: %+v", a)
	}
	if m.ByContentID("") != nil || m.ByContentID("z") != nil {
		t.Error("found what is not there")
	}
}

func TestSecurity(t *testing.T) {
	t.Parallel()
	multi := func(ctype string, parts ...string) string {
		s := "Content-Type: " + ctype + "; boundary=b\n\n"
		for _, p := range parts {
			s += "--b\n" + p + "\n"
		}
		return s + "--b--\n"
	}
	const text = "Content-Type: text/plain\n\nhi"
	for _, c := range []struct {
		name, raw string
		want      Security
		parts     int
		text      string
	}{
		{"S/MIME signed", multi("multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256", text, "Content-Type: application/pkcs7-signature; name=smime.p7s\n\nx"), SMIMESigned, 1, "hi"},
		{"PGP signed", multi("multipart/signed; protocol=\"application/pgp-signature\"", text, "Content-Type: application/pgp-signature\n\nx"), PGPSigned, 1, "hi"},
		{"no protocol", multi("multipart/signed", text, "Content-Type: application/x-pkcs7-signature\n\nx"), SMIMESigned, 1, "hi"},
		{"other protocol", multi("multipart/signed; protocol=x/y", text, "Content-Type: x/y\n\nx"), SignedOther, 1, "hi"},
		{"PGP encrypted", multi("multipart/encrypted; protocol=\"application/pgp-encrypted\"", "Content-Type: application/pgp-encrypted\n\nVersion: 1", "Content-Type: application/octet-stream\n\nx"), PGPEncrypted, 2, ""},
		{"PGP in mixed", multi("multipart/mixed", "\n", "Content-Type: application/pgp-encrypted\n\nVersion: 1", "Content-Type: application/octet-stream; name=encrypted.asc\n\nx"), PGPEncrypted, 2, ""},
		{"enveloped", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n\nx", SMIMEEncrypted, 1, ""},
		{"opaque", "Content-Type: application/x-pkcs7-mime; smime-type=signed-data\n\nx", SMIMEOpaque, 1, ""},
		{"compressed", "Content-Type: application/pkcs7-mime; smime-type=compressed-data\n\nx", SMIMECompressed, 1, ""},
		{"by content", "Content-Type: application/octet-stream; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQEHA6CA\n", SMIMEEncrypted, 1, ""},
		{"certificates", "Content-Type: application/pkcs7-mime; smime-type=certs-only\n\nx", "", 1, ""},
		{"inline signed", "\n\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhi\n-----BEGIN PGP SIGNATURE-----\n", PGPInlineSigned, 0, ""},
		{"inline encrypted", "Content-Type: text/plain; format=flowed\n\na \n-----BEGIN PGP MESSAGE-----\n\nx\n", PGPInline, 0, "a \r\n-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n"},
		{"quoted", "\n\n> -----BEGIN PGP MESSAGE-----\n", "", 0, ""},
		{"plain", text, "", 0, "hi"},
	} {
		m := parse(t, crlf(c.raw))
		if m.Security != c.want || len(m.Attachments) != c.parts || c.text != "" && m.Text != c.text {
			t.Errorf("%s: %q, %d parts, %q", c.name, m.Security, len(m.Attachments), m.Text)
		}
	}
	if !SMIMEEncrypted.Encrypted() || PGPSigned.Encrypted() {
		t.Error("Encrypted")
	}
}
