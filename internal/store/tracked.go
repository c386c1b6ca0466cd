package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

const (
	// maxVisits is how many visits to one message are told: programs that look at links again and again are no news.
	maxVisits = 1000
	// lastVisits is of how many more is known than that they were.
	lastVisits = 20
	maxAgent   = 512
)

// track notes a message that is to be tracked, before it goes out.
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
	_, err = t.exec(ctx, "INSERT INTO tracked({ai}header_id, public, options, replies, token) VALUES({av}?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
		clean(m.HeaderMessageID), public[:], string(options), text(how.Token))
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

// Visits returns what is known of the visits to a message.
func (m *Mailbox) Visits(ctx context.Context, id mail.MessageID) (v mail.Visits, err error) {
	public, _ := parseMessageID(id)
	var data sql.NullString
	err = m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT visits FROM tracked WHERE {a}public = ?", public[:]).Scan(&data)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return v, nil
	}
	if err == nil && data.Valid {
		err = json.Unmarshal([]byte(data.String), &v)
	}
	return v, err
}

// Visit tells that the tracked message of a token was opened, or that one of its links was followed, and returns where that
// leads. NotFound: there is no such message or link.
func (m *Mailbox) Visit(ctx context.Context, token string, visit mail.Visit) (url string, err error) {
	const op = "find what was visited"
	visit.IP, visit.Agent, visit.At = clean(visit.IP), clean(visit.Agent[:min(len(visit.Agent), maxAgent)]), m.now().UTC().Truncate(time.Second)
	var res Result
	err = m.db.write(ctx, func(t *tx) error {
		var b sql.RawBytes
		var public publicID
		var options string
		var data sql.NullString
		err := each(ctx, t, "SELECT public, options, visits FROM tracked WHERE {a}token = ?", []any{clean(token)}, func(r *sql.Rows) error {
			err := r.Scan(&b, &options, &data)
			copy(public[:], b)
			return err
		})
		if err != nil {
			return err
		}
		if options == "" {
			return mail.E(mail.NotFound, op, "", nil)
		}
		var how mail.Tracking
		var seen mail.Visits
		if err := json.Unmarshal([]byte(options), &how); err != nil {
			return err
		}
		if data.Valid {
			if err := json.Unmarshal([]byte(data.String), &seen); err != nil {
				return err
			}
		}
		kind, count, total := mail.MessageOpened, &seen.Opens, seen.Opens
		for _, n := range seen.Clicks {
			total += n
		}
		if visit.Link != 0 {
			if visit.Link < 0 || visit.Link > len(how.URLs) {
				return mail.E(mail.NotFound, op, "", nil)
			}
			for len(seen.Clicks) < len(how.URLs) {
				seen.Clicks = append(seen.Clicks, 0)
			}
			kind, count, url = mail.LinkClicked, &seen.Clicks[visit.Link-1], how.URLs[visit.Link-1]
		} else if !how.Opens {
			return mail.E(mail.NotFound, op, "", nil)
		}
		if total >= maxVisits {
			return nil
		}
		*count++
		seen.Last = append(seen.Last, visit)
		seen.Last = seen.Last[max(len(seen.Last)-lastVisits, 0):]
		now, err := json.Marshal(seen)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE tracked SET visits = ? WHERE {a}token = ?", string(now), clean(token)); err != nil {
			return err
		}
		res, err = m.tell(ctx, t, kind, string(public.id()), mail.ChangeData{Count: *count, Link: visit.Link})
		return err
	})
	if err == nil && res.Changes > 0 {
		m.told(res)
	}
	return url, err
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
	err := queryIn(a.ctx, a.t, "SELECT header_id, public, options, replies FROM tracked WHERE {a}header_id IN (??)", nil, sortedKeys(names), func(r *sql.Rows) error {
		var id, options string
		var public sql.RawBytes
		var x root
		if err := r.Scan(&id, &public, &options, &x.replies); err != nil {
			return err
		}
		copy(x.public[:], public)
		var how mail.Tracking
		err := json.Unmarshal([]byte(options), &how)
		if how.Replies {
			roots[id] = &x
		}
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
