package store

import (
	"context"
	"errors"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

var errTodo = errors.New("not written yet")

func (m *Mailbox) Apply(ctx context.Context, b Batch) (Result, error) { return Result{}, errTodo }
func (m *Mailbox) Sweep(ctx context.Context, term mail.Term, before time.Time) (Result, error) {
	return Result{}, errTodo
}
func (m *Mailbox) NextTerm(ctx context.Context) (mail.Term, error)    { return 0, errTodo }
func (m *Mailbox) Folders(ctx context.Context) ([]mail.Folder, error) { return nil, errTodo }
func (m *Mailbox) Folder(ctx context.Context, id mail.FolderID) (mail.Folder, error) {
	return mail.Folder{}, errTodo
}
func (m *Mailbox) Placements(ctx context.Context, folder mail.FolderID, v mail.UIDValidity) ([]mail.Placement, error) {
	return nil, errTodo
}
func (m *Mailbox) PlacementsOf(ctx context.Context, ids ...mail.MessageID) (map[mail.MessageID][]mail.Placement, error) {
	return nil, errTodo
}
func (m *Mailbox) Unheld(ctx context.Context, folder mail.FolderID, limit int) ([]mail.Placement, error) {
	return nil, errTodo
}
func (m *Mailbox) Counts(ctx context.Context) (Counts, error)      { return Counts{}, errTodo }
func (m *Mailbox) Troubles(ctx context.Context) ([]Trouble, error) { return nil, errTodo }
func (m *Mailbox) Messages(ctx context.Context, q MessageQuery) ([]mail.Message, int64, error) {
	return nil, 0, errTodo
}
func (m *Mailbox) Message(ctx context.Context, id mail.MessageID) (mail.Message, error) {
	return mail.Message{}, errTodo
}
func (m *Mailbox) RawBlob(ctx context.Context, id mail.MessageID) (BlobRef, error) {
	return BlobRef{}, errTodo
}
func (m *Mailbox) Display(ctx context.Context, ids ...mail.MessageID) (map[mail.MessageID]Display, error) {
	return nil, errTodo
}
func (m *Mailbox) Threads(ctx context.Context, q ThreadQuery) ([]mail.Thread, int64, error) {
	return nil, 0, errTodo
}
func (m *Mailbox) Thread(ctx context.Context, id mail.ThreadID) (mail.Thread, error) {
	return mail.Thread{}, errTodo
}
func (m *Mailbox) Changes(ctx context.Context, after mail.Seq, limit int) ([]mail.Change, error) {
	return nil, errTodo
}
func (m *Mailbox) Seq(ctx context.Context) (mail.Seq, error)    { return 0, errTodo }
func (m *Mailbox) Check(ctx context.Context) ([]Problem, error) { return nil, errTodo }
