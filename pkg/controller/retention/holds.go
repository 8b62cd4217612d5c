package retention

import (
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// How soon to try again what a registry refused or did not answer: doubling.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// hold is until when an image is left alone, after how many failures.
type hold struct {
	until    time.Time
	failures int
	// refusedSince is when its registry first forbade to delete it or another one; zero
	// if it never did.
	refusedSince time.Time
}

// holds are those of one pool's images.
type holds map[string]hold

// failed holds an image whose deletion failed.
func (h holds) failed(image string, now time.Time) {
	failures := h[image].failures + 1
	wait := firstRetry
	for n := 1; n < failures && wait < lastRetry; n++ {
		wait *= 2
	}
	h[image] = hold{until: now.Add(min(wait, lastRetry)), failures: failures, refusedSince: h[image].refusedSince}
}

// named holds an image that something names.
func (h holds) named(image string, now time.Time) {
	h[image] = hold{until: now.Add(retention.LookAgain)}
}

// refused holds an image whose registry forbids deletions, until that is asked again,
// and returns for how long it has been so.
func (h holds) refused(image string, now, until time.Time) time.Duration {
	since := h[image].refusedSince
	if since.IsZero() {
		since = now
	}
	h[image] = hold{until: until, refusedSince: since}
	return now.Sub(since)
}

// doubt ends the holds of what was refused, but not the time that they have lasted.
func (h holds) doubt() {
	for image, held := range h {
		if !held.refusedSince.IsZero() {
			held.until = time.Time{}
			h[image] = held
		}
	}
}

// times are the holds as Plan takes them.
func (h holds) times() map[string]time.Time {
	times := make(map[string]time.Time, len(h))
	for image, hold := range h {
		times[image] = hold.until
	}
	return times
}
