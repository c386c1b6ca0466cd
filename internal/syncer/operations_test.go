package syncer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// do carries out an operation and wants it done.
func (b *bench) do(op mail.Operation) mail.Operation {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	got, err := b.engine.Do(ctx, b.id, op)
	if err != nil || got.State != mail.OpDone {
		b.t.Fatalf("%s: %+v, %v", op.Kind, got, err)
	}
	return got
}

func (b *bench) fails(op mail.Operation, why mail.Kind) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	got, err := b.engine.Do(ctx, b.id, op)
	if err != nil || got.State != mail.OpFailed || got.Why != why || got.Reason == "" {
		b.t.Fatalf("%s: %+v, %v; want it to fail with %v", op.Kind, got, err, why)
	}
}

func (b *bench) folder(name string) mail.Folder {
	b.t.Helper()
	folders, err := b.mbox.Folders(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	at := slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Name == name })
	if at < 0 {
		var names []string
		for _, f := range folders {
			names = append(names, f.Name)
		}
		b.t.Fatalf("no folder %q among %q", name, names)
	}
	return folders[at]
}

func (b *bench) message(id mail.MessageID) mail.Message {
	b.t.Helper()
	m, err := b.mbox.Message(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{
		"everything":         nil,
		"nothing but basics": {"CONDSTORE", "QRESYNC", "IDLE", "LIST-STATUS", "LIST-EXTENDED", "ESEARCH", "SPECIAL-USE", "UNSELECT", "LITERAL+", "ENABLE", "MOVE", "UIDPLUS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			operations(t, &realsrv.StartDovecot(t, realsrv.DovecotOptions{CapsDrop: drop}).IMAP)
		})
	}
	t.Run("Cyrus", func(t *testing.T) {
		t.Parallel()
		operations(t, &realsrv.StartCyrus(t, realsrv.CyrusOptions{}).IMAP)
	})
}

func operations(t *testing.T, d *realsrv.IMAP) {
	ctx := t.Context()
	b := setup(t, d, "ann")
	b.fill(40)
	s := d.Login(t, "ann")
	s.Append("INBOX", []byte("Subject: without Message-ID\r\n\r\nx\r\n"), nil, day)
	b.live()
	b.equal()
	seq, err := b.mbox.Seq(ctx)
	if err != nil {
		t.Fatal(err)
	}

	// Flags: confirmed by the server, one change, said to be asked for.
	one, weak := b.messageAt("INBOX", 1), b.messageAt("INBOX", 41)
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{one}, Set: mail.FlagSeen | mail.FlagFlagged})
	if m := b.message(one); m.Flags != mail.FlagSeen|mail.FlagFlagged {
		t.Errorf("flags %v", m.Flags.Names())
	}
	b.equal()
	changes, err := b.mbox.Changes(ctx, seq, 100)
	if err != nil || len(changes) != 1 || changes[0].Origin != mail.OriginAPI {
		t.Errorf("changes of a flag update: %+v, %v", changes, err)
	}
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{one}, Clear: mail.FlagSeen})
	b.equal()

	// Folders: a new one, one inside it, a rename with its id and those of its messages kept.
	made := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "Projekte"}).Folder
	b.fails(mail.Operation{Kind: mail.OpFolderCreate, Name: "Projekte"}, mail.Conflict)
	inner := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "Projekte/Zürich"}).Folder
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{one, weak}, Folder: inner})
	b.equal()
	for _, id := range []mail.MessageID{one, weak} {
		if m := b.message(id); !slices.Equal(m.Folders, []mail.FolderID{inner}) {
			t.Errorf("moved to %v, want %v", m.Folders, inner)
		}
	}
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: made, Name: "Arbeit"})
	if f := b.folder("Arbeit/Zürich"); f.ID != inner || b.folder("Arbeit").ID != made {
		t.Errorf("after the rename: %+v", f)
	}
	b.equal()
	b.fails(mail.Operation{Kind: mail.OpFolderRename, Folder: made, Name: "INBOX"}, mail.Conflict)
	b.fails(mail.Operation{Kind: mail.OpFolderDelete, Folder: b.folder("INBOX").ID}, mail.Invalid)

	// To the trash, and from there for good; removed at once.
	b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{one}})
	if m := b.message(one); len(m.Folders) != 1 || m.Folders[0] != b.folder("Trash").ID {
		t.Errorf("in the trash: %v", m.Folders)
	}
	b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{one}})
	if m := b.message(one); len(m.Folders) != 1 || m.Folders[0] != b.folder("Trash").ID {
		t.Errorf("to the trash twice: %v", m.Folders)
	}
	b.do(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{one}})
	if _, err := b.mbox.Message(ctx, one); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("removed from the trash: %v", err)
	}
	gone := b.messageAt("INBOX", 2)
	b.do(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{gone}})
	if _, err := b.mbox.Message(ctx, gone); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("removed for good: %v", err)
	}
	b.equal()
	b.fails(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{gone}, Set: mail.FlagSeen}, mail.NotFound)

	// More than a guard would let pass unasked, and many at once.
	var many []mail.MessageID
	for uid := mail.UID(3); uid <= 33; uid++ {
		many = append(many, b.messageAt("INBOX", uid))
	}
	var wg sync.WaitGroup
	for _, id := range many {
		wg.Go(func() {
			got, err := b.engine.Do(t.Context(), b.id, mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{id}, Set: mail.FlagSeen})
			if err != nil || got.State != mail.OpDone {
				t.Errorf("one of many: %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: many, Folder: made})
	if st, _ := b.engine.Status(b.id); st.State != mail.StateLive {
		t.Errorf("after our own large move the account is %v: %s", st.State, st.Reason)
	}
	b.equal()

	b.do(mail.Operation{Kind: mail.OpFolderDelete, Folder: inner})
	b.equal()
	b.until("the messages of a deleted folder are gone", func() bool {
		_, err := b.mbox.Message(ctx, weak)
		return mail.IsKind(err, mail.NotFound)
	})
}

// A write must never reach another message than the one that is meant, even if a server gives its UID to another.
func TestAnOperationNeverHitsAnotherMessage(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.fill(3)
	b.live()
	b.equal()
	victim := b.messageAt("INBOX", 2)
	b.engine.Close()
	// Behind our back, under the same UIDVALIDITY, UID 2 becomes another message.
	path := d.MaildirPath("ann")
	replaceMaildirFile(t, d, path, "m1@example.com", message(7)) // of the same length: the server would notice another
	b.start()
	b.live()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	got, err := b.engine.Do(ctx, b.id, mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{victim}})
	if err != nil || got.State == mail.OpDone {
		t.Errorf("the removal says %+v, %v", got, err)
	}
	if n := len(d.Everything(t, "ann")); n != 3 {
		t.Errorf("%d messages are left of 3", n)
	}
}

// An operation that was asked for while the server was away is carried out when it is back.
func TestOperationsWaitForTheServer(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.fill(2)
	b.live()
	b.equal()
	id := b.messageAt("INBOX", 1)
	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	op := b.accepted(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{id}, Set: mail.FlagFlagged})
	if err := d.Resume(); err != nil {
		t.Fatal(err)
	}
	b.engine.Start(b.id)
	b.until("the operation to be done", func() bool {
		got, err := b.mbox.Operation(t.Context(), op.ID)
		return err == nil && got.State == mail.OpDone
	})
	b.equal()
	if m := b.message(id); m.Flags&mail.FlagFlagged == 0 {
		t.Error(fmt.Sprint("not flagged: ", m.Flags.Names()))
	}
}

// accepted gives an operation to the account while its server is away, and waits for it no longer than until it is waited for.
func (b *bench) accepted(op mail.Operation) mail.Operation {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for b.engine.Waited(b.id) == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	op, err := b.engine.Do(ctx, b.id, op)
	if err != nil || op.State != mail.OpPending {
		b.t.Fatalf("with the server away: %+v, %v", op, err)
	}
	return op
}

// TestWritesWaitOutAnHour: for an hour of the account's clock every command breaks the connection. What was synchronised can be
// read meanwhile; what is to be written waits, and lands in order.
func TestWritesWaitOutAnHour(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	p.Create("Work")
	for i := range 3 {
		p.Deliver("INBOX", message(i))
	}
	c := setupClocked(t, p, nil)
	c.messages(3)
	id := c.messageAt("INBOX", 1)
	folders, err := c.mbox.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	work := folders[slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Name == "Work" })].ID

	p.Turn(func(k *persona.Knobs) { k.Answer = func(persona.Command) string { return persona.Cut } })
	var ops []mail.Operation
	for _, op := range []mail.Operation{
		{Kind: mail.OpUpdate, Set: mail.FlagFlagged},
		{Kind: mail.OpUpdate, Folder: work},
		{Kind: mail.OpUpdate, Set: mail.FlagSeen, Clear: mail.FlagFlagged},
	} {
		op.Messages = []mail.MessageID{id}
		ops = append(ops, c.accepted(op))
	}
	for passed := 10 * time.Minute; passed <= time.Hour; passed += 10 * time.Minute {
		before := p.Count("CAPABILITY") + p.Count("AUTHENTICATE") + p.Count("LOGIN")
		c.ahead.Store(int64(passed))
		c.engine.Start(c.id)
		p.Await("another attempt", func() bool {
			return p.Count("CAPABILITY")+p.Count("AUTHENTICATE")+p.Count("LOGIN") > before
		})
		if m := c.message(id); m.Flags != 0 {
			t.Errorf("after %v the message has the flags %v", passed, m.Flags.Names())
		}
		for _, op := range ops {
			if got, err := c.mbox.Operation(t.Context(), op.ID); err != nil || got.State != mail.OpPending {
				t.Errorf("after %v: %+v, %v", passed, got, err)
			}
		}
	}
	p.Turn(func(k *persona.Knobs) { k.Answer = nil })
	c.ahead.Store(int64(2 * time.Hour))
	c.engine.Start(c.id)
	for _, op := range ops {
		c.until("the operations to be done", func() bool {
			got, err := c.mbox.Operation(t.Context(), op.ID)
			return err == nil && got.State == mail.OpDone
		})
	}
	if m := c.message(id); m.Flags != mail.FlagSeen || !slices.Equal(m.Folders, []mail.FolderID{work}) {
		t.Errorf("flags %v in %v, want read in %s alone", m.Flags.Names(), m.Folders, work)
	}
	c.equal()
}

// replaceMaildirFile puts other bytes of the same kind into the file of the message that holds marker.
func replaceMaildirFile(t *testing.T, d *realsrv.Dovecot, maildir, marker string, raw []byte) {
	t.Helper()
	for _, sub := range []string{"cur", "new"} {
		files, err := os.ReadDir(filepath.Join(maildir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			path := filepath.Join(maildir, sub, f.Name())
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(old, []byte(marker)) {
				continue
			}
			if !bytes.Contains(old, []byte("\r\n")) {
				raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
			}
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := d.Chown(path); err != nil {
				t.Fatal(err)
			}
			// The server keeps what it has read; it must read again.
			if err := os.Remove(filepath.Join(maildir, "dovecot.index.cache")); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no file with %s", marker)
}

// TestFile: the copy of a sent message is put into Sent once, and is the message that was announced; a folder is made for it
// if there is none.
func TestFile(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{
		"everything":         nil,
		"nothing but basics": {"CONDSTORE", "QRESYNC", "IDLE", "LIST-STATUS", "LIST-EXTENDED", "ESEARCH", "SPECIAL-USE", "UNSELECT", "LITERAL+", "ENABLE", "MOVE", "UIDPLUS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{CapsDrop: drop})
			b := setup(t, &d.IMAP, "ann")
			b.fill(3)
			b.live()
			ctx := t.Context()
			raw := []byte("Message-ID: <send.1@example.test>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\nFrom: ann@example.test\r\nTo: bob@example.test\r\nBcc: eve@example.test\r\nSubject: sent\r\n\r\nbody\r\n")
			refs, err := b.mbox.PutBlobs(ctx, []store.BlobData{{Kind: store.BlobOther, Data: raw}})
			if err != nil {
				t.Fatal(err)
			}
			fp, _ := mime.Fingerprint(mime.ParseHeader(raw))
			id := mail.MessageID(b.mbox.IDKey().MessageID(fp))
			at := time.Date(2026, 1, 5, 10, 0, 3, 0, time.UTC)
			send, _, err := b.mbox.Enqueue(ctx, mail.Send{State: mail.SendQueued, Blob: refs[0].ID, Size: refs[0].Size, SentAt: at, Summary: mail.Message{ID: id, HeaderMessageID: "send.1@example.test"}})
			if err != nil {
				t.Fatal(err)
			}
			b.fails(mail.Operation{Kind: mail.OpLook, Send: send.ID}, mail.NotFound)
			for range 3 { // asked again, as after an answer that was lost
				b.do(mail.Operation{Kind: mail.OpFile, Send: send.ID})
			}
			b.do(mail.Operation{Kind: mail.OpLook, Send: send.ID})
			sent := b.folder("Sent")
			if sent.Total != 1 || sent.Unread != 0 {
				t.Errorf("Sent holds %d messages, %d unread", sent.Total, sent.Unread)
			}
			if m := b.message(id); !slices.Equal(m.Folders, []mail.FolderID{sent.ID}) || m.Body != mail.BodyHeld || !m.Date.Equal(at) {
				t.Errorf("the copy: %+v", m)
			}
			b.equal()
			send.State = mail.SendSent
			if send, err = b.mbox.PutSend(ctx, send, mail.SendSucceeded); err != nil {
				t.Fatal(err)
			}
			send.State = mail.SendFiled
			if _, err := b.mbox.PutSend(ctx, send, 0); err != nil {
				t.Fatal(err)
			}
			b.do(mail.Operation{Kind: mail.OpFile, Send: send.ID}) // nothing is left to do
			b.equal()
		})
	}
}

// TestAnOperationIsTriedAgainSoon: the server could not do it at first. It is tried again when that is due, however far the next poll is.
func TestAnOperationIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{Answer: persona.First(1, "NO [UNAVAILABLE] not now", "UID STORE")})
	p.Deliver("INBOX", message(1))
	b := setupPersona(t, p, slowPolls)
	b.live()
	id := b.messageAt("INBOX", 1)
	p.Await("IDLE", func() bool { return p.Count("IDLE") >= 2 })
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{id}, Set: mail.FlagFlagged})
	b.equal()
}
