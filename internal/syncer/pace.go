package syncer

import "time"

// pace measures how many messages become readable a second, smoothed over some seconds.
type pace struct {
	at   time.Time
	done int64
	rate float64
}

// see takes the number of readable messages at a time.
func (p *pace) see(now time.Time, done int64) {
	if p.at.IsZero() || done < p.done {
		*p = pace{at: now, done: done}
		return
	}
	passed := now.Sub(p.at).Seconds()
	if passed < 1 {
		return
	}
	rate := float64(done-p.done) / passed
	if p.rate == 0 {
		p.rate = rate
	} else {
		const weight = 0.2
		p.rate += weight * (rate - p.rate)
	}
	p.at, p.done = now, done
}
