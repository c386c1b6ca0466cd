package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

func pageLimit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// Messages returns the newest messages that pass the filters, or the most relevant, and the cursor of the next page, 0 after
// the last.
//
// Each filter that an index serves in row order could drive the walk, and the others are then checked row by row; which
// one drives decides whether a page costs half a millisecond or seconds. In this order: the thread; metadata; a small folder; the
// rarer of the address filters when it is rare; a folder; an address; unread, starred or has-attachment; all messages. A
// filter with several values walks each and merges the walks.
func (m *Mailbox) Messages(ctx context.Context, q MessageQuery) ([]mail.Message, int64, error) {
	limit := pageLimit(q.Limit)
	var list []mail.Message
	var next int64
	err := m.db.read(ctx, func(t *tx) error {
		var rows []int64
		var err error
		if q.ByRelevance {
			rows, next, err = m.rankedRows(ctx, t, q, limit)
		} else if q.Search != nil {
			rows, next, err = m.searchRows(ctx, t, q, limit)
		} else if rows, err = (&messageFilter{ctx: ctx, t: t, m: m, q: q}).rows(limit + 1); len(rows) > limit {
			rows = rows[:limit]
			next = rows[limit-1]
		}
		if err != nil {
			return err
		}
		list, err = m.messagesByRow(ctx, t, rows)
		return err
	})
	return list, next, err
}

// condition is a piece of a WHERE clause.
type condition struct {
	sql  string
	args []any
}

type messageFilter struct {
	ctx context.Context
	t   *tx
	m   *Mailbox
	q   MessageQuery

	// Set by collect.
	conds     []condition // on messages m, but for thread, folders and addresses
	low, high int64       // [low, high)
	thread    int64
	folders   []int64
	inFolders int64
	addrs     []addressFilter
	tags      []int64 // of metadata
	indexed   string  // a condition that a partial index has
}

// addressFilter is one of From, To, Cc, Bcc and AnyEmail: any of the keys.
type addressFilter struct {
	keys  []int64
	count int64 // rows with these keys, at most rareAddress + 1
}

// rareAddress is up to how many messages a filter has before it is no longer the best one to walk.
const rareAddress = 2000

// smallFolder likewise.
const smallFolder = 2000

func (m *Mailbox) addressFilters(ctx context.Context, t *tx, from, to, cc, bcc, any []string) ([]addressFilter, error) {
	var list []addressFilter
	for field, emails := range [][]string{fieldFrom: from, fieldTo: to, fieldCc: cc, fieldBcc: bcc, 4: any} {
		if len(emails) == 0 {
			continue
		}
		var f addressFilter
		for _, e := range emails {
			if field < 4 {
				f.keys = append(f.keys, m.addressKey(field, clean(e)))
				continue
			}
			for any := range 4 {
				f.keys = append(f.keys, m.addressKey(any, clean(e)))
			}
		}
		f.keys = sortedSet(f.keys)
		for _, k := range f.keys {
			var n int64
			if err := t.row(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM message_addresses WHERE {a}key = ? LIMIT ?) AS found", k, rareAddress+1-f.count).Scan(&n); err != nil {
				return nil, err
			}
			if f.count += n; f.count > rareAddress {
				break
			}
		}
		list = append(list, f)
	}
	slices.SortStableFunc(list, func(x, y addressFilter) int { return cmp.Compare(x.count, y.count) })
	return list, nil
}

func placeholders(n int) string { return strings.Repeat("?, ", n-1) + "?" }

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// folderNums returns the rows of the folders with these ids, and how many placements they have in all.
func folderNums(ctx context.Context, t *tx, ids []mail.FolderID) (nums []int64, total int64, err error) {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = clean(string(id))
	}
	err = queryIn(ctx, t, "SELECT id, total FROM folders WHERE {a}public IN (??)", nil, sortedSet(list), func(r *sql.Rows) error {
		var n, c int64
		err := r.Scan(&n, &c)
		nums = append(nums, n)
		total += c
		return err
	})
	return nums, total, err
}

// subjectPattern is a LIKE pattern for a part of messages.subject_key.
func subjectPattern(s string) string {
	s = strings.ToLower(clean(s))
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s) + "%"
}

// rows returns the rows that pass, newest first.
func (f *messageFilter) rows(limit int) ([]int64, error) {
	if any, err := f.collect(); err != nil || !any {
		return nil, err
	}
	return f.page(f.high, limit)
}

// collect reads what the filters are about; false: nothing can pass.
func (f *messageFilter) collect() (bool, error) {
	q := &f.q
	add := func(sql string, args ...any) { f.conds = append(f.conds, condition{sql, args}) }

	f.low, f.high = 0, 1<<62
	if q.Before > 0 {
		f.high = q.Before
	}
	if !q.BeforeDate.IsZero() {
		f.high = min(f.high, rowAt(q.BeforeDate))
	}
	if !q.After.IsZero() {
		f.low = rowAt(q.After)
	}
	flag := func(want *bool, bit mail.Flags) string {
		switch {
		case want == nil:
			return ""
		case *want:
			return fmt.Sprintf("m.flags & %d <> 0", bit)
		}
		return fmt.Sprintf("m.flags & %d = 0", bit)
	}
	if q.Unread != nil {
		seen := !*q.Unread
		add(flag(&seen, mail.FlagSeen))
		if *q.Unread {
			f.indexed = "unread"
		}
	}
	if q.Starred != nil {
		add(flag(q.Starred, mail.FlagFlagged))
		if *q.Starred {
			f.indexed = "starred"
		}
	}
	if q.HasAttachment != nil {
		add(fmt.Sprintf("m.has_att = %d", bit(*q.HasAttachment)))
	}
	if q.Drafts != nil {
		add(flag(q.Drafts, mail.FlagDraft))
	}
	if q.IsDraft {
		add(fmt.Sprintf(`m.id IN (SELECT x.id FROM messages x WHERE {a:x}x.flags & %d <> 0
			UNION SELECT d.message_id FROM folders f JOIN placements d ON {a:d}d.folder_id = f.id WHERE {a:f}f.role = 'drafts')`, mail.FlagDraft))
	}
	if q.Subject != "" {
		add(`m.subject_key LIKE ? ESCAPE '\'`, subjectPattern(q.Subject))
	}
	var err error
	if q.Thread != "" {
		if f.thread, err = resolveThread(f.ctx, f.t, q.Thread); err != nil || f.thread == 0 {
			return false, err
		}
	}
	if len(q.Folders) > 0 {
		if f.folders, f.inFolders, err = folderNums(f.ctx, f.t, q.Folders); err != nil || len(f.folders) == 0 {
			return false, err
		}
	}
	if f.addrs, err = f.m.addressFilters(f.ctx, f.t, q.From, q.To, q.Cc, q.Bcc, q.AnyEmail); err != nil {
		return false, err
	}
	for _, a := range f.addrs {
		if a.count == 0 {
			return false, nil
		}
	}
	if f.tags = f.m.metadataKeys(q.Metadata); len(f.tags) < len(q.Metadata) {
		return false, mail.E(mail.Invalid, "list messages", "metadata can be searched by key1 to key5 only", nil)
	}
	return true, nil
}

func (f *messageFilter) folderCond() []condition {
	if f.folders == nil {
		return nil
	}
	return []condition{{"EXISTS(SELECT 1 FROM placements p WHERE {a:p}p.message_id = m.id AND p.folder_id IN (" + placeholders(len(f.folders)) + "))", anys(f.folders)}}
}

func addressConds(list []addressFilter) (conds []condition) {
	for _, a := range list {
		conds = append(conds, condition{"EXISTS(SELECT 1 FROM message_addresses x WHERE {a:x}x.key IN (" + placeholders(len(a.keys)) + ") AND x.message_id = m.id)", anys(a.keys)})
	}
	return conds
}

func tagConds(keys []int64) (conds []condition) {
	for _, k := range keys {
		conds = append(conds, condition{"EXISTS(SELECT 1 FROM message_metadata y WHERE {a:y}y.key = ? AND y.message_id = m.id)", []any{k}})
	}
	return conds
}

// page returns the newest rows below high that pass.
func (f *messageFilter) page(high int64, limit int) ([]int64, error) {
	conds, low, folders, inFolders, addrs, tags, indexed := slices.Clone(f.conds), f.low, f.folders, f.inFolders, f.addrs, f.tags, f.indexed
	addFolders := func() { conds = append(conds, f.folderCond()...) }
	addAddrs := func(list []addressFilter) { conds = append(conds, addressConds(list)...) }
	if f.thread != 0 {
		addFolders()
		addAddrs(addrs)
		conds = append(conds, tagConds(tags)...)
		return f.walk("SELECT m.id FROM messages m WHERE {a:m}m.thread_id = ?", "m.id", []int64{f.thread}, conds, low, high, limit)
	}
	if len(tags) > 0 {
		addFolders()
		addAddrs(addrs)
		conds = append(conds, tagConds(tags[1:])...)
		return f.walk("SELECT y.message_id FROM message_metadata y JOIN messages m ON {a:m}m.id = y.message_id WHERE {a:y}y.key = ?", "y.message_id", tags[:1], conds, low, high, limit)
	}
	byFolder := folders != nil && (len(addrs) == 0 || inFolders <= smallFolder || addrs[0].count > rareAddress)
	if byFolder && indexed != "" {
		// A folder's few unread ones among many: the account's unread ones may be the shorter walk.
		var n int64
		if err := f.t.row(f.ctx, "SELECT "+indexed+" FROM state WHERE {a}1=1").Scan(&n); err != nil {
			return nil, err
		}
		byFolder = inFolders <= n
	}
	switch {
	case byFolder:
		addAddrs(addrs)
		if len(conds) == 0 {
			return f.walk("SELECT DISTINCT p.message_id FROM placements p WHERE {a:p}p.folder_id = ?", "p.message_id", folders, conds, low, high, limit)
		}
		return f.walk("SELECT DISTINCT p.message_id FROM placements p JOIN messages m ON {a:m}m.id = p.message_id WHERE {a:p}p.folder_id = ?",
			"p.message_id", folders, conds, low, high, limit)
	case len(addrs) > 0:
		addFolders()
		addAddrs(addrs[1:])
		if len(conds) == 0 {
			return f.walk("SELECT x.message_id FROM message_addresses x WHERE {a:x}x.key = ?", "x.message_id", addrs[0].keys, conds, low, high, limit)
		}
		return f.walk("SELECT x.message_id FROM message_addresses x JOIN messages m ON {a:m}m.id = x.message_id WHERE {a:x}x.key = ?",
			"x.message_id", addrs[0].keys, conds, low, high, limit)
	}
	addFolders()
	return f.walk("SELECT m.id FROM messages m WHERE {a:m}? = 0", "m.id", []int64{0}, conds, low, high, limit)
}

// walk runs the query once for each driving value and merges the rows, newest first and each once.
func (f *messageFilter) walk(q, id string, driving []int64, conds []condition, low, high int64, limit int) ([]int64, error) {
	q += " AND " + id + " >= ? AND " + id + " < ?"
	args := []any{nil, low, high}
	for _, c := range conds {
		q += " AND " + c.sql
		args = append(args, c.args...)
	}
	q += " ORDER BY " + id + " DESC LIMIT ?"
	args = append(args, limit)
	var rows []int64
	for _, d := range driving {
		args[0] = d
		if err := each(f.ctx, f.t, q, args, func(r *sql.Rows) error {
			var n int64
			err := r.Scan(&n)
			rows = append(rows, n)
			return err
		}); err != nil {
			return nil, fmt.Errorf("list messages: %w", err)
		}
	}
	if len(driving) > 1 {
		rows = sortedSet(rows)
		slices.Reverse(rows)
	}
	if len(rows) > limit {
		rows = rows[:limit]
	}
	return rows, nil
}

const messageColumns = `id, public, thread_id, received_at, sent_at, header_id, in_reply_to, refs, subject, addresses, snippet, flags, keywords, size,
	parts, has_att, metadata, body_state, trouble, partial, seq`

func scanMessage(r *sql.Rows) (m mail.Message, thread int64, err error) {
	var public, addrs, parts sql.RawBytes
	var received int64
	var sent sql.NullInt64
	var headerID, inReplyTo, refs, keywords, trouble, metadata sql.NullString
	err = r.Scan(&m.Row, &public, &thread, &received, &sent, &headerID, &inReplyTo, &refs, &m.Subject, &addrs, &m.Snippet, &m.Flags, &keywords, &m.Size,
		&parts, &m.ListedAsAttached, &metadata, &m.Body, &trouble, &m.Partial, &m.Seq)
	if err != nil {
		return m, 0, err
	}
	m.ID = publicID(public).id()
	m.Date, m.Sent = time.UnixMilli(received).UTC(), fromMillis(sent)
	m.HeaderMessageID, m.HeaderInReplyTo, m.Trouble = headerID.String, inReplyTo.String, trouble.String
	if m.References, err = parseList[string](refs); err != nil {
		return m, 0, err
	}
	if m.Keywords, err = parseList[string](keywords); err != nil {
		return m, 0, err
	}
	if addrs != nil {
		var a addresses
		if err := json.Unmarshal(addrs, &a); err != nil {
			return m, 0, err
		}
		m.From, m.To, m.Cc, m.Bcc, m.ReplyTo, m.Sender = a.From, a.To, a.Cc, a.Bcc, a.ReplyTo, a.Sender
	}
	if metadata.Valid {
		if err := json.Unmarshal([]byte(metadata.String), &m.Metadata); err != nil {
			return m, 0, err
		}
	}
	if parts != nil {
		err = json.Unmarshal(parts, &m.Attachments)
	}
	return m, thread, err
}

// messagesByRow reads messages in the order of rows.
func (m *Mailbox) messagesByRow(ctx context.Context, t *tx, rows []int64) ([]mail.Message, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	list := make([]mail.Message, 0, len(rows))
	threads := map[int64][]int{}
	err := queryIn(ctx, t, "SELECT "+messageColumns+" FROM messages WHERE {a}id IN (??)", nil, slices.Clone(rows), func(r *sql.Rows) error {
		msg, th, err := scanMessage(r)
		threads[th] = append(threads[th], len(list))
		list = append(list, msg)
		return err
	})
	if err != nil {
		return nil, err
	}
	folders, err := m.foldersOf(ctx, t, rows)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Folders = folders[list[i].Row]
	}
	err = queryIn(ctx, t, "SELECT id, public FROM threads WHERE {a}id IN (??)", nil, sortedKeys(threads), func(r *sql.Rows) error {
		var num int64
		var public sql.RawBytes
		if err := r.Scan(&num, &public); err != nil {
			return err
		}
		id := threadID(public)
		for _, i := range threads[num] {
			list[i].Thread = id
		}
		return nil
	})
	at := make(map[int64]int, len(rows))
	for i, row := range rows {
		at[row] = i
	}
	slices.SortFunc(list, func(x, y mail.Message) int { return cmp.Compare(at[x.Row], at[y.Row]) })
	return list, err
}

// foldersOf returns the folders of messages, ascending, each once.
func (m *Mailbox) foldersOf(ctx context.Context, t *tx, rows []int64) (map[int64][]mail.FolderID, error) {
	type pair struct{ row, folder int64 }
	pairs := make([]pair, 0, len(rows))
	seen := map[int64]bool{}
	err := queryIn(ctx, t, "SELECT DISTINCT message_id, folder_id FROM placements WHERE {a}message_id IN (??)", nil, slices.Clone(rows), func(r *sql.Rows) error {
		var p pair
		err := r.Scan(&p.row, &p.folder)
		pairs = append(pairs, p)
		seen[p.folder] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := m.names.all(ctx, t, sortedKeys(seen)...)
	if err != nil {
		return nil, err
	}
	out := make(map[int64][]mail.FolderID, len(rows))
	for _, p := range pairs {
		out[p.row] = append(out[p.row], names[p.folder])
	}
	for _, l := range out {
		slices.Sort(l)
	}
	return out, nil
}

// rowOf returns the row of a message, NotFound if it does not exist.
func rowOf(ctx context.Context, t *tx, id mail.MessageID) (int64, error) {
	var row int64
	if public, ok := parseMessageID(id); ok {
		err := t.row(ctx, "SELECT id FROM messages WHERE {a}public = ?", public[:]).Scan(&row)
		if err == nil || err != sql.ErrNoRows {
			return row, err
		}
	}
	return 0, mail.E(mail.NotFound, "read a message", "this message does not exist", nil)
}

// Message returns one message, NotFound if it does not exist.
func (m *Mailbox) Message(ctx context.Context, id mail.MessageID) (mail.Message, error) {
	var msg mail.Message
	err := m.db.read(ctx, func(t *tx) error {
		row, err := rowOf(ctx, t, id)
		if err != nil {
			return err
		}
		list, err := m.messagesByRow(ctx, t, []int64{row})
		if err == nil {
			msg = list[0]
		}
		return err
	})
	return msg, err
}

// RawBlob returns where a message's bytes are, ID 0 while they are not held. NotFound: no such message.
func (m *Mailbox) RawBlob(ctx context.Context, id mail.MessageID) (BlobRef, error) {
	var ref BlobRef
	err := m.db.read(ctx, func(t *tx) error {
		row, err := rowOf(ctx, t, id)
		if err != nil {
			return err
		}
		var blob sql.NullInt64
		if err := t.row(ctx, "SELECT raw_blob, size FROM messages WHERE {a}id = ?", row).Scan(&blob, &ref.Size); err != nil {
			return err
		}
		if ref.ID = blob.Int64; ref.ID == 0 {
			ref.Size = 0
		}
		return nil
	})
	return ref, err
}

// OpenRaw opens a message's bytes, nil while they are not held. NotFound: no such message.
func (m *Mailbox) OpenRaw(ctx context.Context, id mail.MessageID) (io.ReadSeekCloser, error) {
	for lost := int64(0); ; {
		ref, err := m.RawBlob(ctx, id)
		if err != nil || ref.ID == 0 {
			return nil, err
		}
		r, err := m.OpenBlob(ctx, ref.ID)
		if !mail.IsKind(err, mail.NotFound) {
			return r, err
		}
		if ref.ID == lost {
			return nil, missingObject(err)
		}
		lost = ref.ID // or the message has other bytes since, or is gone
	}
}

// Sound tells whether what is stored of a message's body is whole; it reads all of it.
func (m *Mailbox) Sound(ctx context.Context, id mail.MessageID) (bool, error) {
	var raw, display sql.NullInt64
	err := m.db.read(ctx, func(t *tx) error {
		row, err := rowOf(ctx, t, id)
		if err != nil {
			return err
		}
		return t.row(ctx, "SELECT raw_blob, display_blob FROM messages WHERE {a}id = ?", row).Scan(&raw, &display)
	})
	if err != nil {
		return false, err
	}
	for _, blob := range []sql.NullInt64{raw, display} {
		if !blob.Valid {
			continue
		}
		if sound, err := m.soundBlob(ctx, blob.Int64); !sound || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (m *Mailbox) soundBlob(ctx context.Context, id int64) (bool, error) {
	r, err := m.OpenBlob(ctx, id)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if errors.Is(err, vault.ErrDamaged) || mail.IsKind(err, mail.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// maxDisplay bounds how much of a body Display returns.
const maxDisplay = 16 << 20

// Display returns what to show of messages' bodies; those that do not exist or are not held are missing from the result.
func (m *Mailbox) Display(ctx context.Context, ids ...mail.MessageID) (map[mail.MessageID]Display, error) {
	type blob struct {
		id   mail.MessageID
		ref  int64
		html bool
	}
	var blobs []blob
	var publics [][]byte
	for _, id := range ids {
		if p, ok := parseMessageID(id); ok {
			publics = append(publics, p[:])
		}
	}
	err := m.db.read(ctx, func(t *tx) error {
		return queryIn(ctx, t, "SELECT public, display_blob, display_html FROM messages WHERE {a}digest IS NOT NULL AND public IN (??)", nil, publics, func(r *sql.Rows) error {
			var public sql.RawBytes
			var b blob
			var ref sql.NullInt64
			if err := r.Scan(&public, &ref, &b.html); err != nil {
				return err
			}
			b.id, b.ref = publicID(public).id(), ref.Int64
			blobs = append(blobs, b)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var refs []int64
	for _, b := range blobs {
		if b.ref != 0 {
			refs = append(refs, b.ref)
		}
	}
	bodies, damaged, err := m.db.blobs.readAll(ctx, refs, maxDisplay)
	if err != nil {
		return nil, fmt.Errorf("read the bodies of messages: %w", err)
	}
	if len(bodies)+len(damaged) < len(sortedSet(refs)) { // deleted meanwhile, or lost
		if err := m.db.read(ctx, func(t *tx) error {
			return queryIn(ctx, t, "SELECT display_blob FROM messages WHERE {a}display_blob IS NOT NULL AND public IN (??)", nil, publics, func(r *sql.Rows) error {
				var ref int64
				err := r.Scan(&ref)
				if _, ok := bodies[ref]; !ok {
					damaged = append(damaged, ref)
				}
				return err
			})
		}); err != nil {
			return nil, err
		}
	}
	out := make(map[mail.MessageID]Display, len(blobs))
	for _, b := range blobs {
		body, ok := bodies[b.ref]
		if b.ref != 0 && !ok {
			if slices.Contains(damaged, b.ref) {
				out[b.id] = Display{Damaged: true}
			}
			continue // else deleted meanwhile
		}
		out[b.id] = Display{HTML: b.html, Body: string(body)}
	}
	return out, nil
}
