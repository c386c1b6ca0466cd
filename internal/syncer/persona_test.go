package syncer_test

import (
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/persona"
)

// truthOf returns what a persona's mailbox holds.
func truthOf(p *persona.Server) func() map[string]string {
	return func() map[string]string {
		out := map[string]string{}
		for _, m := range p.Everything() {
			out[fmt.Sprintf("%s %d %d", m.Folder, m.UIDValidity, m.UID)] = fmt.Sprintf("%x %v", m.SHA256, m.Flags)
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

// TestPersonas takes every persona through an initial sync, news, a restart and a complete comparison.
func TestPersonas(t *testing.T) {
	t.Parallel()
	for _, who := range persona.Personas() {
		t.Run(who.Name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, who.Knobs)
			personaStory(t, p, who.Knobs.UIDValidity != nil)
		})
	}
}

func personaStory(t *testing.T, p *persona.Server, flaps bool) {
	p.Create("Work")
	for i := range 60 {
		p.Deliver("INBOX", message(i))
	}
	p.Deliver("Work", message(100), `\Seen`, "$Label1")
	p.Copy("INBOX", 3, "Work")

	b := setupPersona(t, p, nil)
	b.flaps = flaps
	b.live()
	b.equal()

	p.Deliver("INBOX", message(200))
	b.equal()
	p.Flag("INBOX", 7, `\Flagged`)
	moved := b.messageAt("INBOX", 5)
	to := p.Move("INBOX", 5, "Work")
	p.Expunge("INBOX", 9)
	b.equal()
	if got := b.messageAt("Work", mail.UID(to)); got != moved {
		t.Errorf("the moved message was %s and is %s", moved, got)
	}
	b.engine.Close()
	p.Deliver("Work", message(300))
	b.start()
	b.live()
	b.equal()
}
