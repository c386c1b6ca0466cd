package syncer

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

const (
	// operationsAtOnce is how many operations are carried out together; those for one folder share commands.
	operationsAtOnce = 500
	// operationLife is how long an operation is tried before it fails.
	operationLife = 24 * time.Hour
	// refusedLife is how long one about a folder is tried that the server answers with a no of which it does not tell the reason.
	refusedLife = time.Hour
	// writerLife is how long the connection for operations is kept without any.
	writerLife = 5 * time.Minute
)

// Do stores an operation and returns it when it has ended, or as pending when ctx is done before; it then goes on without
// the caller. What became of it is in its State; the error is about storing it only.
func (e *Engine) Do(ctx context.Context, id mail.AccountID, op mail.Operation) (mail.Operation, error) {
	mbox, err := e.o.Store.Mailbox(ctx, id)
	if err != nil {
		return op, err
	}
	if op, err = mbox.AddOperation(ctx, op); err != nil {
		return op, fmt.Errorf("store the operation: %w", err)
	}
	e.mu.Lock()
	a := e.accounts[id]
	e.mu.Unlock()
	if a == nil {
		return op, nil // carried out when the account runs again
	}
	ended := a.await(op.ID)
	defer a.forget(op.ID)
	signal(a.ops)
	stored := context.WithoutCancel(ctx) // it is accepted, however late it is
	if now, err := mbox.Operation(stored, op.ID); err != nil || now.State != mail.OpPending {
		return now, err // it went along with others before we could wait for it
	}
	select {
	case <-ended:
	case <-ctx.Done():
	case <-a.stopped:
	}
	return mbox.Operation(stored, op.ID)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// await returns a channel that is closed when the operation has ended.
func (a *account) await(id string) <-chan struct{} {
	a.waitersMu.Lock()
	defer a.waitersMu.Unlock()
	c := make(chan struct{})
	a.waiters[id] = c
	return c
}

func (a *account) forget(id string) {
	a.waitersMu.Lock()
	defer a.waitersMu.Unlock()
	delete(a.waiters, id)
}

func (a *account) announce(id string) {
	a.waitersMu.Lock()
	defer a.waitersMu.Unlock()
	if c := a.waiters[id]; c != nil {
		close(c)
		delete(a.waiters, id)
	}
}

// interject carries out operations that wait, between two steps of longer work, and ends it when the connection was used long
// enough, or the server wants less of us. While others are being carried out they
// wait on: those pending would be begun a second time.
func (a *account) interject(ctx context.Context) error {
	if a.acting {
		return nil
	}
	if err := a.onDuty(); err != nil {
		return err
	}
	if err := a.slowDown(); err != nil {
		return err
	}
	if err := a.saveStatus(ctx); err != nil {
		return err
	}
	select {
	case <-a.ops:
		return a.serveOperations(ctx, nil)
	default:
		return nil
	}
}

// serveOperations carries out all operations that are due. spare is a connection that may be used if there is no room for
// another; nil if there is none.
func (a *account) serveOperations(ctx context.Context, spare *session) error {
	for {
		due, next, err := a.mbox.PendingOperations(ctx, operationsAtOnce)
		if err != nil {
			return fmt.Errorf("read the operations: %w", err)
		}
		a.opsNext = next
		if len(due) == 0 {
			return nil
		}
		s, err := a.writerOr(ctx, spare)
		if err != nil {
			for _, op := range due {
				if err := a.postpone(ctx, op, err); err != nil {
					return err
				}
			}
			continue
		}
		if s == nil {
			signal(a.ops) // no connection to spare now: soon
			return nil
		}
		if err := a.carryOut(ctx, s, due); err != nil {
			return err
		}
		a.writerUsed = a.e.o.Now()
		if s.Err() != nil {
			a.closeWriter()
			if s == spare {
				return s.Err()
			}
		}
	}
}

func (a *account) writerOr(ctx context.Context, spare *session) (*session, error) {
	if a.writer != nil && a.writer.Err() != nil {
		a.closeWriter()
	}
	if a.writer == nil {
		var err error
		if a.writer, err = a.tryOpen(ctx, nil); err != nil {
			return nil, err
		}
	}
	if a.writer == nil {
		return spare, nil
	}
	return a.writer, nil
}

// closeWriter gives back the connection for operations.
func (a *account) closeWriter() {
	if a.writer != nil {
		a.writer.close()
		a.writer = nil
	}
}

// carryOut carries out the first of the operations, and with it those that follow and can share its commands. What may be carried
// out next depends on whether these had to be postponed.
func (a *account) carryOut(ctx context.Context, s *session, ops []mail.Operation) error {
	a.acting = true
	defer func() { a.acting = false }()
	n := 0
	for n < len(ops) && aboutMessages(ops[n].Kind) {
		n++
	}
	if n > 0 {
		return a.changeMessages(ctx, s, ops[:n])
	}
	return a.alone(ctx, s, ops[0])
}

// alone carries out one operation that shares nothing with others.
func (a *account) alone(ctx context.Context, s *session, op mail.Operation) error {
	var err error
	switch op.Kind {
	case mail.OpFile, mail.OpLook:
		err = a.fileCopy(ctx, s, &op)
	case mail.OpFetch:
		err = a.fetchContent(ctx, s, op)
	case mail.OpDraftSave, mail.OpDraftDelete:
		err = a.changeDraft(ctx, s, &op)
	case mail.OpFolderCreate:
		op.Folder, err = a.createFolder(ctx, s, &op)
	case mail.OpFolderRename:
		err = a.renameFolder(ctx, s, &op)
	case mail.OpFolderDelete:
		err = a.deleteFolder(ctx, s, op)
	default:
		err = mail.E(mail.Invalid, "operate", "no such kind of operation", nil)
	}
	if err != nil {
		return a.postpone(ctx, op, err)
	}
	return a.end(ctx, op, 0, "")
}

func aboutMessages(k mail.OpKind) bool {
	return k == mail.OpUpdate || k == mail.OpTrash || k == mail.OpRemove || k == mail.OpPurge
}

func aboutFolders(k mail.OpKind) bool {
	return k == mail.OpFolderCreate || k == mail.OpFolderRename || k == mail.OpFolderDelete
}

// end writes how an operation ended and tells whoever waits for it.
func (a *account) end(ctx context.Context, op mail.Operation, why mail.Kind, reason string) error {
	op.State, op.Why, op.Reason = mail.OpDone, why, reason
	if reason != "" {
		op.State = mail.OpFailed
		a.log.Warn("operation failed", "op", "operate", "operation", op.ID, "kind", string(op.Kind), "reason", reason)
	}
	if err := a.mbox.PutOperation(ctx, a.term, op); err != nil {
		return fmt.Errorf("store the end of an operation: %w", err)
	}
	a.announce(op.ID)
	return nil
}

// postpone leaves an operation for later, or ends it when the cause will not pass or it has been tried long enough.
func (a *account) postpone(ctx context.Context, op mail.Operation, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	class := imap.ClassOf(cause)
	now := a.e.o.Now()
	switch {
	case mail.IsKind(cause, mail.NotFound), mail.IsKind(cause, mail.Conflict), mail.IsKind(cause, mail.Refused), mail.IsKind(cause, mail.Invalid):
		return a.end(ctx, op, mail.KindOf(cause), cause.Error())
	case class == imap.Permanent || class == imap.AuthFailed:
		return a.end(ctx, op, mail.Refused, "the mail server refused it")
	case class == imap.Transient && aboutFolders(op.Kind) && now.Sub(op.CreatedAt) > refusedLife:
		return a.end(ctx, op, mail.Refused, "the mail server refused it for an hour and did not say why")
	case now.Sub(op.CreatedAt) > operationLife:
		return a.end(ctx, op, mail.Unavailable, "it could not be done at the mail server within a day")
	}
	b := backoff{failures: op.Attempts}
	op.Attempts++
	op.NextTry = now.Add(b.next(mail.Unavailable, 0, 0))
	op.Reason = "the mail server could not do it yet"
	a.log.Warn("operation postponed", "op", "operate", "operation", op.ID, "kind", string(op.Kind), "next_try", op.NextTry, "err", cause)
	if err := a.mbox.PutOperation(ctx, a.term, op); err != nil {
		return fmt.Errorf("postpone an operation: %w", err)
	}
	if a.opsNext.IsZero() || op.NextTry.Before(a.opsNext) {
		a.opsNext = op.NextTry
	}
	return nil
}
