package syncer

import (
	"sync/atomic"
	"time"
)

// notice remembers when the server first told that something had happened, until it was dealt with.
type notice struct{ at atomic.Int64 } // Unix nanoseconds; 0: nothing was told

func (n *notice) told(now time.Time) { n.at.CompareAndSwap(0, now.UnixNano()) }

// answered returns how long ago the server told first, and false if it told nothing.
func (n *notice) answered(now time.Time) (time.Duration, bool) {
	at := n.at.Swap(0)
	return time.Duration(now.UnixNano() - at), at != 0
}

// waits tells whether the server has told of something that was not dealt with yet.
func (n *notice) waits() bool { return n.at.Load() != 0 }
