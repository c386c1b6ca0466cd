package imap

import (
	"context"
	"errors"
)

var errTodo = errors.New("imap: not yet written")

// Session is one connection.
type Session struct{}

func Dial(ctx context.Context, o Options) (*Session, error)                     { return nil, errTodo }
func (s *Session) Caps() Caps                                                   { return Caps{} }
func (s *Session) Login(ctx context.Context, user, password string) error       { return errTodo }
func (s *Session) Enable(ctx context.Context, caps ...string) ([]string, error) { return nil, errTodo }
func (s *Session) Namespace(ctx context.Context) (Namespaces, error)            { return Namespaces{}, errTodo }
func (s *Session) List(ctx context.Context, o ListOptions) ([]Mailbox, error)   { return nil, errTodo }
func (s *Session) Search(ctx context.Context, criteria string) (UIDSet, error) {
	return UIDSet{}, errTodo
}
func (s *Session) Noop(ctx context.Context) error     { return errTodo }
func (s *Session) Idle(ctx context.Context) error     { return errTodo }
func (s *Session) Unselect(ctx context.Context) error { return errTodo }
func (s *Session) Close(ctx context.Context) error    { return errTodo }
func (s *Session) Logout(ctx context.Context) error   { return errTodo }
func (s *Session) CloseNow() error                    { return nil }
func (s *Session) Err() error                         { return errTodo }
func (s *Session) ID(ctx context.Context, id map[string]string) (map[string]string, error) {
	return nil, errTodo
}
func (s *Session) Status(ctx context.Context, raw string, items ...StatusItem) (StatusData, error) {
	return StatusData{}, errTodo
}
func (s *Session) Statuses(ctx context.Context, raws []string, items ...StatusItem) (map[string]StatusData, map[string]error, error) {
	return nil, nil, errTodo
}
func (s *Session) Select(ctx context.Context, raw string, o SelectOptions) (*Selected, error) {
	return nil, errTodo
}
func (s *Session) Fetch(ctx context.Context, set UIDSet, o FetchOptions, each func(*Row) error) error {
	return errTodo
}
