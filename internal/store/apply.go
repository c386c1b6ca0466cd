package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// Apply stores a batch and the changes it makes, in one transaction or not at all. Applying a batch again changes
// nothing.
//
// Every object that looks different to applications afterwards gets exactly one Change, which tells its state after the
// batch; numbers are given out under the account's lock, so whoever reads a Seq has all before it.
//
// A vanished placement goes on counting for its message (folders, flags, threads) until it is swept, or until a copy of
// the message turns up, which replaces all its vanished placements. It does not count for its folder: Total and Unread
// are what the server shows.
//
// It fails with Fenced if the batch's Term is not the last one that NextTerm gave out, with Invalid for a batch that
// makes no sense, and with Conflict if a new placement or a cursor names a folder that is not stored or another
// UIDVALIDITY than the folder's.
func (m *Mailbox) Apply(ctx context.Context, b Batch) (Result, error) {
	var res Result
	var state *mail.SyncStatus
	var freed []int64
	var from, to int64
	err := m.db.write(ctx, func(t *tx) error {
		a, err := m.begin(ctx, t, b.Term, b.Origin)
		if err != nil {
			return err
		}
		state = cleanState(b.State)
		res, err = a.apply(b, state)
		freed, from, to = a.freed, a.stWas.messages, a.st.messages
		return err
	})
	if err != nil {
		return Result{}, err
	}
	m.told(res)
	m.free(ctx, freed)
	m.refreshStatistics(ctx, from, to)
	if state != nil && m.mirror != nil {
		if err := m.mirror(ctx, *state); err != nil {
			return res, fmt.Errorf("copy the account's status to the control store: %w", err)
		}
	}
	return res, nil
}

// told wakes whoever reads the change log.
func (m *Mailbox) told(res Result) {
	if res.Changes > 0 && m.hint != nil {
		m.hint()
	}
}

// free removes the blobs of deleted messages. If it fails, they are garbage, which CollectGarbage removes.
func (m *Mailbox) free(ctx context.Context, blobs []int64) {
	if len(blobs) == 0 {
		return
	}
	if err := m.db.blobs.free(ctx, blobs); err != nil && m.log != nil {
		m.log.Warn("blobs of deleted messages wait for the garbage collection", "account", m.id, "op", "free blobs", "err", err)
	}
}

// refreshStatistics makes PostgreSQL look at the tables again when an account that was small has grown and they have no
// statistics that could know it. Without any, the planner takes every account for a two-hundredth of the table and reads
// all of it where it should look up keys: measured, ten times the time of an initial sync. Later autovacuum keeps them current.
func (m *Mailbox) refreshStatistics(ctx context.Context, from, to int64) {
	if m.db.texts.d != postgres || !slices.ContainsFunc([]int64{500, 5000, 50000}, func(n int64) bool { return from < n && n <= to }) {
		return
	}
	err := m.db.write(ctx, func(t *tx) error {
		var known float64
		if err := t.c.QueryRowContext(ctx, "SELECT reltuples FROM pg_class WHERE oid = 'messages'::regclass").Scan(&known); err != nil || known >= float64(to)/2 {
			return err
		}
		_, err := t.c.ExecContext(ctx, "ANALYZE messages, message_addresses, placements, threads, thread_folders, thread_keys")
		return err
	})
	if err != nil && m.log != nil { // a matter of speed only
		m.log.Warn("table statistics were not refreshed", "account", m.id, "op", "analyze", "err", err)
	}
}

// NextTerm begins a new right to act for the account: whoever holds an older one can no longer write.
func (m *Mailbox) NextTerm(ctx context.Context) (mail.Term, error) {
	var term mail.Term
	err := m.db.write(ctx, func(t *tx) error {
		return t.row(ctx, "UPDATE state SET term = term + 1 WHERE {a}1=1 RETURNING term").Scan(&term)
	})
	return term, err
}

// applier is one writing transaction on a mailbox: the part of it that the batch is about, in memory. Rows are read
// once, changed here, and written back once.
type applier struct {
	ctx    context.Context
	t      *tx
	m      *Mailbox
	origin mail.Origin
	now    time.Time

	st    stateRow
	stWas stateRow

	folders     map[mail.FolderID]*folderRow
	folderByNum map[int64]*folderRow // those in folders that have a row
	folderOrder []*folderRow
	names       map[int64]mail.FolderID // of the folder rows that were there before

	messages   map[int64]*messageRow // by row, those that are stored
	byPublic   map[publicID]*messageRow
	plainIDs   map[[16]byte]publicID
	splits     map[[16]byte]bool // fingerprints with a split message
	order      []*messageRow     // in order of appearance
	placements map[placementKey]*placementRow
	plOrder    []*placementRow

	threads map[int64]*threadRow

	merges  []merge
	keyRows map[[12]byte]*keyRow // those asked for; nil: there is none
	anchors map[mime.ThreadKey]*anchor
	apart   []int64   // threads that are taken apart, sorted
	oldKeys []rehomed // keys of theirs
	newKeys []newKey
	reports []report
	changes []mail.Change
	freed   []int64 // blobs of deleted messages, to be removed after the commit
}

type stateRow struct {
	term                        mail.Term
	seq, nextFolder, nextThread int64
	messages, unread, starred   int64
	held                        int64
	placements, unheld          int64
	vanished                    int64
	sync                        *mail.SyncStatus
	syncDone                    bool
}

// begin reads the account's state and refuses an outdated term.
func (m *Mailbox) begin(ctx context.Context, t *tx, term mail.Term, origin mail.Origin) (*applier, error) {
	s, err := readState(ctx, t)
	if err != nil {
		return nil, err
	}
	if term != s.term {
		return nil, mail.E(mail.Fenced, "write to the mailbox", fmt.Sprintf("term %d was followed by term %d", term, s.term), nil)
	}
	return &applier{ctx: ctx, t: t, m: m, origin: origin, now: m.now(), st: s, stWas: s,
		folders: map[mail.FolderID]*folderRow{}, folderByNum: map[int64]*folderRow{},
		messages: map[int64]*messageRow{}, byPublic: map[publicID]*messageRow{}, plainIDs: map[[16]byte]publicID{}, splits: map[[16]byte]bool{},
		placements: map[placementKey]*placementRow{}, threads: map[int64]*threadRow{}}, nil
}

func readState(ctx context.Context, t *tx) (s stateRow, err error) {
	var sync *string
	err = t.row(ctx, `SELECT term, seq, next_folder, next_thread, messages, unread, starred, held, placements, unheld, vanished, sync, sync_done
		FROM state WHERE {a}1=1`).Scan(&s.term, &s.seq, &s.nextFolder, &s.nextThread, &s.messages, &s.unread, &s.starred, &s.held,
		&s.placements, &s.unheld, &s.vanished, &sync, &s.syncDone)
	if err != nil {
		return s, fmt.Errorf("read the account's state: %w", err)
	}
	if sync != nil {
		s.sync = new(mail.SyncStatus)
		if err := json.Unmarshal([]byte(*sync), s.sync); err != nil {
			return s, fmt.Errorf("read the account's status: %w", err)
		}
	}
	return s, nil
}

func (a *applier) apply(b Batch, state *mail.SyncStatus) (Result, error) {
	if err := a.loadFolders(b); err != nil {
		return Result{}, err
	}
	if err := a.upsertFolders(b.Folders, b.OutOfView); err != nil {
		return Result{}, err
	}
	if err := a.renewFolders(b.Renewed, b.OutOfView); err != nil {
		return Result{}, err
	}
	if err := a.removeFolders(b.GoneFolders); err != nil {
		return Result{}, err
	}
	if err := a.unlabel(b.Unlabelled); err != nil {
		return Result{}, err
	}
	if err := a.checkGenerations(b); err != nil {
		return Result{}, err
	}
	if err := a.load(b); err != nil {
		return Result{}, err
	}
	a.vanish(b.Vanished, a.now.UnixMicro())
	a.vanish(b.Removed, 1)
	a.updateFlags(b.Flags)
	if err := a.addNew(b.New); err != nil {
		return Result{}, err
	}
	if err := a.addBodies(b.Bodies); err != nil {
		return Result{}, err
	}
	if err := a.restore(b.Restored); err != nil {
		return Result{}, err
	}
	a.quarantine(b.Quarantine)
	a.moveCursors(b.Cursors)
	if err := a.settle(); err != nil {
		return Result{}, err
	}
	if err := a.tellBounces(); err != nil {
		return Result{}, err
	}
	if err := a.tellReplies(); err != nil {
		return Result{}, err
	}
	a.tellGoneFolders()
	if state != nil {
		old := a.st.sync
		a.st.sync = state
		if old == nil || old.State != state.State || old.Reason != state.Reason || old.Action != state.Action {
			a.tell(mail.AccountState, "", mail.ChangeData{State: state.State, Reason: state.Reason, Action: state.Action}, nil)
		}
	}
	if g := b.Gap; g != nil {
		a.tell(mail.SyncGap, "", mail.ChangeData{Reason: clean(g.Reason), Since: g.Since.Unix(), Until: g.Until.Unix()}, nil)
	}
	if b.Done && !a.st.syncDone {
		a.st.syncDone = true
		a.tell(mail.SyncDone, "", mail.ChangeData{}, nil)
	}
	if b.Memory != nil {
		if _, err := a.t.exec(a.ctx, "UPDATE state SET memory = ? WHERE {a}1=1", string(b.Memory)); err != nil {
			return Result{}, err
		}
	}
	if err := a.write(); err != nil {
		return Result{}, err
	}
	res := Result{Seq: mail.Seq(a.st.seq), Changes: len(a.changes), IDs: make(map[PlacementRef]mail.MessageID, len(b.New))}
	for _, n := range b.New {
		if p := a.find(n.PlacementRef); p != nil && !p.removed {
			res.IDs[n.PlacementRef] = p.msg.public.id()
		}
	}
	return res, nil
}

// settle works out, after all placements are what they will be, what that makes of messages and threads, and tells it.
func (a *applier) settle() error {
	if err := a.findAnchors(); err != nil {
		return err
	}
	for _, m := range a.order {
		m.settle()
	}
	if err := a.giveRows(); err != nil {
		return err
	}
	if err := a.pairLone(); err != nil {
		return err
	}
	if err := a.loadNames(); err != nil {
		return err
	}
	if err := a.thread(); err != nil {
		return err
	}
	a.tellMessages()
	return nil
}

// tell notes a change; done is called with its number.
func (a *applier) tell(kind mail.ChangeKind, object string, data mail.ChangeData, done func(mail.Seq)) {
	a.st.seq++
	seq := mail.Seq(a.st.seq)
	a.changes = append(a.changes, mail.Change{Seq: seq, At: a.now, Kind: kind, Origin: a.origin, Object: object, Data: data})
	if done != nil {
		done(seq)
	}
}

// tellMessages notes one change for each message that looks different, oldest message first.
func (a *applier) tellMessages() {
	list := slices.Clone(a.order)
	slices.SortFunc(list, func(x, y *messageRow) int { return cmp.Compare(x.row, y.row) })
	for _, m := range list {
		if m.void() {
			continue
		}
		kind := mail.MessageUpdated
		data := mail.ChangeData{Thread: threadID(m.thread.public[:]), Flags: m.flags, Keywords: m.keywords}
		switch {
		case m.gone:
			kind, data = mail.MessageDeleted, mail.ChangeData{Thread: data.Thread, Row: m.row}
		case !m.stored:
			kind = mail.MessageCreated
		case !m.looksDifferent():
			continue
		}
		if !m.gone {
			for _, f := range m.folders {
				data.Folders = append(data.Folders, a.nameOf(f))
			}
			slices.Sort(data.Folders)
		}
		a.tell(kind, string(m.public.id()), data, func(s mail.Seq) {
			m.seq = int64(s)
			m.thread.seq = max(m.thread.seq, int64(s))
			m.thread.dirty = true
		})
	}
}

// write stores what has changed. There is no order among the tables that readers could notice.
func (a *applier) write() error {
	for _, step := range []func() error{a.writeMerges, a.writeMessages, a.writePlacements, a.writeLabels, a.writeThreads, a.writeFolders, a.writeChanges, a.writeState} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) writeChanges() error {
	rows := make([][]any, len(a.changes))
	for i, c := range a.changes {
		data, err := json.Marshal(c.Data)
		if err != nil {
			return err
		}
		rows[i] = []any{int64(c.Seq), c.At.UnixMilli(), int64(c.Kind), int64(c.Origin), c.Object, string(data)}
	}
	return a.t.insertMany(a.ctx, "changes", []string{"seq", "at", "kind", "origin", "object", "data"}, rows, "")
}

func (a *applier) writeState() error {
	s := &a.st
	if *s == a.stWas {
		return nil
	}
	var sync any
	if s.sync != nil {
		b, err := json.Marshal(s.sync)
		if err != nil {
			return err
		}
		sync = string(b)
	}
	_, err := a.t.exec(a.ctx, `UPDATE state SET seq=?, next_folder=?, next_thread=?, messages=?, unread=?, starred=?, held=?, placements=?, unheld=?,
		vanished=?, sync=?, sync_done=? WHERE {a}1=1`, s.seq, s.nextFolder, s.nextThread, s.messages, s.unread, s.starred, s.held, s.placements,
		s.unheld, s.vanished, sync, bit(s.syncDone))
	return err
}

func cleanState(s *mail.SyncStatus) *mail.SyncStatus {
	if s == nil {
		return nil
	}
	c := *s
	c.State, c.Reason, c.Action = mail.State(clean(string(c.State))), clean(c.Reason), clean(c.Action)
	return &c
}
