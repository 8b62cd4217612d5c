package osbuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// faultKind is one way in which a write fails.
type faultKind struct {
	err error
	// done: it was carried out, and only its answer is an error.
	done bool
	// told is the verdict of a round that need not be tried again.
	told string
}

func faultKinds(start bool) map[string]faultKind {
	kinds := map[string]faultKind{
		"conflict":             {err: errConflict},
		"timeout, not applied": {err: apierrors.NewTimeoutError("induced", 1)},
		"timeout, applied":     {err: apierrors.NewTimeoutError("induced", 1), done: true},
		"429":                  {err: apierrors.NewTooManyRequests("induced", 1)},
		"500":                  {err: errServer},
		"500, applied":         {err: errServer, done: true},
	}
	if start {
		const refused = "BuildFailed/CannotStartBuild ImageBuildDegraded/CannotStartBuild"
		kinds["403"] = faultKind{err: errDenied, told: refused}
		kinds["422"] = faultKind{err: apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "build", nil), told: refused}
		kinds["name taken"] = faultKind{err: &backend.ForeignObjectError{Object: "pod/x", Why: "it is being deleted"}, told: "BuildPending/WaitingForCleanup"}
	}
	return kinds
}

// server breaks one write, and guards and numbers versions as an API server does.
type server struct {
	*rig
	breaks  string // the write to break; empty once that is done
	kind    faultKind
	clock   *clocktesting.FakeClock
	version int // also the number of writes
	pushed  bool
}

func (f *fixture) serve(t *testing.T, breaks string, kind faultKind) *server {
	s := &server{breaks: breaks, kind: kind, version: 100}
	d := newFixture().desired(t)
	ask := f.registry
	f.registry = func(pullspec string) (registry.Info, error) {
		if s.pushed {
			return holds(d)(pullspec)
		}
		return ask(pullspec)
	}
	s.rig = f.start(t)
	var ok bool
	if s.clock, ok = s.Clock.(*clocktesting.FakeClock); !ok {
		t.Fatalf("%T is no clock to be set", s.Clock)
	}
	s.backend.Fail = func(call string) error {
		s.version++
		return s.fault(call, false)
	}
	s.backend.Lose = func(call string) error { return s.fault(call, true) }
	for _, client := range []any{s.Clients.Core, s.Clients.MachineConfig} {
		fake, ok := client.(interface {
			PrependReactor(verb, resource string, reaction clienttesting.ReactionFunc)
			Tracker() clienttesting.ObjectTracker
		})
		if !ok {
			t.Fatalf("%T is no fake client", client)
		}
		for _, verb := range []string{"create", "update", "patch", "delete"} {
			fake.PrependReactor(verb, "*", s.react(fake.Tracker()))
		}
	}
	return s
}

// fault is the error of the write, once.
func (s *server) fault(what string, done bool) error {
	if s.breaks != what || s.kind.done != done {
		return nil
	}
	s.breaks = ""
	return s.kind.err
}

func (s *server) react(tracker clienttesting.ObjectTracker) clienttesting.ReactionFunc {
	return func(a clienttesting.Action) (bool, runtime.Object, error) {
		if err := s.fault(describe(a), false); err != nil {
			return true, nil, err
		}
		a, err := s.guarded(a, tracker)
		if err != nil {
			return true, nil, err
		}
		_, obj, err := clienttesting.ObjectReaction(tracker)(a)
		if lost := s.fault(describe(a), true); err == nil && lost != nil {
			return true, nil, lost
		}
		return true, obj, err
	}
}

// guarded refuses a write of another version than it names, and gives it a new one.
func (s *server) guarded(a clienttesting.Action, tracker clienttesting.ObjectTracker) (clienttesting.Action, error) {
	s.version++
	next := strconv.Itoa(s.version)
	check := func(name, version string) error {
		have, err := tracker.Get(a.GetResource(), a.GetNamespace(), name)
		if err != nil {
			return err
		}
		if m, err := meta.Accessor(have); err != nil || version != "" && m.GetResourceVersion() != version {
			return apierrors.NewConflict(a.GetResource().GroupResource(), name, fmt.Errorf("it is not at %s", version))
		}
		return nil
	}
	switch a := a.(type) {
	case clienttesting.PatchActionImpl:
		var patch map[string]any
		if err := json.Unmarshal(a.Patch, &patch); err != nil {
			return nil, err
		}
		m, _ := patch["metadata"].(map[string]any)
		version, _ := m["resourceVersion"].(string)
		if err := check(a.Name, version); err != nil {
			return nil, err
		}
		m["resourceVersion"] = next
		var err error
		a.Patch, err = json.Marshal(patch)
		return a, err
	case clienttesting.UpdateActionImpl:
		m, err := meta.Accessor(a.Object)
		if err != nil {
			return nil, err
		}
		if err := check(m.GetName(), m.GetResourceVersion()); err != nil {
			return nil, err
		}
		m.SetResourceVersion(next)
		return a, nil
	case clienttesting.CreateActionImpl:
		m, err := meta.Accessor(a.Object)
		if err != nil {
			return nil, err
		}
		m.SetResourceVersion(next)
		return a, nil
	}
	return a, nil
}

// untilQuiet syncs until nothing is left to do; runs end well meanwhile, and
// time passes. It returns what the rounds that failed or refused told.
func (s *server) untilQuiet(t *testing.T) (failed []error, refused string) {
	t.Helper()
	quiet := 0
	for range 60 {
		armed, before := s.breaks != "", s.version
		after, err := s.sync(t.Context(), "worker")
		s.caughtUp(t)
		if armed && s.breaks == "" && err == nil {
			refused = s.verdict("worker")
		}
		switch {
		case err != nil:
			failed = append(failed, err)
		case s.asks(t) || s.finishRun(t) || s.version > before:
		case after > 0 && quiet < 3:
			quiet++
			s.clock.Step(after)
		default:
			return failed, refused
		}
	}
	t.Fatal("it does not come to rest")
	return nil, ""
}

// asks waits for the registry's answer; false when there is no question.
func (s *server) asks(t *testing.T) bool {
	t.Helper()
	v, err := s.observe(t.Context(), "worker", false)
	if err != nil {
		t.Fatal(err)
	}
	if osbuild.Question(v.desired, v.observed, v.now) == "" {
		return false
	}
	s.answered(v)
	return true
}

// finishRun ends an active run well; false when there is none.
func (s *server) finishRun(t *testing.T) bool {
	t.Helper()
	list, err := s.backend.List(t.Context(), "worker", false)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(o backend.Observation) bool { return o.Phase.Active() && !o.Deleting })
	if i < 0 {
		return false
	}
	s.pushed = true
	s.backend.Finish(list[i].RenderedConfig, digest)
	return true
}

// caughtUp waits until the caches show the pool and its records as they are.
func (s *server) caughtUp(t *testing.T) {
	t.Helper()
	role := labels.Set{api.LabelRole: api.RoleRecord}
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		p, err := s.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		cached, err := s.Informers.PoolLister.Get("worker")
		if err != nil {
			return false, err
		}
		maps, err := s.Clients.Core.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: role.String()})
		if err != nil {
			return false, err
		}
		seen, err := s.Informers.BuildMapLister.ConfigMaps(namespace).List(role.AsSelector())
		if err != nil {
			return false, err
		}
		same := len(seen) == len(maps.Items) && cached.ResourceVersion == p.ResourceVersion
		for _, cm := range seen {
			same = same && slices.ContainsFunc(maps.Items, func(m corev1.ConfigMap) bool { return m.Name == cm.Name && m.ResourceVersion == cm.ResourceVersion })
		}
		return same, nil
	})
	if err != nil {
		t.Fatalf("the caches do not catch up: %v", err)
	}
}

// end is the world as an administrator sees it.
func (s *server) end(t *testing.T) string {
	t.Helper()
	p, err := s.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(t.Context(), "worker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{"told: " + strings.Join(summary(p.Status.Conditions), " "), "image: " + p.Annotations[api.AnnotationNewestImage] + " of " + p.Annotations[api.AnnotationImageConfig]}
	list, err := s.backend.List(t.Context(), "worker", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		out = append(out, fmt.Sprintf("build: %s %s %s", o.RenderedConfig, o.UID, o.Phase))
	}
	for _, r := range s.records(t.Context(), "worker") {
		out = append(out, fmt.Sprintf("record: %s %s by %s, %d tries, %d interruptions, %s", r.RenderedConfig, r.Outcome, r.LastRun, r.Attempts, r.Interruptions, r.Image))
	}
	return strings.Join(append(out, "events: "+s.told()), "\n")
}

// TestS15EveryFaultOfEveryWrite breaks each kind of write once, in every way in
// which one can fail. The round ends with that error, unless it is one that only
// an administrator can end, which is told; then all comes to where it comes
// unbroken, with the same run.
func TestS15EveryFaultOfEveryWrite(t *testing.T) {
	d := newFixture().desired(t)
	failed := func(b *backend.Observation) { b.Reason, b.Message, b.Finished = api.ReasonBuildFailed, "exit 1", now }
	overdue := func(b *backend.Observation) {
		b.UID, b.Deleting, b.RunDeleting, b.GoneBy = "run-0", true, true, now.Add(-time.Hour)
	}
	retrying := func(f *fixture) { f.maps = append(f.maps, recorded(t, d, osbuild.Retrying)) }
	withRun := func(phase backend.Phase, change ...func(*backend.Observation)) func(*fixture) {
		return func(f *fixture) { f.builds = append(f.builds, run(d, phase, change...)) }
	}
	hasImage := func(f *fixture) { f.registry = holds(d) }
	for name, row := range map[string]struct {
		write  string
		change []func(*fixture)
	}{
		"start":              {startIt, nil},
		"delete the run":     {"delete-run " + config, []func(*fixture){retrying, withRun(backend.PhaseFailed, failed)}},
		"abandon the run":    {"abandon " + config, []func(*fixture){retrying, withRun(backend.PhaseRunning, overdue)}},
		"remove":             {removeIt, []func(*fixture){hasImage, withRun(backend.PhaseSucceeded)}},
		"first record":       {recordIt, []func(*fixture){hasImage, withRun(backend.PhaseSucceeded)}},
		"record of an image": {recordIt, []func(*fixture){hasImage}},
		"later record":       {"update configmaps digest-" + config, []func(*fixture){retrying, withRun(backend.PhaseFailed, failed, func(b *backend.Observation) { b.UID = "run-0" })}},
		"delete a record":    {"delete configmaps digest-" + config, []func(*fixture){optedOut, result, retrying}},
		"annotate":           {annotate, []func(*fixture){hasImage, withRun(backend.PhaseSucceeded)}},
		"take the result":    {annotate, []func(*fixture){optedOut, result, retrying}},
		"tell":               {tellIt, nil},
		"tell of success":    {tellIt, []func(*fixture){tracked, hasImage, withRun(backend.PhaseSucceeded)}},
		"tell of opting out": {tellIt, []func(*fixture){optedOut, tracked}},
	} {
		t.Run(name, func(t *testing.T) {
			begin := func(breaks string, kind faultKind) *server {
				f := newFixture()
				for _, c := range row.change {
					c(f)
				}
				return f.serve(t, breaks, kind)
			}
			calm := begin("", faultKind{})
			if errs, _ := calm.untilQuiet(t); len(errs) > 0 {
				t.Fatalf("unbroken it fails: %v", errs)
			}
			unbroken := calm.end(t)
			for kind, k := range faultKinds(row.write == startIt) {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					s := begin(row.write, k)
					errs, told := s.untilQuiet(t)
					switch {
					case s.breaks != "":
						t.Fatalf("nobody did %q", row.write)
					case k.told == "" && (len(errs) != 1 || !errors.Is(errs[0], k.err)):
						t.Errorf("the rounds fail with %v, want one with %v", errs, k.err)
					case k.told != "" && (len(errs) > 0 || told != k.told):
						t.Errorf("told %q with errors %v, want %q", told, errs, k.told)
					}
					end := s.end(t)
					if k.told != "" {
						end = strings.Replace(end, "events: "+api.EventBuildFailed+" ", "events: ", 1)
					}
					if diff := cmp.Diff(unbroken, end); diff != "" {
						t.Errorf("it ends otherwise than unbroken:\n%s", diff)
					}
				})
			}
		})
	}
}
