package store

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestCheckFinds plants one corruption at a time and wants Check to name it.
func TestCheckFinds(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Sent", "Empty")
		b.do(Batch{
			New: []NewMessage{
				b.held(ref("INBOX", 1), letter{id: "a", subject: "plan", day: 1, body: "one"}),
				b.at(ref("INBOX", 2), letter{id: "b", subject: "Re: plan", reply: "a", day: 2}, mail.FlagSeen|mail.FlagFlagged),
				b.at(ref("Sent", 1), letter{id: "b", subject: "Re: plan", reply: "a", day: 2}),
				b.held(ref("Sent", 2), letter{id: "c", day: 3, body: "attached"}),
			},
			Quarantine: []Trouble{{PlacementRef: ref("INBOX", 2), Reason: "refused", NextTry: farFuture}},
			State:      &mail.SyncStatus{State: mail.StateLive}, Done: true,
		})
		b.do(Batch{Vanished: []PlacementRef{ref("Sent", 1)}, GoneFolders: []mail.FolderID{fid("Empty")}})
		b.ok()
		const first, last = "(SELECT MIN(id) FROM messages WHERE {a}1=1)", "(SELECT MAX(id) FROM messages WHERE {a}1=1)"
		for _, c := range []struct{ want, q string }{
			{"the log has no change", "DELETE FROM changes WHERE {a}seq = 2"},
			{"its last change", "DELETE FROM changes WHERE {a}seq = (SELECT seq FROM state WHERE {a}1=1)"},
			{"its last change", "UPDATE state SET seq = seq + 1 WHERE {a}1=1"},
			{"before the oldest", "UPDATE state SET min_seq = 2 WHERE {a}1=1"},
			{"which at that time did exist", "UPDATE changes SET kind = 1 WHERE {a}kind = 1 AND object = (SELECT MAX(object) FROM changes WHERE {a}kind = 1) OR {a}kind = 10 AND seq = 3"},
			{"unknown kind", "UPDATE changes SET kind = 99 WHERE {a}kind = 31"},
			{"the log says that folder", "UPDATE folders SET deleted_at = 1 WHERE {a}public = 'fSent'"},
			{"its row is of change", "UPDATE folders SET seq = 9 WHERE {a}public = 'fINBOX'"},
			{"is gone, but it has not vanished", "UPDATE folders SET deleted_at = 1 WHERE {a}public = 'fINBOX'"},
			{"state is not the one the log told", "UPDATE state SET sync = NULL WHERE {a}1=1"},
			{"end of the initial sync", "UPDATE state SET sync_done = 0 WHERE {a}1=1"},
			{"messages and", "UPDATE folders SET total = total + 1 WHERE {a}public = 'fINBOX'"},
			{"messages and", "UPDATE folders SET unread = unread - 1 WHERE {a}public = 'fINBOX'"},
			{"count of messages", "UPDATE state SET messages = 0 WHERE {a}1=1"},
			{"count of unread", "UPDATE state SET unread = 9 WHERE {a}1=1"},
			{"count of starred", "UPDATE state SET starred = 9 WHERE {a}1=1"},
			{"count of held", "UPDATE state SET held = 9 WHERE {a}1=1"},
			{"count of placements", "UPDATE state SET placements = 9 WHERE {a}1=1"},
			{"count of unheld", "UPDATE state SET unheld = 9 WHERE {a}1=1"},
			{"count of vanished", "UPDATE state SET vanished = 9 WHERE {a}1=1"},
			{"is not below the next one", "UPDATE state SET next_folder = 1 WHERE {a}1=1"},
			{"is not below the next one", "UPDATE state SET next_thread = 1 WHERE {a}1=1"},
			{"placements of messages that do not exist", "UPDATE placements SET message_id = 5 WHERE {a}uid = 2"},
			{"its folder does not exist", "UPDATE placements SET folder_id = 77 WHERE {a}uid = 2 AND vanished_at IS NULL AND folder_id = 1"},
			{"its folder has UIDVALIDITY", "UPDATE placements SET uidvalidity = 5 WHERE {a}uid = 2"},
			{"are never 0", "UPDATE placements SET uid = 0 WHERE {a}uid = 1 AND folder_id = 1"},
			{"has no bytes", "UPDATE placements SET held = 1, trouble = NULL WHERE {a}held = 0"},
			{"is held and in quarantine", "UPDATE placements SET trouble = 'x' WHERE {a}held = 1"},
			{"has no placement", "DELETE FROM placements WHERE {a}message_id = " + first},
			{"not what its placements say", "UPDATE messages SET flags = 31 WHERE {a}id = " + first},
			{"not what its placements say", "UPDATE messages SET body_state = 0 WHERE {a}id = " + first},
			{"not what its placements say", `UPDATE messages SET keywords = '["x"]' WHERE {a}id = ` + first},
			{"not what the log says", "UPDATE placements SET folder_id = 2, uid = 9 WHERE {a}message_id = " + first},
			{"not of the second it was received", "UPDATE messages SET received_at = 5 WHERE {a}id = " + first},
			{"not made from its fingerprint", "UPDATE messages SET fingerprint = public WHERE {a}id = " + first},
			{"has digest", "UPDATE messages SET raw_blob = NULL WHERE {a}id = " + first},
			{"share fingerprint and digest", "UPDATE messages SET fingerprint = (SELECT fingerprint FROM messages WHERE {a}id = " + first + "), digest = (SELECT digest FROM messages WHERE {a}id = " + first + ") WHERE {a}id = " + last},
			{"does not exist", "UPDATE messages SET raw_blob = 999 WHERE {a}id = " + first},
			{"does not exist", "UPDATE messages SET display_blob = 999 WHERE {a}id = " + first},
			{"bytes, not", "UPDATE messages SET size = 1 WHERE {a}id = " + first},
			{"address keys", "DELETE FROM message_addresses WHERE {a}message_id = " + first},
			{"address keys of messages that do not", "UPDATE message_addresses SET message_id = 4 WHERE {a}message_id = " + first},
			{"its row is of change", "UPDATE messages SET seq = 1 WHERE {a}id = " + first},
			{"is not in the log", "UPDATE messages SET public = fingerprint WHERE {a}id = " + first},
			{"has no row", "DELETE FROM messages WHERE {a}id = " + first},
			{"thread keys are damaged", "UPDATE messages SET thread_keys = fingerprint WHERE {a}id = " + first},
			{"one of its keys is of", "UPDATE messages SET thread_id = (SELECT MAX(id) FROM threads WHERE {a}1=1) WHERE {a}id = " + first},
			{"one of its thread keys is missing", "DELETE FROM thread_keys WHERE {a}thread_id = 1"},
			{"its thread row", "DELETE FROM threads WHERE {a}id = 1"},
			{"thread keys of threads that do not exist", "UPDATE thread_keys SET thread_id = 99 WHERE {a}thread_id = 1"},
			{"whose own id does not name them", "UPDATE threads SET public = (SELECT public FROM threads WHERE {a}id = 2) WHERE {a}id = 1"},
			{"the log says t", "UPDATE threads SET public = (SELECT public FROM threads WHERE {a}id = 2) WHERE {a}id = 1"},
			{"says", "UPDATE threads SET n = 7 WHERE {a}id = 1"},
			{"says", "UPDATE threads SET unread = 7 WHERE {a}id = 1"},
			{"says", "UPDATE threads SET starred = 7 WHERE {a}id = 1"},
			{"says", "UPDATE threads SET has_att = 7 WHERE {a}id = 1"},
			{"says", "UPDATE threads SET first_id = 7 WHERE {a}id = 1"},
			{"says", "UPDATE threads SET last_id = 7 WHERE {a}id = 1"},
			{"is of change", "UPDATE threads SET seq = 0 WHERE {a}id = 1"},
			{"has no message", "INSERT INTO threads({ai}id, public, first_id, last_id, n, unread, starred, has_att, seq) SELECT {ai}0 + 1000, public, 1, 1, 0, 0, 0, 0, 1 FROM threads WHERE {a}id = 1"},
			{"in folder row", "UPDATE thread_folders SET n = 9 WHERE {a}thread_id = 1"},
			{"in folder row", "UPDATE thread_folders SET last_id = 9 WHERE {a}thread_id = 1"},
			{"and no row there", "DELETE FROM thread_folders WHERE {a}thread_id = 1"},
			{"folders of threads that do not exist", "UPDATE thread_folders SET thread_id = 99 WHERE {a}thread_id = 1"},
		} {
			// Planted and checked in one transaction, which is then undone.
			undo := mail.E(mail.Refused, "test", "undo", nil)
			var found []Problem
			err := b.db.write(t.Context(), func(x *tx) error {
				if n, err := x.exec(t.Context(), c.q); err != nil || n == 0 {
					t.Errorf("%s: %d rows, %v", c.q, n, err)
					return undo
				}
				ch := &checker{ctx: t.Context(), m: b.Mailbox}
				if err := ch.run(x); err != nil {
					t.Errorf("%s: %v", c.q, err)
				}
				wrong, err := ch.wrongBlobs()
				if err == nil {
					err = ch.stillNamed(x, wrong)
				}
				if err != nil {
					t.Errorf("%s: %v", c.q, err)
				}
				found = ch.problems
				return undo
			})
			wantKind(t, err, mail.Refused)
			ok := false
			for _, f := range found {
				ok = ok || strings.Contains(f.What, c.want)
			}
			if !ok {
				t.Errorf("%s:\nnot found: %q\nfound: %v", c.q, c.want, found)
			}
		}

		// Threads that nothing connects.
		err := b.db.write(t.Context(), func(x *tx) error {
			for _, q := range []string{
				"UPDATE messages SET thread_id = 1 WHERE {a}1=1", "UPDATE thread_keys SET thread_id = 1 WHERE {a}1=1",
			} {
				if _, err := x.exec(t.Context(), q); err != nil {
					t.Error(err)
				}
			}
			ch := &checker{ctx: t.Context(), m: b.Mailbox}
			if err := ch.run(x); err != nil {
				t.Error(err)
			}
			for _, f := range ch.problems {
				if strings.Contains(f.What, "threads whose own id") || strings.Contains(f.What, "has no message") {
					return mail.E(mail.Refused, "test", "undo", nil)
				}
			}
			t.Errorf("found: %v", ch.problems)
			return mail.E(mail.Refused, "test", "undo", nil)
		})
		wantKind(t, err, mail.Refused)

		// A blob whose bytes are damaged.
		if err := b.db.blobs.write(t.Context(), func(x *tx) error {
			_, err := x.exec(t.Context(), "UPDATE chunks SET data = (SELECT data FROM chunks WHERE {a}id = (SELECT MAX(id) FROM chunks WHERE {a}1=1)) WHERE {a}id = (SELECT MIN(id) FROM chunks WHERE {a}1=1)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		found, err := b.Check(t.Context())
		if err != nil || len(found) != 1 || !strings.Contains(found[0].What, "cannot be read") {
			t.Errorf("damaged blob: %v %v", found, err)
		}
		if err := b.s.DeleteAccount(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCheckBesideDeletion: what is deleted while Check is under way takes its blobs along, and nothing is wrong with that.
func TestCheckBesideDeletion(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{New: []NewMessage{
			b.held(ref("INBOX", 1), letter{id: "a", day: 1, body: "one"}),
			b.held(ref("INBOX", 2), letter{id: "b", day: 2, body: "two"}),
		}})
		c := &checker{ctx: t.Context(), m: b.Mailbox}
		if err := b.db.read(t.Context(), c.run); err != nil {
			t.Fatal(err)
		}
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}})
		if _, err := b.Sweep(t.Context(), b.term, farFuture); err != nil {
			t.Fatal(err)
		}
		if err := c.checkBlobs(); err != nil || len(c.problems) > 0 {
			t.Errorf("%v %v", c.problems, err)
		}
		b.ok()
	})
}
