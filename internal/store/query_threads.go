package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

const (
	maxThreadMessages = 5000 // of one thread that are read: the newest
	maxParticipants   = 500
)

// resolveThread returns the row of the thread that an id names, 0 if there is none. Every id that was ever handed out is
// made from a key of the thread, whatever it was merged with since.
func resolveThread(ctx context.Context, t *tx, id mail.ThreadID) (int64, error) {
	key, ok := mime.ParseThreadID(string(id))
	if !ok {
		return 0, nil
	}
	var num int64
	err := t.row(ctx, "SELECT thread_id FROM thread_keys WHERE {a}key = ?", key[:]).Scan(&num)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	return num, err
}

var errNoThread = mail.E(mail.NotFound, "read a thread", "this thread does not exist", nil)

// Thread returns one thread. Any id that was ever handed out for it, or for a thread that became part of it, names it.
// NotFound: there is none, or all its messages were deleted.
func (m *Mailbox) Thread(ctx context.Context, id mail.ThreadID) (mail.Thread, error) {
	var th mail.Thread
	err := m.db.read(ctx, func(t *tx) error {
		num, err := resolveThread(ctx, t, id)
		if err != nil {
			return err
		}
		if num == 0 {
			return errNoThread
		}
		list, err := m.threadsByNum(ctx, t, []int64{num})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return mail.E(mail.Internal, "read a thread", "", fmt.Errorf("a thread key names thread row %d, which does not exist", num))
		}
		th = list[0]
		return nil
	})
	return th, err
}

// MessagesOf returns all messages and drafts of a thread, the oldest first, also where Thread names the newest only. It fails as Thread
// does.
func (m *Mailbox) MessagesOf(ctx context.Context, id mail.ThreadID) (ids []mail.MessageID, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		num, err := resolveThread(ctx, t, id)
		if err != nil {
			return err
		}
		return each(ctx, t, "SELECT public FROM messages WHERE {a}thread_id = ? ORDER BY id", []any{num}, func(r *sql.Rows) error {
			var public sql.RawBytes
			err := r.Scan(&public)
			ids = append(ids, publicID(public).id())
			return err
		})
	})
	if err == nil && len(ids) == 0 {
		err = errNoThread
	}
	return ids, err
}

// Threads returns the threads that pass the filters, the one with the newest message first, and the cursor of the next
// page, 0 after the last.
func (m *Mailbox) Threads(ctx context.Context, q ThreadQuery) ([]mail.Thread, int64, error) {
	limit := pageLimit(q.Limit)
	var list []mail.Thread
	var next int64
	err := m.db.read(ctx, func(t *tx) error {
		var nums []int64
		if q.Search != nil {
			var err error
			if nums, next, err = m.searchThreads(ctx, t, q, limit); err != nil {
				return err
			}
		} else {
			hits, err := m.threadHits(ctx, t, q, nil, limit+1)
			if err != nil {
				return err
			}
			if len(hits) > limit {
				hits = hits[:limit]
				next = hits[limit-1].last
			}
			for _, h := range hits {
				nums = append(nums, h.num)
			}
		}
		var err error
		list, err = m.threadsByNum(ctx, t, nums)
		return err
	})
	return list, next, err
}

// threadHit is a thread that passes, and the row of its newest message.
type threadHit struct{ num, last int64 }

// threadHits returns the threads that pass, only those of among unless that is nil. Rare addresses drive the query; else it
// walks the folder or all threads, newest first.
func (m *Mailbox) threadHits(ctx context.Context, t *tx, q ThreadQuery, among []int64, limit int) ([]threadHit, error) {
	var conds []condition // on threads t
	add := func(sql string, args ...any) { conds = append(conds, condition{sql, args}) }
	if among != nil {
		list := slices.Clone(among)
		for n := 8; len(list) < n || len(list)&(len(list)-1) != 0; { // few sizes, so that prepared statements are reused
			list = append(list, list[len(list)-1])
		}
		add("t.id IN ("+placeholders(len(list))+")", anys(list)...)
	}
	counted := func(want *bool, col string) {
		if want != nil && *want {
			add("t." + col + " > 0")
		} else if want != nil {
			add("t." + col + " = 0")
		}
	}
	counted(q.Unread, "unread")
	counted(q.Starred, "starred")
	counted(q.HasAttachment, "has_att")
	low, high := int64(0), int64(1)<<62
	if q.Before > 0 {
		high = q.Before
	}
	if !q.BeforeDate.IsZero() {
		high = min(high, rowAt(q.BeforeDate))
	}
	if !q.After.IsZero() {
		low = rowAt(q.After)
	}
	if q.Subject != "" {
		add(`EXISTS(SELECT 1 FROM messages m WHERE {a:m}m.id = t.last_id AND m.subject_key LIKE ? ESCAPE '\')`, subjectPattern(q.Subject))
	}
	addrs, err := m.addressFilters(ctx, t, q.From, q.To, q.Cc, q.Bcc, q.AnyEmail)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		switch keys := placeholders(len(a.keys)); {
		case a.count == 0:
			return nil, nil
		case a.count <= rareAddress:
			add("t.id IN (SELECT m.thread_id FROM message_addresses x JOIN messages m ON {a:m}m.id = x.message_id WHERE {a:x}x.key IN ("+keys+"))", anys(a.keys)...)
		default:
			add("EXISTS(SELECT 1 FROM messages m JOIN message_addresses x ON {a:x}x.message_id = m.id AND x.key IN ("+keys+") WHERE {a:m}m.thread_id = t.id)", anys(a.keys)...)
		}
	}
	var folders []int64
	if len(q.Folders) > 0 {
		var inFolders int64
		if folders, inFolders, err = folderNums(ctx, t, q.Folders); err != nil || len(folders) == 0 {
			return nil, err
		}
		byAddress := len(addrs) > 0 && addrs[0].count <= rareAddress && inFolders > smallFolder
		if !byAddress {
			return threadWalk(ctx, t, "SELECT f.thread_id, f.last_id FROM thread_folders f JOIN threads t ON {a:t}t.id = f.thread_id WHERE {a:f}f.folder_id = ?",
				"f.last_id", folders, conds, low, high, limit)
		}
		add("EXISTS(SELECT 1 FROM thread_folders f WHERE {a:f}f.thread_id = t.id AND f.folder_id IN ("+placeholders(len(folders))+"))", anys(folders)...)
	}
	return threadWalk(ctx, t, "SELECT t.id, t.last_id FROM threads t WHERE {a:t}? = 0", "t.last_id", []int64{0}, conds, low, high, limit)
}

func threadWalk(ctx context.Context, t *tx, q, last string, driving []int64, conds []condition, low, high int64, limit int) ([]threadHit, error) {
	q += " AND " + last + " >= ? AND " + last + " < ?"
	args := []any{nil, low, high}
	for _, c := range conds {
		q += " AND " + c.sql
		args = append(args, c.args...)
	}
	q += " ORDER BY " + last + " DESC LIMIT ?"
	args = append(args, limit)
	var hits []threadHit
	for _, d := range driving {
		args[0] = d
		if err := each(ctx, t, q, args, func(r *sql.Rows) error {
			var h threadHit
			err := r.Scan(&h.num, &h.last)
			hits = append(hits, h)
			return err
		}); err != nil {
			return nil, fmt.Errorf("list threads: %w", err)
		}
	}
	if len(driving) > 1 {
		slices.SortFunc(hits, func(x, y threadHit) int { return cmp.Compare(y.last, x.last) })
		hits = slices.Compact(hits)
	}
	return hits[:min(len(hits), limit)], nil
}

// threadParts are what messages add to their thread, the oldest first. People are taken up as they are read: a header may name
// tens of thousands.
type threadParts struct {
	list             []threadPart
	people           []mail.Address
	known            map[string]bool
	subject, snippet string // of the last
	earliest         time.Time
}

type threadPart struct {
	row      int64
	id       mail.MessageID
	received time.Time
	flags    mail.Flags
}

func (p *threadParts) add(part threadPart, addrs []byte) error {
	p.list = append(p.list, part)
	if p.earliest.IsZero() || part.received.Before(p.earliest) {
		p.earliest = part.received
	}
	if addrs == nil || len(p.people) >= maxParticipants {
		return nil
	}
	var all addresses
	if err := json.Unmarshal(addrs, &all); err != nil {
		return err
	}
	for _, list := range [][]mail.Address{all.From, all.To, all.Cc, all.Bcc} {
		for _, a := range list {
			key := strings.ToLower(a.Email)
			if key != "" && !p.known[key] && len(p.people) < maxParticipants {
				p.known[key] = true
				p.people = append(p.people, a)
			}
		}
	}
	return nil
}

// threadsByNum reads threads in the order of nums.
func (m *Mailbox) threadsByNum(ctx context.Context, t *tx, nums []int64) ([]mail.Thread, error) {
	if len(nums) == 0 {
		return nil, nil
	}
	byNum := make(map[int64]*mail.Thread, len(nums))
	var small, large []int64
	err := queryIn(ctx, t, "SELECT "+threadRowColumns+" FROM threads WHERE {a}id IN (??)", nil, slices.Clone(nums), func(r *sql.Rows) error {
		var num, first, n, unread, starred, att, lost int64
		var public sql.RawBytes
		th := new(mail.Thread)
		if err := r.Scan(&num, &public, &first, &th.Row, &n, &unread, &starred, &att, &lost, &th.Seq); err != nil {
			return err
		}
		th.ID, th.Unread, th.Starred, th.HasAttachments = threadID(public), unread > 0, starred > 0, att > 0
		byNum[num] = th
		if n > 200 {
			large = append(large, num)
		} else {
			small = append(small, num)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	parts, err := readThreadParts(ctx, t, small, large)
	if err != nil {
		return nil, err
	}
	var rows []int64
	for _, p := range parts {
		for i := range p.list {
			rows = append(rows, p.list[i].row)
		}
	}
	where, err := readSides(ctx, t, rows)
	if err != nil {
		return nil, err
	}
	seen := map[int64][]*mail.Thread{}
	err = queryIn(ctx, t, "SELECT thread_id, folder_id FROM thread_folders WHERE {a}thread_id IN (??)", nil, slices.Clone(nums), func(r *sql.Rows) error {
		var num, folder int64
		err := r.Scan(&num, &folder)
		seen[folder] = append(seen[folder], byNum[num])
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := m.names.all(ctx, t, sortedKeys(seen)...)
	if err != nil {
		return nil, err
	}
	for folder, threads := range seen {
		for _, th := range threads {
			th.Folders = append(th.Folders, names[folder])
		}
	}
	out := make([]mail.Thread, 0, len(nums))
	for _, num := range nums {
		th := byNum[num]
		if th == nil {
			continue
		}
		slices.Sort(th.Folders)
		fillThread(th, parts[num], where)
		out = append(out, *th)
	}
	return out, nil
}

func readThreadParts(ctx context.Context, t *tx, small, large []int64) (map[int64]*threadParts, error) {
	parts := map[int64]*threadParts{}
	for _, num := range slices.Concat(small, large) {
		parts[num] = &threadParts{known: map[string]bool{}}
	}
	scan := func(r *sql.Rows) error {
		var num, received int64
		var public, addrs sql.RawBytes
		var p threadPart
		var subject, snippet string
		if err := r.Scan(&num, &p.row, &public, &received, &p.flags, &addrs, &subject, &snippet); err != nil {
			return err
		}
		p.id, p.received = publicID(public).id(), time.UnixMilli(received).UTC()
		parts[num].subject, parts[num].snippet = subject, snippet
		return parts[num].add(p, addrs)
	}
	const cols = "SELECT thread_id, id, public, received_at, flags, addresses, subject, snippet FROM messages WHERE {a}"
	if err := queryIn(ctx, t, cols+"thread_id IN (??) ORDER BY thread_id, id", nil, small, scan); err != nil {
		return nil, err
	}
	for _, num := range large {
		const newest = "id >= (SELECT MIN(id) FROM (SELECT id FROM messages WHERE {a}thread_id = ? ORDER BY id DESC LIMIT ?) AS newest)"
		if err := each(ctx, t, cols+"thread_id = ? AND "+newest+" ORDER BY id", []any{num, num, maxThreadMessages}, scan); err != nil {
			return nil, err
		}
		if len(parts[num].list) < maxThreadMessages {
			continue
		}
		var first int64
		if err := t.row(ctx, "SELECT received_at FROM messages WHERE {a}thread_id = ? ORDER BY id LIMIT 1", num).Scan(&first); err != nil {
			return nil, err
		}
		parts[num].earliest = time.UnixMilli(first).UTC()
	}
	return parts, nil
}

// sides tells from which side a message came: it was sent from this mailbox if it lies in a folder for sent mail, and
// received if it lies in any other, drafts aside: what lies among them is a draft.
type sides struct{ sent, received, draft bool }

func readSides(ctx context.Context, t *tx, rows []int64) (map[int64]sides, error) {
	roles := map[int64]mail.Role{}
	err := each(ctx, t, "SELECT id, role FROM folders WHERE {a}role IN ('sent', 'drafts')", nil, func(r *sql.Rows) error {
		var num int64
		var role mail.Role
		err := r.Scan(&num, &role)
		roles[num] = role
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]sides, len(rows))
	err = queryIn(ctx, t, "SELECT message_id, folder_id FROM placements WHERE {a}message_id IN (??)", nil, slices.Clone(rows), func(r *sql.Rows) error {
		var row, folder int64
		err := r.Scan(&row, &folder)
		s := out[row]
		switch roles[folder] {
		case mail.RoleSent:
			s.sent = true
		case mail.RoleDrafts:
			s.draft = true
		default:
			s.received = true
		}
		out[row] = s
		return err
	})
	return out, err
}

func fillThread(th *mail.Thread, parts *threadParts, where map[int64]sides) {
	th.Participants, th.Earliest = parts.people, parts.earliest
	for i := range parts.list {
		p := &parts.list[i]
		s := where[p.row]
		if p.flags&mail.FlagDraft != 0 || s.draft {
			th.Drafts = append(th.Drafts, p.id)
		} else {
			th.Messages = append(th.Messages, p.id)
			if s.received || !s.sent {
				th.LatestReceived = p.received
			}
			if s.sent {
				th.LatestSent = p.received
			}
		}
	}
	if n := len(parts.list); n > 0 {
		th.Latest, th.Subject, th.Snippet = parts.list[n-1].id, parts.subject, parts.snippet
	}
}

// Newest returns the newest message of each thread, in their order, without those that are gone since the threads were
// read.
func (m *Mailbox) Newest(ctx context.Context, ts []mail.Thread) ([]mail.Message, error) {
	rows := make([]int64, len(ts))
	for i, t := range ts {
		rows[i] = t.Row
	}
	var list []mail.Message
	err := m.db.read(ctx, func(t *tx) (err error) {
		list, err = m.messagesByRow(ctx, t, rows)
		return err
	})
	return list, err
}
