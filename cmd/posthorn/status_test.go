package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestBars(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &bars{progress: mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh()), of: map[mail.AccountID]*bar{}}
	ann := app.AccountStatus{ID: "a", Email: "ann@example.com", Running: true, Sync: v3.Sync{State: mail.StateConnecting}}
	bo := app.AccountStatus{ID: "b", Email: "bo@example.com", Running: true, Sync: v3.Sync{State: mail.StateInitial, Progress: &v3.Progress{Done: 10, Total: 50}}}
	done := app.AccountStatus{ID: "c", Email: "cy@example.com", Running: true, Sync: v3.Sync{State: mail.StateLive}}
	b.show([]app.AccountStatus{ann, bo, done})
	bo.Sync.State, bo.Sync.Progress = mail.StateLive, &v3.Progress{Done: 50, Total: 50}
	b.show([]app.AccountStatus{bo, done}) // ann is no more
	b.end()
	for _, want := range []string{"ann@example.com", "bo@example.com", "50/50", "live"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if strings.Contains(out.String(), "cy@example.com") {
		t.Errorf("a bar of a mailbox that was synchronised before: %q", out.String())
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := printTable(&out, []app.AccountStatus{
		{Email: "ann@example.com", Running: true, Sync: v3.Sync{State: mail.StateInitial, Progress: &v3.Progress{Done: 10, Total: 50, Rate: 9.6, ETA: time.Now().Add(time.Hour).Unix()}}},
		{Email: "bo@example.com", Sync: v3.Sync{State: mail.StateReauth, Reason: "refused\x1b[31m", Action: "log in again", FreshAt: time.Now().Unix()}},
	})
	lines := strings.Split(out.String(), "\n")
	if err != nil || len(lines) != 4 || !strings.Contains(lines[1], "never") || !strings.Contains(lines[1], "10/50") || !strings.Contains(lines[1], "10/s") || !strings.Contains(lines[1], "59m") ||
		!strings.Contains(lines[2], "not running; was reauth_required") || !strings.HasSuffix(lines[2], "refused [31m log in again") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
