package mime

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// Delivery is what a mail system reports on a message that was sent (RFC 3464), or what could be read of a report in
// a form of its own.
type Delivery struct {
	Standard     bool   // there is a message/delivery-status part
	ReportingMTA string // host name
	EnvelopeID   string // what the sender gave as ENVID (RFC 3461)
	Arrival      time.Time
	Recipients   []DeliveryRecipient
	Returned     *Message // header of the message, as far as it was returned, or its MessageID alone if the report names it; nil if not
}

// DeliveryRecipient is what became of the message for one recipient.
type DeliveryRecipient struct {
	Address         string // the final recipient
	OriginalAddress string // as the sender wrote it; "" if not told
	Action          string // lower case: "failed", "delayed", "delivered", "relayed", "expanded"
	Status          string // "5.1.1" (RFC 3463); "" if not told
	Diagnostic      string // the text of the server that refused, UTF-8
	RemoteMTA       string // that server
	LastAttempt     time.Time
	RetryUntil      time.Time
}

// Failed tells whether the message will not arrive at one recipient at least.
func (d *Delivery) Failed() bool {
	for _, r := range d.Recipients {
		if r.Action == "failed" {
			return true
		}
	}
	return false
}

// Receipt is a message disposition notification (RFC 8098).
type Receipt struct {
	Recipient         string // who got the message
	OriginalMessageID string // without <>
	Disposition       string // lower case: "displayed", "deleted", "dispatched", "processed"
	Automatic         bool   // the disposition was no act of a person
	UserAgent         string
	Returned          *Message // header of the message, if it was returned
}

// Fragment says which piece of a larger message this is (message/partial, RFC 2046 5.2.2).
type Fragment struct {
	ID     string
	Number int // from 1
	Total  int // 0 if not told
}

// List is what a mailing list says of itself (RFC 2369, 2919, 8058). Addresses are URIs as they stand in the message;
// whoever follows them must check them.
type List struct {
	ID          string // "dev.lists.example.org"
	Name        string // "Developers"
	Post        []string
	Help        []string
	Subscribe   []string
	Unsubscribe []string
	Owner       []string
	Archive     []string
	OneClick    bool // a POST to the https address in Unsubscribe is enough
}

const maxListURIs = 10

func (l *List) field(t texts, f *Field) {
	var to *[]string
	switch name := strings.ToLower(f.Name[5:]); name {
	case "id":
		v := unfold(f.Value)
		i := strings.LastIndexByte(v, '<')
		if i < 0 {
			i = len(v)
		}
		if l.ID == "" && i < len(v) {
			l.ID = strings.ToLower(t.plain(strings.Trim(v[i+1:], " \t>")))
			l.Name = strings.Trim(t.decodeWords(v[:i]), " \t\"")
		} else if l.ID == "" && v != "" && !strings.ContainsAny(v, " \t") {
			l.ID = strings.ToLower(t.plain(v))
		}
		return
	case "unsubscribe-post":
		l.OneClick = strings.EqualFold(strings.ReplaceAll(unfold(f.Value), " ", ""), "list-unsubscribe=one-click")
		return
	case "post":
		to = &l.Post
	case "help":
		to = &l.Help
	case "subscribe":
		to = &l.Subscribe
	case "unsubscribe":
		to = &l.Unsubscribe
	case "owner":
		to = &l.Owner
	case "archive":
		to = &l.Archive
	default:
		return
	}
	if s := strings.TrimSpace(stripComments(unfold(f.Value))); strings.IndexByte(s, '<') < 0 && !strings.ContainsAny(s, " \t") { // no brackets
		if k := strings.IndexByte(s, ':'); k > 0 && isToken(s[:k]) && len(*to) < maxListURIs {
			*to = append(*to, t.plain(s))
		}
		return
	}
	for s := unfold(f.Value); len(*to) < maxListURIs; {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			return
		}
		j := strings.IndexByte(s[i:], '>')
		if j < 0 {
			return
		}
		uri := strings.Join(strings.Fields(s[i+1:i+j]), "")
		if k := strings.IndexByte(uri, ':'); k > 0 && isToken(uri[:k]) {
			*to = append(*to, t.plain(uri))
		}
		s = s[i+j+1:]
	}
}

// keyword returns the first word of a value in lower case.
func keyword(v string) string {
	v = strings.ToLower(unfold(v))
	if i := strings.IndexAny(v, " \t;(,"); i >= 0 {
		v = v[:i]
	}
	if !isToken(v) {
		return ""
	}
	return v
}

// Automatic tells whether no person wrote the message for its recipients: bounces, receipts, vacation notices, and
// what calls itself bulk or automatic. Who answers automatically must not answer it (RFC 3834 2).
func (m *Message) Automatic() bool {
	if m.Delivery != nil || m.Receipt != nil || m.Auto != "" && m.Auto != "no" || m.List.ID != "" {
		return true
	}
	switch m.Precedence {
	case "bulk", "junk", "list", "auto_reply":
		return true
	}
	return m.Header.Get("Return-Path") == "<>" || m.Header.Has("X-Autoreply") || m.Header.Has("X-Autorespond") || m.Header.Has("X-Auto-Response")
}

// methodName normalises the METHOD of a calendar (RFC 5546 1.4).
func methodName(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) > 40 || !isToken(s) {
		return ""
	}
	return s
}

// calendarMethod finds the METHOD in the beginning of a calendar.
func calendarMethod(b []byte) string {
	for line := range strings.Lines(string(b)) {
		if len(line) > 7 && strings.EqualFold(line[:7], "METHOD:") {
			return methodName(line[7:])
		}
		if strings.HasPrefix(line, "BEGIN:VEVENT") {
			return ""
		}
	}
	return ""
}

// head keeps the beginning of a leaf that is measured.
type head struct {
	buf []byte
	max int
}

func (h *head) begin(n int) { h.buf, h.max = nil, n }

func (h *head) write(b []byte) {
	if n := h.max - len(h.buf); n > 0 {
		h.buf = append(h.buf, b[:min(n, len(b))]...)
	}
}

const (
	maxReport   = 256 << 10 // bytes of a delivery status that are looked at
	maxReturned = 64 << 10  // bytes of a returned header
)

// gather collects what the attachments of a message say about the message as a whole.
type gather struct {
	m        *Message
	status   []byte // message/delivery-status
	seen     bool   // status was found
	returned []byte
	bounce   int8 // 0 not known yet, 1 yes, -1 no
}

// want says how many bytes of the beginning of p it wants to see.
func (g *gather) want(w *walker, p *part) int {
	switch p.ctype {
	case "message/delivery-status", "message/global-delivery-status", "message/disposition-notification", "message/global-disposition-notification":
		return maxReport
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
		if g.returned == nil && (p.parent == "multipart/report" || g.isBounce(w.root)) {
			return maxReturned
		}
	case "text/calendar":
		return maxReturned
	}
	if p.maybeSMIME() {
		return 64
	}
	return 0
}

// isBounce tells whether a mail system wrote the message, by its envelope or its sender.
func (g *gather) isBounce(h Header) bool {
	if g.bounce == 0 {
		g.bounce = -1
		from := strings.ToLower(h.Get("From"))
		if h.Get("Return-Path") == "<>" || h.Has("X-Failed-Recipients") || from == "<>" || strings.Contains(from, "mailer-daemon") || strings.Contains(from, "postmaster") {
			g.bounce = 1
		}
	}
	return g.bounce > 0
}

func (g *gather) attached(w *walker, p *part, a *Attachment) {
	b := w.head.buf
	w.head.begin(0)
	switch p.ctype {
	case "message/delivery-status", "message/global-delivery-status":
		if !g.seen && (p.parent == "multipart/report" || p.parent == "" || g.isBounce(w.root)) { // else a person passes it on
			g.status, g.seen = b, true
		}
	case "message/disposition-notification", "message/global-disposition-notification":
		if g.m.Receipt == nil {
			g.m.Receipt = parseReceipt(b)
		}
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
		if g.returned == nil && len(b) > 0 {
			g.returned = b
		}
	case "text/calendar":
		if a.Method == "" {
			a.Method = calendarMethod(b)
		}
	case "message/partial":
		n, total := atoi(p.params.get("number")), atoi(p.params.get("total"))
		if id := p.params.get("id"); id != "" && n > 0 && g.m.Fragment == nil {
			g.m.Fragment = &Fragment{ID: id, Number: n, Total: max(total, 0)}
		}
	default:
		w.noteSecureLeaf(p, b)
	}
}

func (g *gather) finish(w *walker) {
	m := g.m
	about := "" // the Message-ID of the message that a report is about, if that was not returned
	switch {
	case g.seen:
		m.Delivery, about = parseDeliveryStatus(g.status)
	case m.Receipt == nil && g.isBounce(w.root):
		m.Delivery = parseBounce(m, g.returned != nil)
	}
	if about == "" && len(m.InReplyTo) > 0 {
		about = m.InReplyTo[0]
	}
	var r *Message
	if g.returned != nil {
		if r = ParseHeader(g.returned); len(r.Header) == 0 {
			r = nil
		}
	}
	if d := m.Delivery; d != nil {
		if r != nil {
			d.Returned = r
		}
		if d.Returned == nil && about != "" {
			d.Returned = &Message{}
		}
		if d.Returned != nil {
			d.Returned.MessageID = cmp.Or(d.Returned.MessageID, about)
		}
	}
	if m.Receipt != nil {
		m.Receipt.Returned = r
		if r == nil || r.MessageID == "" {
			m.Receipt.OriginalMessageID = cmp.Or(m.Receipt.OriginalMessageID, about)
		}
	}
}

// statusBlocks splits the field groups of RFC 3464 2.1.
func statusBlocks(b []byte) []Header {
	var out []Header
	s := newScanner(strings.NewReader(string(b)))
	var blk block
	for len(out) < maxDeliveryRecipients {
		_, _ = s.readBlock(nil, maxReport, &blk)
		if h := blk.fields(1000); len(h) > 0 {
			out = append(out, h)
		}
		if len(s.peekLine()) == 0 {
			return out
		}
	}
	return out
}

const maxDeliveryRecipients = 10000

// typed removes the type of a value such as "rfc822; ann@example.org" or "smtp; 550 no".
func typed(v string) string {
	if i := strings.IndexByte(v, ';'); i >= 0 && isToken(strings.TrimSpace(v[:i])) {
		v = v[i+1:]
	}
	return strings.TrimSpace(v)
}

func typedAddress(h Header, name string) string {
	full := DecodeHeader(h.Get(name))
	v := typed(full)
	if kind, _, _ := strings.Cut(full, ";"); strings.EqualFold(strings.TrimSpace(kind), "utf-8") {
		v = unxtext(v)
	}
	if strings.IndexByte(v, '<') >= 0 {
		if a := (texts{}).parseAddresses(v); len(a) > 0 {
			return a[0].Email
		}
	}
	return strings.Trim(v, "<> \t")
}

// unxtext undoes what stands for characters that are not ASCII, "\x{E9}" (RFC 6533 3).
func unxtext(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		digits, after, _ := strings.Cut(rest, "}")
		if n, err := strconv.ParseUint(digits, 16, 21); err == nil && utf8.ValidRune(rune(n)) {
			b.WriteRune(rune(n))
			s = after
		} else {
			b.WriteString(`\x{`)
			s = rest
		}
	}
}

// parseDeliveryStatus returns also the Message-ID of the message that the report is about, which some name in a field of their own.
func parseDeliveryStatus(b []byte) (d *Delivery, about string) {
	d = &Delivery{Standard: true}
	for i, h := range statusBlocks(b) {
		about = cmp.Or(about, texts{}.firstID(h.Get("Original-Message-ID")), texts{}.firstID(h.Get("X-Original-Message-ID")))
		if i == 0 || d.ReportingMTA == "" {
			d.ReportingMTA = typed(DecodeHeader(h.Get("Reporting-MTA")))
			d.EnvelopeID = DecodeHeader(h.Get("Original-Envelope-Id"))
			d.Arrival, _ = parseDate(h.Get("Arrival-Date"))
		}
		if !h.Has("Final-Recipient") && !h.Has("Original-Recipient") && !h.Has("Action") && !h.Has("Status") {
			continue
		}
		r := DeliveryRecipient{
			Address: typedAddress(h, "Final-Recipient"), OriginalAddress: typedAddress(h, "Original-Recipient"),
			Action: keyword(h.Get("Action")), Diagnostic: oneLine(typed(DecodeHeader(h.Get("Diagnostic-Code")))), RemoteMTA: typed(DecodeHeader(h.Get("Remote-MTA"))),
		}
		if r.Address == "" {
			r.Address = r.OriginalAddress
		}
		if r.Address == "" {
			r.Address = typedAddress(h, "X-Actual-Recipient")
		}
		if r.Status = enhancedStatus(h.Get("Status")); r.Status == "" {
			r.Status = statusOf(r.Diagnostic)
		}
		if r.Action == "" && r.Status != "" {
			r.Action = actionOf(r.Status)
		}
		r.LastAttempt, _ = parseDate(h.Get("Last-Attempt-Date"))
		r.RetryUntil, _ = parseDate(h.Get("Will-Retry-Until"))
		d.Recipients = append(d.Recipients, r)
	}
	return d, about
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func actionOf(status string) string {
	switch status[0] {
	case '5':
		return "failed"
	case '4':
		return "delayed"
	}
	return "delivered"
}

// enhancedStatus finds the first code such as "5.1.1" (RFC 3463) that stands alone.
func enhancedStatus(s string) string {
	for i := 0; i+5 <= len(s); i++ {
		if s[i] != '2' && s[i] != '4' && s[i] != '5' || s[i+1] != '.' || i > 0 && (isWordByte(s[i-1]) || s[i-1] == '.') {
			continue
		}
		end, dots, digits := i+1, 0, 0
		for end < len(s) && end < i+10 {
			c := s[end]
			if c == '.' && dots < 2 {
				dots, digits = dots+1, 0
			} else if c >= '0' && c <= '9' && digits < 3 {
				digits++
			} else {
				break
			}
			end++
		}
		if dots == 2 && digits > 0 && s[end-1] != '.' && !strings.Contains(s[i:end], "..") && (end == len(s) || !isWordByte(s[end]) && s[end] != '.' || s[end] == '.' && (end+1 == len(s) || !isWordByte(s[end+1]))) {
			return s[i:end]
		}
	}
	return ""
}

// statusOf finds the status in a diagnostic text; an SMTP code alone tells the class.
func statusOf(s string) string {
	if x := enhancedStatus(s); x != "" {
		return x
	}
	switch replyCode(s) / 100 {
	case 4:
		return "4.0.0"
	case 5:
		return "5.0.0"
	}
	return ""
}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

// replyCode finds the first SMTP code of a refusal (4yz or 5yz) that stands alone.
func replyCode(s string) int {
	for i := 0; i+3 <= len(s); i++ {
		if (s[i] == '4' || s[i] == '5') && (i == 0 || !isWordByte(s[i-1]) && s[i-1] != '.') && (i+3 == len(s) || !isWordByte(s[i+3]) || s[i+3] == '-') && (i+3 == len(s) || s[i+3] != '.') {
			if n, err := strconv.Atoi(s[i : i+3]); err == nil && n%100/10 <= 7 {
				return n
			}
		}
	}
	return 0
}

func parseReceipt(b []byte) *Receipt {
	blocks := statusBlocks(b)
	if len(blocks) == 0 {
		return nil
	}
	h := blocks[0]
	r := &Receipt{Recipient: typedAddress(h, "Final-Recipient"), OriginalMessageID: texts{}.firstID(h.Get("Original-Message-ID")), UserAgent: DecodeHeader(h.Get("Reporting-UA"))}
	if r.Recipient == "" {
		r.Recipient = typedAddress(h, "Original-Recipient")
	}
	// "manual-action/MDN-sent-manually; displayed/error"
	mode, kind, _ := strings.Cut(strings.ToLower(h.Get("Disposition")), ";")
	r.Automatic = strings.HasPrefix(strings.TrimSpace(mode), "automatic-action")
	kind, _, _ = strings.Cut(kind, "/")
	r.Disposition = keyword(kind)
	if r.Disposition == "" {
		return nil
	}
	return r
}

// CIDs returns the Content-IDs that an HTML text refers to (RFC 2392), each once, in their order.
func CIDs(doc string) []string {
	var out []string
	seen := map[string]bool{}
	for s := doc; len(out) < 1000; {
		i := strings.IndexByte(s, ':')
		if i < 0 {
			return out
		}
		before, rest := s[:i], s[i+1:]
		s = rest
		if len(before) < 3 || !strings.EqualFold(before[len(before)-3:], "cid") || len(before) > 3 && isWordByte(before[len(before)-4]) {
			continue
		}
		j := strings.IndexAny(rest[:min(len(rest), 512)], "\"'<> \t\r\n)")
		if j <= 0 {
			continue
		}
		id := html.UnescapeString(rest[:j])
		if k := strings.IndexAny(id, "\"'<>"); k >= 0 { // of url(&quot;cid:x&quot;)
			id = id[:k]
		}
		id = string(unpercent(nil, id))
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// ByContentID returns the attachment with this Content-ID, which is given without <>; nil if there is none.
func (m *Message) ByContentID(cid string) *Attachment {
	for i := range m.Attachments {
		if a := &m.Attachments[i]; cid != "" && a.ContentID == cid {
			return a
		}
	}
	return nil
}

// shownByID marks what the HTML shows by its Content-ID: it is inline unless the message says it is not.
func (m *Message) shownByID() {
	if m.HTMLAll == "" {
		return
	}
	any := false
	for i := range m.Attachments {
		any = any || m.Attachments[i].ContentID != ""
	}
	if !any {
		return
	}
	shown := map[string]bool{}
	for _, id := range CIDs(m.HTMLAll) {
		shown[id] = true
	}
	for i := range m.Attachments {
		if a := &m.Attachments[i]; shown[a.ContentID] {
			a.Shown = true
			a.Inline = a.Inline || a.Disposition == ""
		}
	}
}
