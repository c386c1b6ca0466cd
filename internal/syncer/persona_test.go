package syncer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/persona"
)

// truthOf returns what a persona's mailbox holds.
func truthOf(p *persona.Server) func() map[string]string {
	return func() map[string]string {
		out := map[string]string{}
		labels := false
		for _, m := range p.Everything() {
			labels = labels || m.Labels != nil
		}
		for _, m := range p.Everything() {
			text := fmt.Sprintf("%x %v", m.SHA256, m.Flags)
			switch {
			case m.Hidden:
				continue
			case m.Labels != nil:
				if len(m.Labels) > 0 {
					text += fmt.Sprint(" ", m.Labels)
				}
			case labels && !slices.Contains([]string{"[Gmail]/All Mail", "[Gmail]/Trash", "[Gmail]/Spam"}, m.Folder):
				continue // a label
			}
			out[fmt.Sprintf("%s %d %d", m.Folder, m.UIDValidity, m.UID)] = text
		}
		return out
	}
}

// setupPersona is setup beside a persona. tweak may change the engine's options.
func setupPersona(t *testing.T, p *persona.Server, tweak func(*syncer.Options)) *bench {
	t.Helper()
	b := &bench{t: t, user: "ann", tweak: tweak, truth: truthOf(p)}
	b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
	return b
}

// TestPersonas takes every persona through an initial sync, news, a restart and a complete comparison, and sees to it that each of its knobs
// is felt, but for those that spare our client.
func TestPersonas(t *testing.T) {
	t.Parallel()
	for _, who := range persona.Personas() {
		t.Run(who.Name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, who.Knobs)
			n := 60
			compressed := strings.Contains(who.Knobs.Caps, "COMPRESS=DEFLATE")
			if compressed { // it is worth it for many only
				n = 600
			}
			personaStory(t, p, n, who.Knobs.UIDValidity != nil, who.Knobs.Gmail)
			for name, n := range p.Acted() {
				if n == 0 != slices.Contains(strings.Fields(who.Spared), name) {
					t.Errorf("%s was felt %d times", name, n)
				}
			}
			if compressed && p.Count("COMPRESS") == 0 {
				t.Error("nothing was compressed")
			}
		})
	}
}

func personaStory(t *testing.T, p *persona.Server, n int, flaps, labels bool) {
	p.Create("Work")
	for i := range n {
		p.Deliver("INBOX", message(i))
	}
	p.Deliver("Work", message(1100), `\Seen`, "$Label1")
	p.Copy("INBOX", 3, "Work")

	b := setupPersona(t, p, func(o *syncer.Options) {
		o.Profile = func(mail.Account) provider.Profile {
			return provider.Profile{Limits: provider.Limits{Cooldown: 10 * time.Millisecond}}
		}
	})
	b.flaps = flaps
	b.live()
	b.equal()

	p.Deliver("INBOX", message(1200))
	b.equal()
	p.Flag("INBOX", 7, `\Flagged`)
	from, at := "INBOX", "Work"
	if labels { // the copy is where it was
		from, at = "[Gmail]/All Mail", "[Gmail]/All Mail"
	}
	moved := b.messageAt(from, 5)
	to := p.Move("INBOX", 5, "Work")
	if labels {
		to = 5
	}
	p.Expunge("INBOX", 9)
	b.equal()
	if got := b.messageAt(at, mail.UID(to)); got != moved {
		t.Errorf("the moved message was %s and is %s", moved, got)
	}
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{b.messageAt(from, 12)}, Folder: b.folder("Work").ID})
	b.do(b.saving(1))
	b.equal()
	b.engine.Close()
	p.Deliver("Work", message(1300))
	b.start()
	if !flaps { // then it is degraded
		b.live()
	}
	b.equal()
}
