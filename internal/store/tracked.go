package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// track notes a message whose replies are to be told, before it goes out.
func track(ctx context.Context, t *tx, m mail.Message, how mail.Tracking) error {
	public, ok := parseMessageID(m.ID)
	if !ok || m.HeaderMessageID == "" {
		return mail.E(mail.Invalid, "track a message", "a message without Message-ID cannot be tracked", nil)
	}
	how.Label = clean(how.Label)
	options, err := json.Marshal(how)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO tracked({ai}header_id, public, options, replies) VALUES({av}?, ?, ?, 0) ON CONFLICT DO NOTHING",
		clean(m.HeaderMessageID), public[:], string(options))
	return err
}

// Tracking returns how those of the messages are tracked that are.
func (m *Mailbox) Tracking(ctx context.Context, ids ...mail.MessageID) (map[mail.MessageID]mail.Tracking, error) {
	var list [][]byte
	for _, id := range ids {
		if p, ok := parseMessageID(id); ok {
			list = append(list, p[:])
		}
	}
	out := map[mail.MessageID]mail.Tracking{}
	err := m.db.read(ctx, func(t *tx) error {
		return queryIn(ctx, t, "SELECT public, options FROM tracked WHERE {a}public IN (??)", nil, list, func(r *sql.Rows) error {
			var public sql.RawBytes
			var options string
			if err := r.Scan(&public, &options); err != nil {
				return err
			}
			var how mail.Tracking
			err := json.Unmarshal([]byte(options), &how)
			out[publicID(public).id()] = how
			return err
		})
	})
	return out, err
}

// tellReplies tells which of the new messages answer one that is tracked. Each counts once, for the tracked message that its
// In-Reply-To names, else for the last one in its References.
func (a *applier) tellReplies() error {
	if a.origin == mail.OriginInitial {
		return nil // they were there before us
	}
	names := map[string]bool{}
	for _, m := range a.order {
		for _, id := range a.answers(m) {
			names[id] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	type root struct {
		public  publicID
		replies int
	}
	roots := map[string]*root{}
	err := queryIn(a.ctx, a.t, "SELECT header_id, public, replies FROM tracked WHERE {a}header_id IN (??)", nil, sortedKeys(names), func(r *sql.Rows) error {
		var id string
		var public sql.RawBytes
		var x root
		err := r.Scan(&id, &public, &x.replies)
		copy(x.public[:], public)
		roots[id] = &x
		return err
	})
	if err != nil || len(roots) == 0 {
		return err
	}
	for _, m := range a.order {
		for _, id := range a.answers(m) {
			x := roots[id]
			if x == nil {
				continue
			}
			x.replies++
			if _, err := a.t.exec(a.ctx, "UPDATE tracked SET replies = ? WHERE {a}header_id = ?", x.replies, id); err != nil {
				return err
			}
			a.tell(mail.ThreadReplied, string(threadID(m.thread.public[:])), mail.ChangeData{From: string(m.public.id()), Root: x.public.id(), Count: x.replies}, nil)
			break
		}
	}
	return nil
}

// answers returns the Message-IDs that a new message answers, the nearest first.
func (a *applier) answers(m *messageRow) []string {
	if m.stored || m.void() || m.gone || m.draft || m.facts == nil {
		return nil
	}
	out := slices.Clone(m.facts.refs)
	if m.facts.inReplyTo != "" {
		out = append(out, m.facts.inReplyTo)
	}
	slices.Reverse(out)
	return out
}
