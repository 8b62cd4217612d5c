package observability

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// TestQueriesInDocuments: what a runbook tells to ask has an answer to give.
func TestQueriesInDocuments(t *testing.T) {
	block := regexp.MustCompile("(?s)```promql\n(.*?)\n```")
	found := 0
	for _, pattern := range []string{"docs/user/*.md", "docs/user/runbooks/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			for i, match := range block.FindAllStringSubmatch(read(t, path), -1) {
				found++
				t.Run(fmt.Sprintf("%s %d", filepath.Base(path), i+1), func(t *testing.T) {
					checkSelectors(t, match[1])
					for _, db := range recorded {
						if len(db.ask(t, match[1])) > 0 {
							return
						}
					}
					t.Errorf("%s has no answer in any scenario", match[1])
				})
			}
		}
	}
	if found == 0 {
		t.Error("there are no queries")
	}
}

// TestReference: the user's table has every metric of ours with its labels, and
// no other.
func TestReference(t *testing.T) {
	served := map[string]string{}
	for _, db := range recorded {
		for _, s := range db.series {
			name := s.labels.Get(model.MetricNameLabel)
			if strings.HasPrefix(name, "ocl_") {
				family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
				served[family] = own(s.labels)
			}
		}
	}
	row := regexp.MustCompile("(?m)^\\| `(ocl_\\w+)` \\| (counter|gauge|histogram) \\|([^|]*)\\|")
	documented := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/user/reference.md")), -1) {
		names := strings.Split(strings.ReplaceAll(strings.TrimSpace(match[3]), "`", ""), ", ")
		slices.Sort(names)
		documented[match[1]] = strings.Join(names, " ")
	}
	if !maps.Equal(served, documented) {
		t.Errorf("served are %q,\ndocumented are %q", served, documented)
	}
}

// own are the labels that the controller itself gives.
func own(l labels.Labels) string {
	target := targetLabels(labels.EmptyLabels())
	var names []string
	l.Range(func(label labels.Label) {
		if label.Name != model.MetricNameLabel && label.Name != labels.BucketLabel && !target.Has(label.Name) {
			names = append(names, label.Name)
		}
	})
	return strings.Join(names, " ")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
