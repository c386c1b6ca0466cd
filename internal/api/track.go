package api

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// The addresses that tracked messages carry: /t/{token} is the picture that is loaded when a message is opened, /t/{token}/{n} its
// n-th link. A token is the account's id and 128 random bits: whoever has it has the message.

// maxLinks is how many links of a message are tracked.
const maxLinks = 500

// track puts a picture and links into a message that tell when it is opened and read on. Text has neither.
func (c *call) track(acct mail.Account, how *mail.Tracking, m *mime.Composition) error {
	if how == nil || !how.Opens && !how.Links {
		return nil
	}
	if c.a.PublicURL == "" {
		return mail.E(mail.Invalid, "read body", "tracking_options: opens and links need an address of this server that recipients reach: its operator sets POSTHORN_PUBLIC_URL", nil)
	}
	if m.HTML == "" {
		return nil
	}
	id, err := parseUUID(acct.ID)
	if err != nil {
		return err
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	how.Token = base64.RawURLEncoding.EncodeToString(append(id, random[:]...))
	base := c.a.PublicURL + "/t/" + how.Token
	var link func(string) string
	if how.Links {
		link = func(url string) string {
			if len(how.URLs) >= maxLinks {
				return url
			}
			how.URLs = append(how.URLs, url)
			return fmt.Sprintf("%s/%d", base, len(how.URLs))
		}
	}
	picture := ""
	if how.Opens {
		picture = base
	}
	m.HTML = mime.Tracked(m.HTML, link, picture)
	return nil
}

func parseUUID(id mail.AccountID) ([]byte, error) {
	var b []byte
	if _, err := fmt.Sscanf(string(id[:8]+id[9:13]+id[14:18]+id[19:23]+id[24:]), "%x", &b); err != nil || len(b) != 16 {
		return nil, mail.E(mail.Internal, "track a message", "", err)
	}
	return b, nil
}

// pixel is a GIF of one transparent point.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

var noVisit = mail.E(mail.NotFound, "route", "there is nothing at this path", nil)

// visit notes what the request tells, and returns where it leads.
func (c *call) visit(link int) (string, error) {
	token := c.r.PathValue("token")
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 32 {
		return "", noVisit
	}
	id := mail.AccountID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
	mb, err := c.a.Store.Mailbox(c.r.Context(), id)
	if mail.IsKind(err, mail.NotFound) {
		return "", noVisit
	}
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	ctx, cancel := c.detached(confirmTime)
	defer cancel()
	url, err := mb.Visit(ctx, token, mail.Visit{Link: link, IP: host, Agent: c.r.UserAgent()})
	if mail.IsKind(err, mail.NotFound) {
		err = noVisit
	}
	return url, err
}

func (a *API) openMessage(c *call) error {
	h := c.Header()
	if c.r.Method != http.MethodHead {
		if _, err := c.visit(0); err != nil {
			return err
		}
	}
	h.Set("Content-Type", "image/gif")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(pixel)))
	_, _ = c.Write([]byte(pixel))
	return nil
}

func (a *API) followLink(c *call) error {
	n, err := strconv.Atoi(c.r.PathValue("link"))
	if err != nil || n < 1 || c.r.Method == http.MethodHead {
		return noVisit
	}
	url, err := c.visit(n)
	if err != nil {
		return err
	}
	h := c.Header()
	h.Set("Location", url)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	c.WriteHeader(http.StatusFound)
	return nil
}
