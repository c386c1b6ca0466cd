package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	userAgent     = "Posthorn-Webhooks/1"
	challengeTime = 10 * time.Second
	maxChallenge  = 1 << 10
	maxAnswer     = 4 << 10     // that is read of an answer, so that the connection can be used again
	drainTime     = time.Second // for that
	// testSecret signs events that send-test-event sends; it is public.
	testSecret = "mock-webhook-secret"
)

// client posts to endpoints: https anywhere on the Internet, plain http only where the operator allows it.
type client struct {
	secure, plain http.Client
	answer        time.Duration // for one attempt
}

func newClient(guard provider.Guard, conf *tls.Config) *client {
	guard.Ports = nil // an endpoint may listen anywhere
	make := func(dial func(context.Context, string, string) (net.Conn, error)) http.Client {
		return http.Client{
			Transport: &http.Transport{
				DialContext: dial, TLSClientConfig: conf.Clone(), TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, DisableCompression: true,
				MaxIdleConnsPerHost: perWebhook, MaxIdleConns: 100, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 32 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &client{secure: make(guard.DialContext), plain: make(guard.DialAllowed), answer: answerTime}
}

func (c *client) close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

func (c *client) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	if req.URL.Scheme == "http" {
		return c.plain.Do(req)
	}
	return c.secure.Do(req)
}

// outcome is what came of one attempt.
type outcome struct {
	status int // 0: no answer
	wait   time.Duration
	took   time.Duration
	err    string // in words, without anything that the endpoint said; "": delivered
}

// letter is one attempt to deliver.
type letter struct {
	url        string
	id         string
	payload    []byte
	secrets    []mail.Secret // the first signs everything, the others webhook-signature only
	compressed bool
	at         time.Time
	replay     string // "": it is none
}

// post makes one attempt. Its status decides; the rest of the answer is not waited for.
func (c *client) post(ctx context.Context, l letter) outcome {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.answer)
	defer cancel()
	body := l.payload
	if l.compressed {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(body) // into memory: cannot fail
		z.Close()
		body = b.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return outcome{err: "the URL cannot be used"}
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	if l.compressed {
		h.Set("Content-Encoding", "gzip")
	}
	if l.replay != "" {
		h.Set(ReplayHeader, l.replay)
	}
	sign(h, l, body)
	res, err := c.do(req)
	if err != nil {
		return outcome{took: time.Since(start), err: inWords(err)}
	}
	out := outcome{status: res.StatusCode, took: time.Since(start), wait: askedWait(res.Header.Get("Retry-After"), l.at)}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		out.err = fmt.Sprintf("the endpoint answered %d", res.StatusCode)
	}
	stop := time.AfterFunc(drainTime, cancel)
	io.CopyN(io.Discard, res.Body, maxAnswer)
	stop.Stop()
	res.Body.Close()
	return out
}

// sign writes the signatures of both conventions over the bytes as they are sent.
func sign(h http.Header, l letter, body []byte) {
	mac := hmac.New(sha256.New, []byte(l.secrets[0].Reveal()))
	mac.Write(body)
	h.Set("X-Nylas-Signature", hex.EncodeToString(mac.Sum(nil)))
	stamp := strconv.FormatInt(l.at.Unix(), 10)
	var sigs []string
	for _, s := range l.secrets {
		mac := hmac.New(sha256.New, standardKey(s))
		fmt.Fprintf(mac, "%s.%s.", l.id, stamp)
		mac.Write(body)
		sigs = append(sigs, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("Webhook-Id", l.id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", strings.Join(sigs, " "))
}

// standardKey is the key of a secret as Standard Webhooks reads it: base64 after the prefix.
func standardKey(s mail.Secret) []byte {
	text := strings.TrimPrefix(s.Reveal(), "whsec_")
	if key, err := base64.StdEncoding.DecodeString(text); err == nil {
		return key
	}
	return []byte(text)
}

// askedWait reads Retry-After (RFC 9110 10.2.3).
func askedWait(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// inWords says why there was no answer, without what the other side sent.
func inWords(err error) string {
	var me *mail.Error
	var dns *net.DNSError
	var ne net.Error
	var cert *tls.CertificateVerificationError
	var host x509.HostnameError
	switch {
	case errors.As(err, &me) && me.Msg != "":
		return me.Msg
	case errors.As(err, &dns):
		return "the host name was not found"
	case errors.As(err, &cert), errors.As(err, &host):
		return "the endpoint's certificate cannot be trusted"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return fmt.Sprintf("no answer within %d seconds", answerTime/time.Second)
	}
	return "the connection failed"
}

// Challenge asks an endpoint whether it wants to be one: it must answer a GET with ?challenge= by exactly that value.
// Invalid says what went wrong.
func (n *Notifier) Challenge(ctx context.Context, url string) error {
	failed := func(words string) error {
		return mail.E(mail.Invalid, "verify webhook", "unable.verify.webhook_url : "+words, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, challengeTime)
	defer cancel()
	value := rand.Text()
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+sep+"challenge="+value, nil)
	if err != nil {
		return failed("the URL cannot be used")
	}
	res, err := n.client.do(req)
	if err != nil {
		if ctx.Err() != nil {
			return failed("no answer within 10 seconds")
		}
		return failed(inWords(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return failed(fmt.Sprintf("status is not ok, got %d", res.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxChallenge))
	if err != nil || string(body) != value {
		return failed("the answer is not the value of the parameter challenge and nothing else")
	}
	return nil
}

// Try posts a sample to an endpoint, signed with a secret that everybody knows.
func (n *Notifier) Try(ctx context.Context, app mail.AppID, kind, url string) error {
	now := n.o.Now()
	note := Sample(app, kind, now)
	payload, err := encode(note)
	if err != nil {
		return err
	}
	out := n.client.post(ctx, letter{url: url, id: note.ID, payload: payload, secrets: []mail.Secret{mail.NewSecret(testSecret)}, at: now})
	if out.err != "" {
		return mail.E(mail.Invalid, "send test event", "the test event was not delivered: "+out.err, nil)
	}
	return nil
}

// letterOf makes the attempt of a webhook's notification.
func letterOf(w store.Webhook, id string, payload []byte, now time.Time) letter {
	l := letter{url: w.URL, id: id, payload: payload, secrets: []mail.Secret{w.Secret}, compressed: w.Compressed, at: now}
	if !w.OldSecret.IsZero() && now.Before(w.OldUntil) {
		l.secrets = append(l.secrets, w.OldSecret)
	}
	return l
}
