//go:build race

package mime

// poolWaste is how much more may be allocated: under the race detector a sync.Pool drops a part of what it is given.
const poolWaste = 4
