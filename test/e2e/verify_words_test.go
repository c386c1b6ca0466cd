package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/persona"
)

// TestVerifySaysWhatItCouldNotCompare: differences are one exit code, and what was not compared is another; neither hides the other.
func TestVerifySaysWhatItCouldNotCompare(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	p.Create("Work")
	for i := range 4 {
		for _, f := range []string{"INBOX", "Work"} {
			p.Deliver(f, fmt.Appendf(nil, "Message-ID: <%s%d@example.com>\r\nSubject: %d\r\n\r\nBody\r\n", f, i, i))
		}
	}
	s := serve(t, binary.Options{})
	g, err := s.Connect(within(t, 30*time.Second), binary.IMAP(fmt.Sprintf("%s:%d", p.Host, p.Port), "ann@example.com", persona.Password))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = s.Await(within(t, 3*time.Minute), g.ID, binary.Live); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	verify := func(code int, words ...string) {
		t.Helper()
		out, err := s.Verify(within(t, time.Minute), g.ID, "--bytes", "--wait=1ms")
		var exit *exec.ExitError
		if errors.As(err, &exit); exit == nil && code != 0 || exit != nil && exit.ExitCode() != code {
			t.Errorf("ends with %v, want %d", err, code)
		}
		if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != len(words) {
			t.Errorf("prints %q", lines)
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("does not say %q:\n%s", w, out)
			}
		}
	}
	answer := func(do func(c persona.Command) string) {
		p.Turn(func(k *persona.Knobs) { k.Answer = do })
	}
	const flags = `"INBOX" UID 2: flags are [\Flagged] at the server and [] here`
	verify(0, "equal: 6 folders, 8 messages, their flags, sizes, dates and ")
	p.Flag("INBOX", 2, `\Flagged`)
	verify(1, flags, "posthorn: 1 difference in 6 folders, 8 messages")
	answer(func(c persona.Command) string {
		if c.Name == "UID FETCH" && c.Folder == "Work" {
			return persona.Cut
		}
		return ""
	})
	verify(2, flags, `posthorn: not everything was compared, only 5 folders, 4 messages: compare "Work": `)
	answer(func(c persona.Command) string {
		if c.Name == "LOGIN" || c.Name == "AUTHENTICATE" {
			return "NO [AUTHENTICATIONFAILED] no"
		}
		return ""
	})
	verify(2, "password")
	answer(func(c persona.Command) string {
		if c.Name == "LIST" {
			return "NO [SERVERBUG] no"
		}
		return ""
	})
	verify(2, "posthorn: list the folders: ")

	reached := make(chan struct{}, 1)
	answer(func(c persona.Command) string {
		if c.Name == "UID FETCH" && c.Folder == "Work" {
			reached <- struct{}{}
			return persona.Hang
		}
		return ""
	})
	cmd := s.Command(within(t, time.Minute), "verify", g.ID)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(out.String(), flags) || !strings.Contains(out.String(), "4 messages: interrupted") {
		t.Errorf("interrupted, it ends with %v and prints\n%s", err, out.String())
	}
}
