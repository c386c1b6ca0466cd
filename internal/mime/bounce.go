package mime

import "strings"

// parseBounce reads reports that are no RFC 3464: those with X-Failed-Recipients (Exim and others), qmail's, and texts
// that list the failed addresses in a form of their own. It returns nil if no address is clear.
func parseBounce(m *Message, returned bool) *Delivery {
	text := m.Text
	if text == "" && m.HTML != "" && len(m.HTML) < maxReport {
		text = HTMLToText(m.HTML)
	}
	if len(text) > maxReport {
		text = text[:maxReport]
	}
	d := &Delivery{}
	report, copied := splitReturned(text)
	lines := strings.Split(strings.ReplaceAll(report, "\r\n", "\n"), "\n")
	for _, v := range m.Header.All("X-Failed-Recipients") {
		for a := range strings.SplitSeq(v, ",") {
			if a = strings.Trim(a, " \t<>"); strings.IndexByte(a, '@') > 0 && len(d.Recipients) < 100 {
				d.Recipients = append(d.Recipients, DeliveryRecipient{Address: texts{}.plain(a), Action: "failed"})
			}
		}
	}
	known := len(d.Recipients) > 0
	if !known && !saysBounce(report) {
		return nil
	}
	for i := 0; i < len(lines) && len(d.Recipients) < 100; i++ {
		addr, diag, ok := bouncedAddress(lines[i])
		if !ok {
			continue
		}
		// What follows up to the next blank line or address says why.
		for j, end := i+1, min(i+12, len(lines)); j < end; j++ {
			l := strings.TrimSpace(lines[j])
			if l == "" && diag != "" {
				break
			}
			if _, _, next := bouncedAddress(lines[j]); next || l == "" && j > i+1 {
				break
			}
			diag = strings.TrimSpace(diag + " " + l)
			i = j
		}
		at := -1
		for k := range d.Recipients {
			if strings.EqualFold(d.Recipients[k].Address, addr) {
				at = k
			}
		}
		if at < 0 {
			if known {
				continue
			}
			if diag == "" || !looksRefused(diag) {
				continue
			}
			d.Recipients = append(d.Recipients, DeliveryRecipient{Address: addr, Action: "failed"})
			at = len(d.Recipients) - 1
		}
		if r := &d.Recipients[at]; r.Diagnostic == "" {
			r.Diagnostic = oneLine(diag)
		}
	}
	if len(d.Recipients) == 0 {
		return nil
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		r.Status = statusOf(r.Diagnostic)
		if delayedNotice(m.Subject) && !strings.HasPrefix(r.Status, "5") { // it may be the subject of what was returned
			r.Action = "delayed"
		}
	}
	if !returned && copied != "" {
		if h := ParseHeader([]byte(copied)); h.MessageID != "" || h.Subject != "" {
			d.Returned = h
		}
	}
	return d
}

func delayedNotice(subject string) bool {
	s := strings.ToLower(subject)
	return strings.Contains(s, "delay") || strings.Contains(s, "warning: message") || strings.Contains(s, "could not send message for past")
}

// splitReturned cuts a report where the returned message begins.
func splitReturned(s string) (report, copied string) {
	low := lowerASCII(s)
	for _, mark := range []string{"--- below this line is a copy of the message", "--- this is a copy of the message", "--- this is a copy of your message", "included is a copy of the message header:", "original message headers:",
		"--- the original message", "----- original message -----", "----- message header follows", "--- undelivered message follows ---", "----- returned message -----",
		"----- unsent message follows", "original message follows", "--- returned message", "--- the header of the original message"} {
		if i := strings.Index(low, mark); i >= 0 {
			rest := s[i:]
			j := strings.IndexByte(rest, '\n')
			if j < 0 {
				return s[:i], ""
			}
			rest = strings.TrimLeft(rest[j:], "\r\n")
			return s[:i], rest
		}
	}
	return s, ""
}

// lowerASCII lowers letters without moving any: what is found in it stands there in s.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// saysBounce tells whether a text reads like the report of a mail system.
func saysBounce(s string) bool {
	s = strings.ToLower(s[:min(len(s), 4<<10)])
	for _, w := range []string{"this is the qmail", "created automatically by mail delivery", "could not be delivered", "couldn't be delivered", "wasn't able to deliver", "not able to deliver", "unable to deliver",
		"undeliverable", "undelivered", "delivery failed", "delivery to the following", "permanent fatal errors", "permanent error", "failed to deliver", "returned to sender",
		"delivery has failed", "mail delivery system", "did not reach the following", "user unknown", "non-deliverable", "delivery failure", "fatal errors", "cannot be delivered"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// looksRefused tells whether a text gives a reason why an address was refused.
func looksRefused(s string) bool {
	if enhancedStatus(s) != "" || replyCode(s) != 0 {
		return true
	}
	s = strings.ToLower(s)
	for _, w := range []string{"unknown", "no such", "not found", "does not exist", "doesn't exist", "no mailbox", "unroutable", "unrouteable", "full", "quota", "rejected", "refused", "denied",
		"disabled", "invalid", "sorry", "failed", "timed out", "blocked", "not listed", "undeliverable", "not permitted", "unable to", "couldn't", "bounced", "suspended", "inactive", "could not"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// bouncedAddress reads a line that begins with an address and says nothing else, or goes on after a colon or in
// brackets: "<ann@example.org>:", "  ann@example.org", "ann@example.org: no such user".
func bouncedAddress(line string) (addr, diag string, ok bool) {
	s := strings.TrimSpace(line)
	if len(s) > 998 || strings.IndexByte(s, '@') < 1 {
		return "", "", false
	}
	if rest, found := strings.CutPrefix(s, "<"); found {
		i := strings.IndexByte(rest, '>')
		if i < 0 {
			return "", "", false
		}
		addr, s = rest[:i], strings.TrimSpace(rest[i+1:])
	} else {
		i := strings.IndexAny(s, " \t:<(")
		if i < 0 {
			i = len(s)
		}
		addr, s = s[:i], strings.TrimSpace(s[i:])
		if strings.HasPrefix(s, "<") { // "ann@example.org <ann@example.org>"
			if j := strings.IndexByte(s, '>'); j > 0 {
				s = strings.TrimSpace(s[j+1:])
			}
		}
	}
	at := strings.LastIndexByte(addr, '@')
	if at < 1 || at == len(addr)-1 || strings.ContainsAny(addr, " \t\"<>,;()[]") || strings.IndexByte(addr[:at], ':') >= 0 {
		return "", "", false
	}
	switch {
	case s == "":
		return addr, "", true
	case s[0] == ':' || s[0] == '(' || strings.HasPrefix(s, "..."):
		return addr, strings.TrimSpace(strings.Trim(s, ":(.")), true
	}
	return "", "", false
}
