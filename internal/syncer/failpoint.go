package syncer

import "github.com/posthorn/posthorn/internal/store"

// Points are where tests kill the process: on both sides of everything that is stored.

type side string

const (
	before side = "before "
	after  side = "after "
)

// point is reached.
func (e *Engine) point(name string) {
	if e.reached != nil {
		e.reached(name)
	}
}

// at is the point before or after a batch is stored.
func (e *Engine) at(s side, b store.Batch) {
	if e.reached == nil {
		return
	}
	what := "nothing"
	switch {
	case len(b.Folders)+len(b.GoneFolders) > 0:
		what = "folders"
	case len(b.New) > 0:
		what = "headers"
	case len(b.Bodies) > 0:
		what = "bodies"
	case len(b.Vanished) > 0:
		what = "vanished"
	case len(b.Flags) > 0:
		what = "flags"
	case b.State != nil || b.Done:
		what = "state"
	case len(b.Cursors) > 0:
		what = "cursors"
	}
	e.reached(string(s) + what)
}
