package osbuild

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// record reads what was recorded of the fixture's config.
func (r *rig) record() (osbuild.Record, *corev1.ConfigMap) {
	r.t.Helper()
	cm, err := r.Clients.Core.CoreV1().ConfigMaps(namespace).Get(r.t.Context(), names.Record(config), metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	record, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
	if err != nil {
		r.t.Fatal(err)
	}
	return record, cm
}

// TestS12LogOutlivesThePod: the record of a failed run holds the end of what it
// printed, the status its last lines, and neither a credential.
func TestS12LogOutlivesThePod(t *testing.T) {
	const password = "correct horse battery staple"
	f := newFixture()
	f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push"
	f.secrets = []*corev1.Secret{{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"registry.example.com":{"username":"me","password":"` + password + `"}}}`)},
	}}
	d := f.desired(t)
	failed := run(d, backend.PhaseFailed)
	failed.Reason, failed.Message = api.ReasonBuildFailed, "line 3 failed: "+password
	f.builds = []backend.Observation{failed}
	tracked(f)
	r := f.start(t)
	for i := range 300 {
		r.backend.Print(config, fmt.Sprint("line ", i))
	}
	r.backend.Print(config, "login "+password, "MY_TOKEN=abcdef")
	if _, err := r.settle("worker"); err != nil {
		t.Fatal(err)
	}
	record, cm := r.record()
	lines := strings.Split(strings.TrimSpace(cm.Data[api.KeyLog]), "\n")
	if len(lines) < backend.LogLines || lines[len(lines)-1] != "MY_TOKEN=[redacted]" || lines[len(lines)-2] != "login [redacted]" {
		t.Errorf("%d lines were kept, the last are %q", len(lines), lines[max(0, len(lines)-3):])
	}
	if n := len(record.Log); n != linesInRecord || !slices.Contains(record.Log, "line 299") {
		t.Errorf("the record itself has the lines %q", record.Log)
	}
	pool, err := kube.ReadPool(t.Context(), r.Clients, r.Informers, "worker", true)
	if err != nil {
		t.Fatal(err)
	}
	told := fmt.Sprint(pool.Status.Conditions, cm.Data)
	if strings.Contains(told, password) || !strings.Contains(told, "line 3 failed: [redacted]") || !strings.Contains(told, "line 299") {
		t.Errorf("told is %s", told)
	}
}

// TestLogOfARewrittenRecord: a record that changes without a run keeps its log,
// which the cache does not have.
func TestLogOfARewrittenRecord(t *testing.T) {
	f := newFixture()
	d := f.desired(t)
	cm := recorded(t, d, osbuild.Succeeded)
	cm.Data[api.KeyLog] = "what it printed\n"
	f.maps = append(f.maps, cm)
	r := f.start(t)
	if cached, err := r.Informers.BuildMapLister.ConfigMaps(namespace).Get(cm.Name); err != nil || cached.Data[api.KeyLog] != "" {
		t.Fatalf("the cache holds %v, %v", cached.Data, err)
	}
	v, err := r.observe(t.Context(), "worker", false)
	if err != nil {
		t.Fatal(err)
	}
	rewritten := osbuild.WriteRecord{Record: v.observed.Records[0]}
	rewritten.Record.Message = "new"
	if err := r.writeRecord(t.Context(), v.pool, rewritten); err != nil {
		t.Fatal(err)
	}
	if record, cm := r.record(); record.Message != "new" || cm.Data[api.KeyLog] != "what it printed\n" {
		t.Errorf("it is now %v", cm.Data)
	}
}

// TestS23HangingRunIsAbandoned: a run that terminates for ever, as on a node
// that is lost, does not hold up the pool.
func TestS23HangingRunIsAbandoned(t *testing.T) {
	f := newFixture()
	stale := run(f.desired(t), backend.PhaseRunning)
	stale.ID, stale.Deleting, stale.GoneBy = "v1-other", true, now.Add(-time.Hour)
	f.builds = []backend.Observation{stale}
	r := f.start(t)
	r.backend.Hold(config)
	if _, err := r.settle("worker"); err != nil {
		t.Fatal(err)
	}
	w := r.written()
	if abandoned, started := slices.Index(w, "abandon "+config), slices.Index(w, startIt); abandoned < 0 || started < abandoned {
		t.Errorf("writes are %q", w)
	}
}
