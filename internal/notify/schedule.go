package notify

import "time"

// Timing of deliveries.
const (
	answerTime   = 15 * time.Second // for one attempt
	failingAfter = 15 * time.Minute
	longestWait  = 24 * time.Hour // that Retry-After may ask for
)

// retryAfter lists the waits between attempts: quick first, for restarts and short trouble, then for a weekend.
func retryAfter() []time.Duration {
	return []time.Duration{
		5 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 8 * time.Hour, 10 * time.Hour, 12 * time.Hour, 14 * time.Hour, 16 * time.Hour,
	}
}

// comes tells whether a time at which to try again is to come. One that is farther away than any wait was written while the clock was
// wrong.
func comes(at, now time.Time) bool {
	return at.After(now) && at.Sub(now) <= longestWait
}

// nextAttempt returns how long to wait after so many failed attempts, false when they were the last. chance, from 0 up to
// 1, spreads the retries of many lanes; asked is what the endpoint wants.
func nextAttempt(failed int, asked time.Duration, chance float64) (time.Duration, bool) {
	waits := retryAfter()
	if failed < 1 || failed > len(waits) {
		return 0, false
	}
	wait := waits[failed-1]
	wait += time.Duration(float64(wait) / 5 * chance)
	return max(wait, min(asked, longestWait)), true
}
