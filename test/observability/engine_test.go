package observability

import (
	"sort"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// language parses as a Prometheus does without flags.
var language = parser.NewParser(parser.Options{})

var engine = promql.NewEngine(promql.EngineOpts{
	MaxSamples: 50_000_000, Timeout: 5 * time.Minute, LookbackDelta: 5 * time.Minute, Parser: language,
})

// ask evaluates an expression at every interval of a scenario.
func (db *database) ask(t *testing.T, expression string) promql.Matrix {
	t.Helper()
	query, err := engine.NewRangeQuery(t.Context(), db, promql.NewPrometheusQueryOpts(false, 0), expression, began, db.end, interval)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	matrix, err := result.Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	// Its points go back to the engine with the query.
	kept := make(promql.Matrix, len(matrix))
	for i, s := range matrix {
		kept[i] = promql.Series{Metric: s.Metric, Floats: append([]promql.FPoint(nil), s.Floats...)}
	}
	return kept
}

var _ storage.Queryable = (*database)(nil)

// Querier implements storage.Queryable.
func (db *database) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: db.selects}, nil
}

func (db *database) selects(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{}
	for _, s := range db.matching(matchers) {
		set.list = append(set.list, storage.NewListSeries(s.labels, s.samples))
	}
	return set
}

// matching are the series that a selector selects, in order.
func (db *database) matching(matchers []*labels.Matcher) []*series {
	var found []*series
	for _, s := range db.series {
		if matches(s.labels, matchers) {
			found = append(found, s)
		}
	}
	sort.Slice(found, func(i, j int) bool { return labels.Compare(found[i].labels, found[j].labels) < 0 })
	return found
}

func matches(l labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// seriesSet implements storage.SeriesSet.
type seriesSet struct {
	list []storage.Series
	next int
}

func (s *seriesSet) Next() bool                        { s.next++; return s.next <= len(s.list) }
func (s *seriesSet) At() storage.Series                { return s.list[s.next-1] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// point is a sample of a number; it implements chunks.Sample.
type point struct {
	t int64 // milliseconds
	v float64
}

var _ chunks.Sample = point{}

func (p point) T() int64                      { return p.t }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }
