package osbuild

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// Writes of the rows.
const (
	startIt  = "start " + config
	removeIt = "remove " + config
	recordIt = "create configmaps digest-" + config
	annotate = "patch machineconfigpools worker"
	tellIt   = "patch machineconfigpools/status worker"
)

var (
	errServer   = apierrors.NewInternalError(errors.New("induced"))
	errConflict = apierrors.NewConflict(mcfgv1.Resource("machineconfigpools"), "worker", errors.New("induced"))
	errDenied   = apierrors.NewForbidden(corev1.Resource("pods"), "build", errors.New("quota is spent"))
)

// wanted is the outcome of a row.
type wanted struct {
	writes  []string
	verdict string // true conditions with reasons
	events  string
	requeue time.Duration
	err     func(error) bool
	// again: a second sync has something to do; else it must write nothing.
	again bool
}

func isServerError(err error) bool { return apierrors.IsInternalError(err) }

func run(d osbuild.Desired, phase backend.Phase, change ...func(*backend.Observation)) backend.Observation {
	b := backend.Observation{
		Pool: d.Request.Pool, RenderedConfig: config, Builder: d.Request.Builder, ID: d.Request.ID, Attempt: 1, Object: d.Request.Object, UID: "run-1",
		Phase: phase, Created: now, Timeout: time.Hour, Changes: []string{"first build of the pool"},
	}
	if phase == backend.PhaseSucceeded {
		b.Result.Digest = digest
	}
	for _, c := range change {
		c(&b)
	}
	return b
}

func recorded(t *testing.T, d osbuild.Desired, outcome osbuild.Outcome) *corev1.ConfigMap {
	t.Helper()
	r := osbuild.Record{Pool: d.Request.Pool, RenderedConfig: config, InputsHash: d.Request.ID, Inputs: d.Fingerprint, Config: d.Config, Outcome: outcome, LastRun: "run-1", Finished: now}
	if outcome == osbuild.Succeeded {
		r.Image = image
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	cm := setting(names.Record(config), api.KeyRecord, string(data))
	cm.Labels = map[string]string{api.LabelBuildPod: "", api.LabelRole: api.RoleRecord, api.LabelTargetPool: "worker"}
	cm.Annotations = map[string]string{api.AnnotationPool: "worker", api.AnnotationRenderedConfig: config}
	return cm
}

// holds is a registry that has the image of some inputs under every name.
func holds(d osbuild.Desired) func(string) (registry.Info, error) {
	return func(string) (registry.Info, error) {
		return registry.Info{Digest: digest, Labels: map[string]string{api.ImageLabelInputsHash: d.Request.ID}}, nil
	}
}

func optedOut(f *fixture) { f.pools[0].Labels = nil }

// tracked makes the pool tell of a running build.
func tracked(f *fixture) {
	f.pools[0].Status.Conditions = append(f.pools[0].Status.Conditions, mcfgv1.MachineConfigPoolCondition{
		Type: mcfgv1.MachineConfigPoolBuilding, Status: corev1.ConditionTrue, Reason: api.ReasonBuildRunning,
	})
}

func result(f *fixture) {
	f.pools[0].Annotations[api.AnnotationNewestImage], f.pools[0].Annotations[api.AnnotationImageConfig] = image, config
}

// notThere: the registry has no image.
func notThere(f *fixture) { f.registry = newFixture().registry }

func TestSync(t *testing.T) {
	d := newFixture().desired(t)
	success := recorded(t, d, osbuild.Succeeded)
	induce := func(what string, err error) func(*fixture) {
		return func(f *fixture) { f.fail[what] = err }
	}
	with := func(b backend.Observation) func(*fixture) {
		return func(f *fixture) {
			f.builds, f.registry = append(f.builds, b), holds(d)
			if b.Phase == backend.PhaseSucceeded {
				tracked(f)
			}
		}
	}
	withRecord := func(cm *corev1.ConfigMap) func(*fixture) {
		return func(f *fixture) { f.maps = append(f.maps, cm.DeepCopy()); f.registry = holds(d) }
	}
	const buildPending, isRunning = "BuildPending/BuildPending", "Building/BuildRunning"
	for name, row := range map[string]struct {
		change []func(*fixture)
		want   wanted
	}{
		"nothing happens":            {[]func(*fixture){optedOut}, wanted{}},
		"no such pool":               {[]func(*fixture){func(f *fixture) { f.pools = nil }}, wanted{verdict: "no pool"}},
		"opted in":                   {nil, wanted{writes: []string{tellIt, startIt}, verdict: buildPending, events: "BuildStarted"}},
		"paused pools are built too": {[]func(*fixture){func(f *fixture) { f.pools[0].Spec.Paused = true }}, wanted{writes: []string{tellIt, startIt}, verdict: buildPending, events: "BuildStarted"}},
		"the registry has it already": {
			[]func(*fixture){func(f *fixture) { f.registry = holds(d) }},
			wanted{writes: []string{tellIt, recordIt}, verdict: buildPending, again: true},
		},
		"S32: no settings": {
			[]func(*fixture){func(f *fixture) { f.maps = nil }},
			wanted{writes: []string{tellIt}, verdict: "BuildFailed/InvalidConfig ImageBuildDegraded/InvalidConfig", events: "BuildFailed"},
		},
		"S32: a Secret is missing": {
			[]func(*fixture){func(f *fixture) { f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push" }},
			wanted{writes: []string{tellIt}, verdict: "BuildFailed/InvalidConfig ImageBuildDegraded/InvalidConfig", events: "BuildFailed", requeue: accessPoll},
		},
		"a Secret cannot be read": {
			[]func(*fixture){func(f *fixture) { f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push" }, induce("get secrets push", errServer)},
			wanted{err: isServerError, again: true},
		},
		"the config cannot be read":  {[]func(*fixture){induce("get machineconfigs "+config, errServer)}, wanted{err: isServerError, again: true}},
		"S15: conflict at the start": {[]func(*fixture){induce(startIt, errConflict)}, wanted{writes: []string{tellIt, startIt}, verdict: buildPending, err: apierrors.IsConflict, again: true}},
		"the API server is out":      {[]func(*fixture){induce(startIt, errServer)}, wanted{writes: []string{tellIt, startIt, tellIt}, verdict: buildPending, err: isServerError, again: true}},
		"the API server refuses":     {[]func(*fixture){induce(startIt, errDenied)}, wanted{writes: []string{tellIt, startIt, tellIt}, verdict: "BuildFailed/CannotStartBuild ImageBuildDegraded/CannotStartBuild", events: "BuildFailed", requeue: time.Minute, again: true}},
		"S04: the name is taken":     {[]func(*fixture){induce(startIt, &backend.ForeignObjectError{Object: "pod/x", Why: "it is being deleted", Going: true})}, wanted{writes: []string{tellIt, startIt, tellIt}, verdict: "BuildPending/WaitingForCleanup", requeue: goingPoll, again: true}},
		"somebody's object has the name": {
			[]func(*fixture){induce(startIt, &backend.ForeignObjectError{Object: "configmap/x", Why: "it was made for another pool"})},
			wanted{writes: []string{tellIt, startIt, tellIt}, verdict: "BuildPending/WaitingForCleanup", requeue: refusedPoll, again: true},
		},
		"conflict at the status":      {[]func(*fixture){induce(tellIt, errConflict), withRecord(recorded(t, d, osbuild.Retrying)), notThere}, wanted{writes: []string{tellIt}, err: apierrors.IsConflict, again: true}},
		"deleted before the status":   {[]func(*fixture){induce(tellIt, apierrors.NewNotFound(mcfgv1.Resource("machineconfigpools"), "worker")), withRecord(recorded(t, d, osbuild.Retrying)), notThere}, wanted{writes: []string{tellIt, startIt, tellIt}, again: true}},
		"opted out meanwhile":         {[]func(*fixture){func(f *fixture) { f.live = newPool("worker"); f.live.Labels = nil }, withRecord(recorded(t, d, osbuild.Retrying)), notThere}, wanted{writes: []string{tellIt, "delete configmaps digest-" + config}, verdict: buildPending, again: true}},
		"running":                     {[]func(*fixture){with(run(d, backend.PhaseRunning))}, wanted{writes: []string{tellIt}, verdict: "Building/BuildRunning", events: "BuildBuilding", requeue: 65 * time.Minute}},
		"succeeded":                   {[]func(*fixture){with(run(d, backend.PhaseSucceeded))}, wanted{writes: []string{recordIt, annotate, removeIt, tellIt}, verdict: "BuildSuccess/BuildSucceeded", events: "BuildCompleted"}},
		"S15: conflict at the record": {[]func(*fixture){with(run(d, backend.PhaseSucceeded)), induce(recordIt, errConflict)}, wanted{writes: []string{recordIt}, verdict: isRunning, err: apierrors.IsConflict, again: true}},
		"somebody's ConfigMap has the record's name": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), func(f *fixture) { f.maps = append(f.maps, setting("digest-"+config, "theirs", "x")) }},
			wanted{writes: []string{recordIt, tellIt}, verdict: "BuildPending/WaitingForCleanup", requeue: refusedPoll, again: true},
		},
		"a record that lost its labels": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), func(f *fixture) {
				lost := recorded(t, d, osbuild.Retrying)
				lost.Labels = nil
				f.maps = append(f.maps, lost)
			}},
			wanted{writes: []string{recordIt, "update configmaps digest-" + config, annotate, removeIt, tellIt}, verdict: "BuildSuccess/BuildSucceeded", events: "BuildCompleted"},
		},
		"S30: the registry is out": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), func(f *fixture) {
				f.registry = func(string) (registry.Info, error) {
					return registry.Info{}, &registry.Error{Class: registry.ErrUnavailable, Status: 503}
				}
			}},
			wanted{writes: []string{tellIt}, verdict: "BuildPending/WaitingForRegistry", requeue: 15 * time.Second, again: true},
		},
		"recorded": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), withRecord(success)},
			wanted{writes: []string{annotate, removeIt, tellIt}, verdict: "BuildSuccess/BuildSucceeded", events: "BuildCompleted"},
		},
		"conflict at the annotation: nothing is removed": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), withRecord(success), induce(annotate, errConflict)},
			wanted{writes: []string{annotate}, verdict: isRunning, err: apierrors.IsConflict, again: true},
		},
		"annotated": {
			[]func(*fixture){result, with(run(d, backend.PhaseSucceeded)), withRecord(success)},
			wanted{writes: []string{removeIt, tellIt}, verdict: "BuildSuccess/BuildSucceeded", events: "BuildCompleted"},
		},
		"a record that cannot be read is none": {
			[]func(*fixture){withRecord(success), func(f *fixture) { f.maps[len(f.maps)-1].Data[api.KeyRecord] = "{"; f.registry = newFixture().registry }},
			wanted{writes: []string{tellIt, startIt}, verdict: buildPending, events: "BuildStarted"},
		},
		"S25: opted out": {
			[]func(*fixture){optedOut, result, with(run(d, backend.PhaseRunning)), withRecord(success), tracked},
			wanted{writes: []string{removeIt, "delete configmaps digest-" + config, annotate, tellIt}, events: "BuildDeleted", again: true, requeue: 2 * time.Minute},
		},
		"S17: it ended while the controller was down": {
			[]func(*fixture){with(run(d, backend.PhaseSucceeded)), func(f *fixture) {
				f.pools[0].Status.Conditions = f.pools[0].Status.Conditions[:1] // nothing was told of it
			}},
			wanted{writes: []string{tellIt, recordIt, annotate, removeIt, tellIt}, verdict: "BuildSuccess/BuildSucceeded", events: "BuildCompleted"},
		},
		"S18: the config changed while the controller was down": {
			[]func(*fixture){with(run(d, backend.PhaseRunning)), tracked, func(f *fixture) { f.pools[0].Spec.Configuration.Name = "rendered-worker-b" }},
			wanted{writes: []string{removeIt, tellIt, "start rendered-worker-b", tellIt}, verdict: "BuildPending/BuildPending BuildInterrupted/BuildInterrupted", events: "BuildInterrupted BuildStarted"},
		},
		"S26: the pool is being deleted": {
			[]func(*fixture){result, with(run(d, backend.PhaseRunning)), withRecord(success), tracked, func(f *fixture) {
				f.pools[0].DeletionTimestamp, f.pools[0].Finalizers = &metav1.Time{Time: now}, []string{"theirs"}
			}},
			wanted{writes: []string{removeIt, "delete configmaps digest-" + config, annotate, tellIt}, events: "BuildDeleted", requeue: 2 * time.Minute, again: true},
		},
		"S06: no slot is free": {
			[]func(*fixture){func(f *fixture) {
				for i := range 2 {
					f.builds = append(f.builds, backend.Observation{Pool: buildspec.Pool{Name: fmt.Sprintf("other-%d", i)}, RenderedConfig: fmt.Sprintf("rendered-other-%d", i), UID: types.UID(fmt.Sprint(i)), Phase: backend.PhaseRunning})
				}
			}},
			wanted{writes: []string{tellIt}, verdict: "BuildPending/WaitingForSlot"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			for _, c := range row.change {
				c(f)
			}
			r := f.start(t)
			after, err := r.settle("worker")
			if (err == nil) != (row.want.err == nil) || (err != nil && !row.want.err(err)) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(row.want.writes, r.written()); diff != "" {
				t.Errorf("writes:\n%s", diff)
			}
			if after != row.want.requeue {
				t.Errorf("requeued after %v, want %v", after, row.want.requeue)
			}
			if got := r.verdict("worker"); got != row.want.verdict {
				t.Errorf("status %q, want %q", got, row.want.verdict)
			}
			if got := r.told(); got != row.want.events {
				t.Errorf("events %q, want %q", got, row.want.events)
			}
			if row.want.again {
				return
			}
			r.caughtUp()
			if _, err := r.settle("worker"); err != nil {
				t.Errorf("second sync: %v", err)
			}
			if again, told := r.written(), r.told(); len(again) > 0 || told != "" {
				t.Errorf("a second sync writes %v and tells %q", again, told)
			}
		})
	}
}

// TestRegistryQuotesTheLogin: a registry may answer with what it was asked with, and that
// goes where the answer does.
func TestRegistryQuotesTheLogin(t *testing.T) {
	const password = "correct-horse-battery"
	for name, class := range map[string]error{"a build starts": registry.ErrDenied, "a build waits": registry.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push"
			f.secrets = append(f.secrets, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockercfg,
				Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"registry.example.com":{"username":"pusher","password":"` + password + `"}}`)},
			})
			f.registry = func(string) (registry.Info, error) {
				return registry.Info{}, &registry.Error{Class: class, Detail: "not with " + password}
			}
			r := f.start(t)
			if _, err := r.settle("worker"); err != nil {
				t.Fatal(err)
			}
			pool, err := r.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(t.Context(), "worker", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			runs, err := r.backend.List(t.Context(), "worker", true)
			if err != nil {
				t.Fatal(err)
			}
			all := fmt.Sprint(pool.Status.Conditions, runs)
			for len(r.events) > 0 {
				all += <-r.events
			}
			if strings.Contains(all, password) || !strings.Contains(all, "not with [redacted]") {
				t.Errorf("it tells %s", all)
			}
		})
	}
}

// TestStartThatGoesOnFailing: the status tells of it once, and neither it nor
// the registry is troubled by further tries.
func TestStartThatGoesOnFailing(t *testing.T) {
	for name, row := range map[string]struct {
		refusal error
		verdict string
		says    string
	}{
		"a webhook that breaks": {apierrors.NewInternalError(errors.New("webhook down")), "BuildPending/BuildPending", "webhook down"},
		"a quota":               {errDenied, "BuildFailed/CannotStartBuild ImageBuildDegraded/CannotStartBuild", "quota is spent"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.fail[startIt] = row.refusal
			r := f.start(t)
			_, _ = r.settle("worker") // the error of the row, or none
			r.written()
			r.told()
			r.mu.Lock()
			r.asked = nil
			r.mu.Unlock()
			for range 3 {
				_, _ = r.sync(t.Context(), "worker")
			}
			if diff := cmp.Diff([]string{startIt, startIt, startIt}, r.written()); diff != "" {
				t.Errorf("writes:\n%s", diff)
			}
			if got := r.told(); got != "" || r.asked != nil {
				t.Errorf("it tells %q, and asks %v", got, r.asked)
			}
			p, err := kube.ReadPool(t.Context(), r.Clients, r.Informers, "worker", true)
			if err != nil || r.verdict("worker") != row.verdict || !slices.ContainsFunc(p.Status.Conditions, func(c mcfgv1.MachineConfigPoolCondition) bool {
				return strings.Contains(c.Message, row.says)
			}) {
				t.Errorf("status %s of %v, %v", r.verdict("worker"), p.Status.Conditions, err)
			}
		})
	}
}

// TestForeignMetadataStays: what others wrote on the pool is there afterwards.
func TestForeignMetadataStays(t *testing.T) {
	f := newFixture()
	d := f.desired(t)
	f.registry, f.builds = holds(d), []backend.Observation{run(d, backend.PhaseSucceeded)}
	f.maps = append(f.maps, recorded(t, d, osbuild.Succeeded))
	r := f.start(t)
	if _, err := r.settle("worker"); err != nil {
		t.Fatal(err)
	}
	p, err := r.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(t.Context(), "worker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"theirs": "stays", api.AnnotationNewestImage: image, api.AnnotationImageConfig: config}
	if diff := cmp.Diff(want, p.Annotations); diff != "" {
		t.Errorf("annotations:\n%s", diff)
	}
	if !slices.ContainsFunc(p.Status.Conditions, func(c mcfgv1.MachineConfigPoolCondition) bool { return c.Reason == "Theirs" }) {
		t.Error("a foreign condition is gone")
	}
}

// TestRegistryIsAskedWithTheCredentials of the Secrets and the cluster's CA.
func TestRegistryIsAskedWithTheCredentials(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	f := newFixture()
	f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push"
	f.maps = append(f.maps, setting(api.ConfigMapServiceCA, api.ServiceCAKey, authority))
	f.secrets = []*corev1.Secret{{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockercfg,
		Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"registry.example.com":{"username":"user","password":"pass"}}`)},
	}}
	r := f.start(t)
	if _, err := r.settle("worker"); err != nil {
		t.Fatal(err)
	}
	if r.asked == nil || r.asked.Pullspec != repository+":"+config {
		t.Fatalf("asked: %+v", r.asked)
	}
	if c, ok := r.asked.Credentials.Lookup("registry.example.com", "os/images"); !ok || c.Username != "user" {
		t.Error("the registry is asked without the push Secret")
	}
	if len(r.asked.CAs) != 1 || string(r.asked.CAs[0]) != authority {
		t.Errorf("the registry is asked with %d CAs", len(r.asked.CAs))
	}
}

// TestS28SharedSecretThatRotates: two pools share a Secret of the legacy type.
// What is done next uses the new one, and S27: nothing is done because of it.
func TestS28SharedSecretThatRotates(t *testing.T) {
	f := newFixture()
	f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push"
	f.pools = append(f.pools, newPool("infra"))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockercfg,
		Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"registry.example.com":{"username":"old","password":"x"}}`)},
	}
	f.secrets = []*corev1.Secret{secret.DeepCopy()}
	r := f.start(t)
	asksAs := func(pool, user string) {
		t.Helper()
		if _, err := r.settle(pool); err != nil {
			t.Fatal(err)
		}
		if c, ok := r.asked.Credentials.Lookup("registry.example.com", "os/images"); !ok || c.Username != user {
			t.Errorf("%s: the registry is asked as %q, want %q", pool, c.Username, user)
		}
	}
	asksAs("worker", "old")
	if writes := r.written(); !slices.Contains(writes, startIt) {
		t.Fatalf("the build of worker is not started: %v", writes)
	}
	secret.Data[corev1.DockerConfigKey] = []byte(`{"registry.example.com":{"username":"new","password":"y"}}`)
	if _, err := r.Clients.Core.CoreV1().Secrets(namespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.written()
	if _, err := r.settle("worker"); err != nil {
		t.Fatal(err)
	}
	if writes := r.written(); len(writes) > 0 {
		t.Errorf("S27: the rotation makes the running pool write %v", writes)
	}
	asksAs("infra", "new")
	if writes := r.written(); !slices.Contains(writes, "start rendered-infra-a") {
		t.Errorf("the build of infra is not started: %v", writes)
	}
}

// TestS08CustomDockerfileOfOnePool: a change of a pool's Dockerfile starts a build
// of that pool, and nothing happens to another.
func TestS08CustomDockerfileOfOnePool(t *testing.T) {
	f := newFixture()
	f.pools = append(f.pools, newPool("infra"))
	f.maps = append(f.maps, setting(api.ConfigMapCustomDockerfile, "infra", "FROM configs AS final\nRUN true\n"))
	r := f.start(t)
	for _, pool := range []string{"worker", "infra"} {
		if _, err := r.settle(pool); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{tellIt, startIt, "patch machineconfigpools/status infra", "start rendered-infra-a"}; !slices.Equal(r.written(), want) {
		t.Fatalf("both pools should be building")
	}
	changed := setting(api.ConfigMapCustomDockerfile, "infra", f.maps[2].Data["infra"], "worker", "FROM configs AS final\nRUN false\n")
	changed.ResourceVersion = "2"
	if _, err := r.Clients.Core.CoreV1().ConfigMaps(namespace).Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.written()
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return text(r.Informers.Setting(api.ConfigMapCustomDockerfile), "worker") != "", nil
	}); err != nil {
		t.Fatal("the change does not come")
	}
	for pool, want := range map[string][]string{"infra": nil, "worker": {removeIt, tellIt, startIt, tellIt}} {
		if _, err := r.settle(pool); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.written()); diff != "" {
			t.Errorf("%s writes:\n%s", pool, diff)
		}
	}
}
