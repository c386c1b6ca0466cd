package store

import (
	"context"
	"errors"
)

var errTodo = errors.New("not written yet")

func (m *Mailbox) Check(ctx context.Context) ([]Problem, error) { return nil, errTodo }
