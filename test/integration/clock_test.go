package integration

import (
	"time"

	"k8s.io/utils/clock"
)

// fastClock runs faster than time, so that backoffs of minutes pass in seconds.
type fastClock struct {
	clock.RealClock
	start  time.Time
	factor time.Duration
}

// at is what the clock shows at a real time.
func (c fastClock) at(t time.Time) time.Time { return c.start.Add(t.Sub(c.start) * c.factor) }

func (c fastClock) Now() time.Time                  { return c.at(time.Now()) }
func (c fastClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c fastClock) After(d time.Duration) <-chan time.Time { return c.RealClock.After(d / c.factor) }
func (c fastClock) Sleep(d time.Duration)                  { c.RealClock.Sleep(d / c.factor) }

func (c fastClock) NewTimer(d time.Duration) clock.Timer {
	return fastTimer{c.RealClock.NewTimer(d / c.factor), c.factor}
}

func (c fastClock) NewTicker(d time.Duration) clock.Ticker {
	return c.RealClock.NewTicker(max(d/c.factor, 1))
}

type fastTimer struct {
	clock.Timer
	factor time.Duration
}

func (t fastTimer) Reset(d time.Duration) bool { return t.Timer.Reset(d / t.factor) }
