package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// scrape is what a program's metrics said at one moment, by series.
type scrape struct {
	series map[string]float64
	loop   string // whose queue is of interest
	bytes  int
}

// readMetrics asks an address for metrics in the text format. The queue of one loop is of
// interest.
func readMetrics(ctx context.Context, url, loop string) (scrape, error) {
	s := scrape{series: map[string]float64{}, loop: loop}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return s, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return s, fmt.Errorf("reading the program's metrics: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return s, fmt.Errorf("reading the program's metrics: %w", err)
	}
	s.bytes = len(text)
	for line := range strings.Lines(string(text)) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err == nil {
			s.series[line[:i]] = value
		}
	}
	return s, nil
}

// queueLabel selects the loop's queue.
func (s scrape) queueLabel() string { return `name="` + s.loop + `"` }

// queue is a metric of the loop's queue.
func (s scrape) queue(name string) float64 { return s.series[name+"{"+s.queueLabel()+"}"] }

// queueQuantile estimates a quantile of a histogram of that queue, of what was
// observed since an earlier scrape. Like Prometheus it takes values to be even
// within a bucket.
func (s scrape) queueQuantile(since scrape, name string, q float64) float64 {
	type bucket struct{ bound, count float64 }
	var buckets []bucket
	prefix := name + "_bucket{" + s.queueLabel() + `,le="`
	for series, count := range s.series {
		bound, found := strings.CutPrefix(series, prefix)
		if !found {
			continue
		}
		if b, err := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64); err == nil {
			buckets = append(buckets, bucket{b, count - since.series[series]})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return 0
	}
	rank := q * buckets[len(buckets)-1].count
	var below bucket
	for _, b := range buckets {
		if b.count >= rank && b.count > below.count {
			if math.IsInf(b.bound, 1) {
				return below.bound
			}
			return below.bound + (b.bound-below.bound)*(rank-below.count)/(b.count-below.count)
		}
		below = b
	}
	return below.bound
}
