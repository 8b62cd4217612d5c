package observability

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"sigs.k8s.io/yaml"
)

// raised says which alerts each scenario raises, as name{labels}; those that
// still fire at its end are marked with an exclamation mark.
var raised = map[string][]string{
	"healthy":          nil,
	"restart":          nil,
	"opted-out":        nil,
	"failed":           {`OSImageBuildFailed{pool="worker", reason="InvalidDockerfile"}`},
	"never-ends":       {`OSImageBuildNotProgressing{pool="worker"}!`},
	"queue-stuck":      {`OSImageBuildQueueStuck{}!`},
	"queue-slow":       {`OSImageBuildQueueSlow{pool="worker"}!`},
	"retries":          {`OSImageBuildRetriesHigh{pool="worker"}`},
	"registry-silent":  {`OSImageRegistryErrors{}`},
	"registry-refuses": {`OSImageBuildFailed{pool="worker", reason="PushFailed"}!`, `OSImageRegistryErrors{}!`},
	"api-refuses":      {`OSImageBuilderAPIErrors{code="403"}!`},
	"down":             {`OSImageBuilderDown{}!`},
	"no-leader":        {`OSImageBuilderDown{}!`},
}

// TestAlerts: every alert fires in its bad scenario and in no other, and ends
// when the cause does.
func TestAlerts(t *testing.T) {
	if played := slices.Sorted(maps.Keys(recorded)); !slices.Equal(played, slices.Sorted(maps.Keys(raised))) {
		t.Fatalf("test/scrape plays %q, not the scenarios that are known here", played)
	}
	for name, want := range raised {
		t.Run(name, func(t *testing.T) {
			var fired []string
			for _, rule := range alerts(t) {
				fired = append(fired, recorded[name].fires(t, rule)...)
			}
			slices.Sort(fired)
			if !slices.Equal(fired, want) {
				t.Errorf("fires %q, want %q", fired, want)
			}
		})
	}
	for _, rule := range alerts(t) {
		if !slices.ContainsFunc(slices.Concat(slices.Collect(maps.Values(raised))...), func(s string) bool { return strings.HasPrefix(s, rule.Alert+"{") }) {
			t.Errorf("no scenario raises %s", rule.Alert)
		}
	}
}

// fires evaluates a rule over a scenario: an alert fires once its expression
// has held at every evaluation for as long as the rule says.
func (db *database) fires(t *testing.T, rule rulefmt.Rule) []string {
	t.Helper()
	var fired []string
	for _, s := range db.ask(t, rule.Expr) {
		since, last, fires := int64(0), int64(0), false
		for _, p := range s.Floats {
			if p.T != last+interval.Milliseconds() {
				since = p.T
			}
			last = p.T
			fires = fires || time.Duration(p.T-since)*time.Millisecond >= time.Duration(rule.For)
		}
		if !fires {
			continue
		}
		alert := rule.Alert + s.Metric.String()
		if last == db.end.UnixMilli() {
			alert += "!"
		}
		fired = append(fired, alert)
		for _, name := range labelsNamed(rule.Annotations) {
			if !s.Metric.Has(name) {
				t.Errorf("%s has no label %s, which its text shows", alert, name)
			}
		}
	}
	return fired
}

var labelInText = regexp.MustCompile(`\$labels\.(\w+)`)

func labelsNamed(annotations map[string]string) []string {
	var names []string
	for _, text := range annotations {
		for _, match := range labelInText.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
	}
	return names
}

// alerts reads the rules as Prometheus itself does, with all its checks.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "manifests/monitoring/prometheusrule.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec map[string]any `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	spec, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(spec, false, model.LegacyValidation, language, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatalf("Prometheus refuses the rules: %v", errs)
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || rule.For == 0 || rule.Labels["severity"] == "" {
				t.Errorf("rule %s%s is not an alert with a duration and a severity", rule.Alert, rule.Record)
			}
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		t.Fatal("there are no alerts")
	}
	return rules
}

// TestAlertQueries: an alert that asks for what the controller does not serve
// would be silent for ever.
func TestAlertQueries(t *testing.T) {
	for _, rule := range alerts(t) {
		t.Run(rule.Alert, func(t *testing.T) { checkSelectors(t, rule.Expr) })
	}
}
