package observability

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

const root = "../.."

// interval is how often the controller is scraped and the alerts are evaluated.
const interval = 30 * time.Second

// began is when every scenario begins.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// recorded are the scenarios that test/scrape played, by name.
var recorded map[string]*database

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "observability-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = record(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "recording scrapes: %v\n", err)
		return 1
	}
	return m.Run()
}

// record lets the product's module play all scenarios, and loads them.
func record(dir string) error {
	command := exec.Command("go", "run", "./test/scrape", "-out", dir)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go run ./test/scrape: %w\n%s", err, out)
	}
	recorded = map[string]*database{}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if recorded[folder.Name()], err = load(filepath.Join(dir, folder.Name())); err != nil {
			return fmt.Errorf("scenario %s: %w", folder.Name(), err)
		}
	}
	return nil
}

// database holds what Prometheus would have stored of a scenario.
type database struct {
	series map[string]*series // by labels
	end    time.Time
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
	live    bool
}

// load scrapes a scenario from its first file to its last.
func load(dir string) (*database, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.prom"))
	if err != nil || len(paths) < 2 {
		return nil, fmt.Errorf("%d files in %s: %w", len(paths), dir, err)
	}
	slices.Sort(paths)
	db := &database{series: map[string]*series{}}
	at := time.Duration(0)
	for i, path := range paths[:len(paths)-1] {
		answer, err := parse(path)
		if err != nil {
			return nil, err
		}
		until, err := second(paths[i+1])
		if err != nil {
			return nil, err
		}
		for ; at < until; at += interval {
			db.scrape(began.Add(at), answer)
		}
	}
	db.end = began.Add(at - interval)
	return db, nil
}

func second(path string) (time.Duration, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".prom"))
	return time.Duration(n) * time.Second, err
}

// sample is one line of an exposition.
type sample struct {
	labels labels.Labels
	value  float64
}

// parse reads an exposition the way Prometheus does, with the labels that the
// ServiceMonitor adds.
func parse(path string) ([]sample, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	up := 0.0
	if len(text) > 0 {
		up = 1
	}
	answer := []sample{{targetLabels(labels.FromStrings(model.MetricNameLabel, "up")), up}}
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if entry == textparse.EntryInvalid {
			if len(answer) == 1 && up == 1 {
				return nil, fmt.Errorf("%s holds no samples: %w", path, err)
			}
			return answer, nil
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		parser.Labels(&l)
		_, _, v := parser.Series()
		answer = append(answer, sample{targetLabels(l), v})
	}
}

func targetLabels(l labels.Labels) labels.Labels {
	b := labels.NewBuilder(l)
	for name, v := range map[string]string{
		"job": "machine-os-builder", "instance": "10.0.0.7:8080", "namespace": "openshift-machine-config-operator",
		"pod": "machine-os-builder-0", "service": "machine-os-builder", "endpoint": "metrics",
	} {
		b.Set(name, v)
	}
	return b.Labels()
}

// scrape stores an answer, and marks the series that it does not have any more.
func (db *database) scrape(at time.Time, answer []sample) {
	seen := map[string]bool{}
	for _, s := range answer {
		key := s.labels.String()
		seen[key] = true
		if db.series[key] == nil {
			db.series[key] = &series{labels: s.labels}
		}
		db.series[key].add(at, s.value, true)
	}
	for key, s := range db.series {
		if s.live && !seen[key] {
			s.add(at, math.Float64frombits(value.StaleNaN), false)
		}
	}
}

func (s *series) add(at time.Time, v float64, live bool) {
	s.samples = append(s.samples, point{at.UnixMilli(), v})
	s.live = live
}
