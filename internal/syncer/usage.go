package syncer

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Usage is what the accounts of one provider have used since the engine was made.
type Usage struct {
	Connections  int // open now
	Logins       int64
	FailedLogins int64
	Received     int64 // bytes on the wire, TLS included
	Sent         int64
}

// counters are the Usage of one provider as it grows.
type counters struct{ connections, logins, failed, received, sent atomic.Int64 }

// usage counts, by the key of the provider's profile: a few dozen, however many accounts there are.
type usage struct {
	mu sync.Mutex
	by map[string]*counters
}

func (u *usage) of(provider string) *counters {
	u.mu.Lock()
	defer u.mu.Unlock()
	if provider == "" {
		provider = "other"
	}
	c := u.by[provider]
	if c == nil {
		if c = new(counters); u.by == nil {
			u.by = map[string]*counters{}
		}
		u.by[provider] = c
	}
	return c
}

// Usage returns what was used so far, by provider; "other" are those that we know nothing about.
func (e *Engine) Usage() map[string]Usage {
	e.usage.mu.Lock()
	defer e.usage.mu.Unlock()
	out := make(map[string]Usage, len(e.usage.by))
	for k, c := range e.usage.by {
		out[k] = Usage{int(c.connections.Load()), c.logins.Load(), c.failed.Load(), c.received.Load(), c.sent.Load()}
	}
	return out
}

// meter wraps a dialer so that what its connections move is counted, for the provider and against the account's day.
func (a *account) meter(c *counters, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &meteredConn{Conn: conn, moved: func(received, sent int) {
			c.received.Add(int64(received))
			c.sent.Add(int64(sent))
			a.day.add(a.e.o.Now(), int64(received+sent))
		}}, nil
	}
}

type meteredConn struct {
	net.Conn
	moved func(received, sent int)
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.moved(n, 0)
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.moved(0, n)
	return n, err
}

// day counts bytes over the last 24 hours, by the hour.
type day struct {
	mu    sync.Mutex
	hours [24]int64
	at    int64 // the newest hour, in hours of Unix time
}

func (d *day) turn(now time.Time) {
	hour := now.Unix() / 3600
	if d.at > hour+1 { // the clock was wrong: what was counted then is of the hours until now
		var hours [24]int64
		for i := range int64(24) {
			hours[(hour+i+1)%24] = d.hours[(d.at+i+1)%24]
		}
		d.hours, d.at = hours, hour
	}
	if hour-d.at >= 24 {
		d.hours = [24]int64{}
		d.at = hour
	}
	for ; d.at < hour; d.at++ {
		d.hours[(d.at+1)%24] = 0
	}
}

func (d *day) add(now time.Time, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	d.hours[d.at%24] += n
}

// save returns the hours as SyncStatus.Moved has them; nil if nothing was moved.
func (d *day) save(now time.Time) []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	out := make([]int64, 0, len(d.hours)+1)
	any := false
	for i := int64(1); i <= 24; i++ {
		n := d.hours[(d.at+i)%24]
		out, any = append(out, n), any || n > 0
	}
	if !any {
		return nil
	}
	return append(out, d.at)
}

// load takes over what was saved.
func (d *day) load(moved []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(moved) != len(d.hours)+1 {
		return
	}
	d.at = moved[24]
	for i, n := range moved[:24] {
		d.hours[(d.at+int64(i)+1)%24] = n
	}
}

// over tells how long to wait until less than most bytes were moved in the 24 hours before; 0: it is less.
func (d *day) over(now time.Time, most int64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	var sum int64
	for _, n := range d.hours {
		sum += n
	}
	if most <= 0 || sum < most {
		return 0
	}
	// Hours leave from the oldest on, each at the end of an hour.
	for i := int64(1); i <= 24; i++ {
		if sum -= d.hours[(d.at+i)%24]; sum < most {
			return time.Unix((d.at+i)*3600, 0).Sub(now)
		}
	}
	return 24 * time.Hour
}
