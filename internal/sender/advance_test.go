package sender

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
)

// scripted is an operator whose operations end as told.
type scripted struct {
	mb   *store.Mailbox
	ends func(mail.OpKind) mail.OpState
	has  []mail.OpKind // that were begun
}

func (o *scripted) Do(ctx context.Context, _ mail.AccountID, op mail.Operation) (mail.Operation, error) {
	o.has = append(o.has, op.Kind)
	op, err := o.mb.AddOperation(ctx, op)
	if op.State = o.ends(op.Kind); op.State == mail.OpFailed {
		op.Reason = "no room"
	}
	return op, err
}

// TestSettling takes a send step by step to its end: what is looked for and put where, from when on and until when, and what is said of it.
func TestSettling(t *testing.T) {
	t.Parallel()
	const done, failed, pending = mail.OpDone, mail.OpFailed, mail.OpPending
	type step struct {
		at     time.Duration // since the first step
		ends   mail.OpState
		begun  []mail.OpKind // operations
		state  mail.SendState
		again  time.Duration // until the next step; 0: at once, or never
		told   mail.ChangeKind
		reason string // is a part of what is said
	}
	look, file := []mail.OpKind{mail.OpLook}, []mail.OpKind{mail.OpFile}
	const late = patience + time.Second
	for what, c := range map[string]struct {
		files   bool // the provider puts sent mail into Sent by itself
		lost    bool // the answer to the message was lost
		draft   bool
		draftIs mail.OpState // how the removal of the draft ends; "": as the others
		steps   []step
	}{
		"a copy":                 {steps: []step{{0, done, file, mail.SendFiled, 0, 0, ""}}},
		"a copy that is refused": {steps: []step{{0, failed, file, mail.SendUnfiled, 0, 0, "could not be put into the folder of sent messages: no room"}}},
		"a copy that takes its time": {steps: []step{
			{0, pending, file, mail.SendSent, lookAgain, 0, ""},
			{lookAgain, pending, nil, mail.SendSent, lookAgain, 0, ""},
			{time.Hour, done, nil, mail.SendFiled, 0, 0, ""},
		}},
		"the provider's copy": {files: true, steps: []step{
			{0, failed, look, mail.SendSent, lookAgain, 0, ""},
			{lookAgain, done, look, mail.SendFiled, 0, 0, ""},
		}},
		"the provider's copy that does not come": {files: true, steps: []step{
			{0, failed, look, mail.SendSent, lookAgain, 0, ""},
			{patience - time.Second, failed, look, mail.SendSent, lookAgain, 0, ""},
			{late, done, file, mail.SendFiled, 0, 0, ""},
		}},
		"the provider's copy that cannot be looked for": {files: true, steps: []step{
			{0, pending, look, mail.SendSent, lookAgain, 0, ""},
			{late, done, file, mail.SendFiled, 0, 0, ""},
		}},
		"lost, and it is there":  {lost: true, steps: []step{{0, done, look, mail.SendSent, 0, mail.SendSucceeded, ""}, {time.Second, done, file, mail.SendFiled, 0, 0, ""}}},
		"lost, and it is not":    {lost: true, steps: []step{{0, failed, look, mail.SendUncertain, 0, mail.SendNotDone, "may have been sent or not"}}},
		"lost, and nobody knows": {lost: true, steps: []step{{0, pending, look, mail.SendSending, lookAgain, 0, ""}, {time.Hour, failed, nil, mail.SendUncertain, 0, mail.SendNotDone, "may have been sent or not"}}},
		"lost, and the provider's copy comes": {files: true, lost: true, steps: []step{
			{0, failed, look, mail.SendSending, lookAgain, 0, ""},
			{patience - time.Second, failed, look, mail.SendSending, lookAgain, 0, ""},
			{patience - time.Millisecond, done, look, mail.SendSent, 0, mail.SendSucceeded, ""},
			{late, done, look, mail.SendFiled, 0, 0, ""},
		}},
		"lost, and the provider's copy does not come": {files: true, lost: true, steps: []step{
			{0, failed, look, mail.SendSending, lookAgain, 0, ""},
			{patience - time.Second, failed, look, mail.SendSending, lookAgain, 0, ""},
			{late, failed, look, mail.SendUncertain, 0, mail.SendNotDone, "may have been sent or not"},
		}},
		"of a draft":                     {draft: true, steps: []step{{0, done, []mail.OpKind{mail.OpFile, mail.OpDraftDelete}, mail.SendFiled, 0, 0, ""}}},
		"of a draft that takes its time": {draft: true, draftIs: pending, steps: []step{{0, done, []mail.OpKind{mail.OpFile, mail.OpDraftDelete}, mail.SendSent, lookAgain, 0, ""}}},
		"of a draft, while the copy waits": {draft: true, steps: []step{
			{0, pending, file, mail.SendSent, lookAgain, 0, ""},
			{time.Minute, pending, nil, mail.SendSent, lookAgain, 0, ""},
		}},
		"of a draft that is lost": {draft: true, lost: true, steps: []step{{0, failed, look, mail.SendUncertain, 0, mail.SendNotDone, ""}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			begin := time.Unix(1800000000, 0).UTC()
			now := begin
			w, o := settler(t, c.files, func() time.Time { return now })
			s := mail.Send{ID: "s1", State: mail.SendSent, SentAt: now, Recipients: []mail.Recipient{{Email: "x@example.test", State: mail.RecipientSent}}}
			if c.lost {
				s.State, s.SentAt, s.Recipients[0].State = mail.SendSending, time.Time{}, mail.RecipientInFlight
			}
			if c.draft {
				s.Draft = "d1"
			}
			for n, x := range c.steps {
				now, o.has = begin.Add(x.at), nil
				o.ends = func(k mail.OpKind) mail.OpState {
					if k == mail.OpDraftDelete && c.draftIs != "" {
						return c.draftIs
					}
					return x.ends
				}
				if s.Filing != "" { // the one that was begun before has ended, or not
					op, err := w.mb.Operation(t.Context(), s.Filing)
					if err != nil {
						t.Fatal(err)
					}
					if op.State = x.ends; x.ends != pending && x.begun == nil {
						if err := w.mb.PutOperation(t.Context(), 1, op); err != nil {
							t.Fatal(err)
						}
					}
				}
				var told mail.ChangeKind
				var err error
				s, told, err = w.advance(t.Context(), s)
				var again time.Duration
				if s.State == mail.SendSent && told == 0 || s.State == mail.SendSending {
					again = s.NextTry.Sub(now)
				}
				if err != nil || !slices.Equal(o.has, x.begun) || s.State != x.state || told != x.told || again != x.again || !bytes.Contains([]byte(s.Reason), []byte(x.reason)) {
					t.Errorf("step %d: began %v, is %s, again in %v, told %v, %q, %v; want %+v", n, o.has, s.State, again, told, s.Reason, err, x)
				}
			}
		})
	}
}

// settler is a worker on an account of its own, beside an operator that has nothing to do so far.
func settler(t *testing.T, files bool, now func() time.Time) (*worker, *scripted) {
	t.Helper()
	keys, err := vault.NewKeyring(make([]byte, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	app, err := st.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	acct := mail.Account{ID: "6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11", App: app.ID, Email: "ann@example.test", Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: map[bool]string{false: "imap.example.test", true: "imap.gmail.com"}[files], Port: 993, Security: mail.SecurityTLS}}}
	if err := st.CreateAccount(t.Context(), acct, mail.Credentials{IMAPPassword: mail.NewSecret("canary")}); err != nil {
		t.Fatal(err)
	}
	o := &scripted{}
	w := newWorker(New(Options{Store: st, Operator: o, Now: now, Log: slog.New(slog.DiscardHandler)}), acct.ID)
	t.Cleanup(w.cancel)
	if w.mb, err = st.Mailbox(t.Context(), acct.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.mb.NextTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.mb = w.mb
	return w, o
}
