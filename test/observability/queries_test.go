package observability

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// checkSelectors wants every selector of an expression to find series in some
// scenario, and each label that it asks for to be one of the metric's.
func checkSelectors(t *testing.T, expression string) {
	t.Helper()
	parsed, err := language.ParseExpr(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	selectors := 0
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		if !found(selector.LabelMatchers) {
			t.Errorf("%s finds nothing in any scenario", selector)
		}
		for _, m := range selector.LabelMatchers {
			if !found([]*labels.Matcher{nameOf(selector), labels.MustNewMatcher(labels.MatchRegexp, m.Name, ".+")}) {
				t.Errorf("%s: the metric has no label %s", selector, m.Name)
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s asks for no metric", expression)
	}
}

func nameOf(selector *parser.VectorSelector) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, selector.Name)
}

func found(matchers []*labels.Matcher) bool {
	for _, db := range recorded {
		if len(db.matching(matchers)) > 0 {
			return true
		}
	}
	return false
}

// grafana is what Grafana puts in the place of its variables.
var grafana = strings.NewReplacer("$__rate_interval", "2m", "$window", "1h", "$pool", "worker|infra")

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ H, W, X, Y int }
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ UID string }
	}
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "manifests/monitoring/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []panel
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || len(d.Panels) == 0 {
		t.Fatalf("dashboard %q of uid %q has %d panels", d.Title, d.UID, len(d.Panels))
	}
	return d.Panels
}

// TestDashboardQueries: every query parses, names series that exist, has the
// labels that its legend shows, and gives an answer in at least one scenario.
func TestDashboardQueries(t *testing.T) {
	legend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range dashboard(t) {
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q is a %s with %d queries", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			t.Run(p.Title+" "+target.RefID, func(t *testing.T) {
				expression := grafana.Replace(target.Expr)
				checkSelectors(t, expression)
				if target.Datasource.UID != "${datasource}" {
					t.Errorf("asks data source %q", target.Datasource.UID)
				}
				answers := 0
				for _, db := range recorded {
					for _, s := range db.ask(t, expression) {
						answers++
						for _, name := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
							if !s.Metric.Has(name[1]) {
								t.Fatalf("the answer %s has no label %s, which the legend shows", s.Metric, name[1])
							}
						}
					}
				}
				if answers == 0 {
					t.Error("has no answer in any scenario")
				}
			})
		}
	}
}

// TestDashboardLayout: panels lie side by side, none on another.
func TestDashboardLayout(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range dashboard(t) {
		if ids[p.ID] {
			t.Errorf("panel %q has the number of another", p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is wider than the dashboard", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// TestValues: the answers are what happened.
func TestValues(t *testing.T) {
	for _, row := range []struct {
		scenario, expression string
		want                 float64 // at the end
	}{
		{"healthy", `count(ocl_build_state{state="succeeded"})`, 3},
		{"healthy", `sum(ocl_build_state)`, 3},
		{"healthy", `max_over_time(sum(ocl_active_builds)[7h:30s])`, 2},
		{"healthy", `max_over_time(count(ocl_build_state{reason="WaitingForSlot"})[7h:30s])`, 1},
		{"healthy", `sum(ocl_build_total)`, 3},
		{"healthy", `round(sum(increase(ocl_build_total[6h30m])))`, 3},
		{"healthy", `ocl_build_queue_duration_seconds_count`, 3},
		{"healthy", `round(ocl_build_queue_duration_seconds_sum, 30)`, 300},
		{"healthy", `ocl_image_push_duration_seconds_sum`, 3 * 22},
		{"healthy", `ocl_build_duration_seconds_sum{state="succeeded"}`, 3 * 240},
		{"restart", `sum(ocl_build_total)`, 0},
		{"restart", `count(ocl_build_state{state="succeeded"})`, 1},
		{"failed", `ocl_build_total{state="failed"}`, 1},
		{"failed", `ocl_build_total{state="succeeded"}`, 1},
		{"failed", `ocl_build_failures_total{reason="InvalidDockerfile"}`, 1},
		{"retries", `ocl_build_retries_total`, 7},
		{"retries", `ocl_build_total{state="failed"}`, 7},
		{"registry-refuses", `ocl_build_failures_total{reason="PushFailed"}`, 4},
		{"registry-refuses", `ocl_build_retries_total`, 3},
	} {
		t.Run(row.scenario+" "+row.expression, func(t *testing.T) {
			matrix := recorded[row.scenario].ask(t, row.expression)
			if len(matrix) != 1 {
				t.Fatalf("%d series: %v", len(matrix), matrix)
			}
			if last := matrix[0].Floats[len(matrix[0].Floats)-1]; last.F != row.want || last.T != recorded[row.scenario].end.UnixMilli() {
				t.Errorf("%g, want %g", last.F, row.want)
			}
		})
	}
	for _, s := range recorded["opted-out"].series {
		if strings.Contains(s.labels.String(), `pool="`) && s.live {
			t.Errorf("after the pool opted out there is still %s", s.labels)
		}
	}
}
