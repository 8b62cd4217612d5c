package osbuild

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// TestS20StatusOverTime follows one pool's conditions through a failed
// and a repeated build: foreign conditions stay, transition times move only
// with the status, and nothing that was read is changed.
func TestS20StatusOverTime(t *testing.T) {
	d := Desire(inputs())
	free := Slots{Limit: 1}
	gone := &Confirmation{Image: d.Request.FinalImage}
	failedRun := build(d, failedWith(api.ReasonBuildFailed, "exit 1"))
	record := recorded(d, Retrying, func(r *Record) {
		r.RetryAt, r.Reason, r.Message = now.Add(time.Minute), api.ReasonBuildFailed, "exit 1"
	})
	spent := recorded(d, Failed, func(r *Record) { r.Reason, r.Message, r.Attempts = api.ReasonBuildFailed, "exit 1", 3 })
	second := build(d, func(b *backend.Observation) { b.UID, b.Attempt = "run-2", 2 })
	conditions := []mcfgv1.MachineConfigPoolCondition{theirs}
	seen := map[mcfgv1.MachineConfigPoolConditionType]mcfgv1.MachineConfigPoolCondition{}
	for i, step := range []struct {
		o        Observed
		verdict  string
		degraded corev1.ConditionStatus
		says     string
	}{
		{Observed{Slots: free, Registry: gone}, "BuildPending/BuildPending", "False", "pod/build-" + configA + " starts: first build of the pool"},
		{Observed{Builds: []backend.Observation{build(d)}}, "Building/BuildRunning", "False", "pod/build-" + configA},
		{Observed{Builds: []backend.Observation{failedRun}}, "Building/BuildRunning", "False", ""},
		{Observed{Builds: []backend.Observation{failedRun}, Records: []Record{record}}, "BuildPending/WaitingForRetry", "False", "try 1 of 3 failed"},
		{Observed{Builds: []backend.Observation{second}, Records: []Record{record}}, "Building/BuildRunning", "False", "(try 2 of 3)"},
		{Observed{Builds: []backend.Observation{failedRun}, Records: []Record{spent}}, "BuildFailed/BuildFailed", "True", "oc logs pod/build-" + configA},
		{Observed{Slots: free, Records: []Record{spent}, Builds: nil}, "BuildFailed/BuildFailed", "True", "exit 1"},
	} {
		at := now.Add(time.Duration(i) * time.Minute / 10)
		step.o.Conditions = conditions
		before := slices.Clone(conditions)
		after := Status(d, step.o, at)
		if diff := cmp.Diff(before, conditions); diff != "" {
			t.Fatalf("step %d changed what it read:\n%s", i, diff)
		}
		if got := verdictOf(t, after); got != step.verdict {
			t.Errorf("step %d: %s, want %s", i, got, step.verdict)
		}
		if c := mcp.Condition(after, mcfgv1.MachineConfigPoolImageBuildDegraded); c.Status != step.degraded {
			t.Errorf("step %d: ImageBuildDegraded is %s", i, c.Status)
		}
		kind, _, _ := strings.Cut(step.verdict, "/")
		if c := mcp.Condition(after, mcfgv1.MachineConfigPoolConditionType(kind)); !strings.Contains(c.Message, step.says) {
			t.Errorf("step %d: message %q does not say %q", i, c.Message, step.says)
		}
		for _, c := range after {
			old, ok := seen[c.Type]
			if moved := !old.LastTransitionTime.Equal(&c.LastTransitionTime); ok && moved != (old.Status != c.Status) {
				t.Errorf("step %d: %s went %s to %s, transition time moved: %v", i, c.Type, old.Status, c.Status, moved)
			}
			seen[c.Type] = c
		}
		if diff := cmp.Diff(theirs, *mcp.Condition(after, theirs.Type)); diff != "" {
			t.Errorf("step %d changed a foreign condition:\n%s", i, diff)
		}
		conditions = after
	}
	out := Status(Desire(inputs(func(in *Inputs) { in.OptedIn = false })), Observed{Conditions: conditions}, now)
	if diff := cmp.Diff([]mcfgv1.MachineConfigPoolCondition{theirs}, out); diff != "" {
		t.Errorf("after opting out:\n%s", diff)
	}
}

// TestS22DegradedFollowsTheActiveBuild: an earlier success neither hides a
// failure nor outlives it, and the failure ends when another build starts.
func TestS22DegradedFollowsTheActiveBuild(t *testing.T) {
	a := Desire(inputs())
	b := Desire(inputs(func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN false\n" }))
	again := Desire(inputs(func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN true\n" }))
	conditions := []mcfgv1.MachineConfigPoolCondition{theirs}
	for i, step := range []struct {
		d        Desired
		o        Observed
		verdict  string
		degraded corev1.ConditionStatus
	}{
		{a, Observed{Records: []Record{recorded(a, Succeeded)}}, "BuildSuccess/BuildSucceeded", "False"},
		{b, Observed{Builds: []backend.Observation{build(b)}, Records: []Record{recorded(a, Succeeded)}}, "Building/BuildRunning", "False"},
		{b, Observed{Builds: []backend.Observation{build(b, failedWith(api.ReasonBuildFailed, "x"))}, Records: []Record{recorded(b, Failed, func(r *Record) { r.Reason = api.ReasonBuildFailed })}}, "BuildFailed/BuildFailed", "True"},
		{again, Observed{Builds: []backend.Observation{build(b, failedWith(api.ReasonBuildFailed, "x"))}, Records: []Record{recorded(b, Failed)}}, "BuildPending/WaitingForCleanup", "False"},
		{again, Observed{Builds: []backend.Observation{build(again)}, Records: []Record{recorded(b, Failed)}}, "Building/BuildRunning", "False"},
	} {
		step.o.NewestImage, step.o.ImageConfig, step.o.Conditions = image1, configA, conditions
		conditions = Status(step.d, step.o, now)
		if got := verdictOf(t, conditions); got != step.verdict {
			t.Errorf("step %d: %s, want %s", i, got, step.verdict)
		}
		if c := mcp.Condition(conditions, mcfgv1.MachineConfigPoolImageBuildDegraded); c.Status != step.degraded {
			t.Errorf("step %d: ImageBuildDegraded is %s, want %s", i, c.Status, step.degraded)
		}
	}
}

// TestInterruptionIsToldLater: a status that could not be written when the run
// was stopped says so while it goes.
func TestInterruptionIsToldLater(t *testing.T) {
	a, b := Desire(inputs()), Desire(inputs(func(in *Inputs) { in.RebuildToken = "again" }))
	for name, row := range map[string]struct {
		d      Desired
		before bool // it was going before
		want   bool
	}{"newer inputs": {b, false, true}, "newer inputs, but it was going": {b, true, false}, "somebody deleted it": {a, true, false}} {
		o := Observed{Builds: []backend.Observation{build(a, func(b *backend.Observation) { b.Deleting, b.RunDeleting = true, row.before })}}
		c := mcp.Condition(Status(row.d, o, now), mcfgv1.MachineConfigPoolBuildInterrupted)
		if told := c != nil && c.Status == corev1.ConditionTrue; told != row.want {
			t.Errorf("%s: interruption told: %v, want %v", name, told, row.want)
		}
	}
}

// TestFailureMessage: the last lines, not the first.
func TestFailureMessage(t *testing.T) {
	r := Record{Message: "step failed", Object: "pod/x", Log: strings.Split(strings.Repeat("old\n", 20)+"last", "\n")}
	d := Desire(inputs())
	r.Reason = api.ReasonBuildFailed
	run := build(d, phase(backend.PhaseFailed), func(b *backend.Observation) { b.Object = "pod/x" })
	if gone := finalMessage(state{record: &r}); strings.Contains(gone, "oc logs") {
		t.Errorf("message %q points to the log of a pod that is gone", gone)
	}
	got := finalMessage(state{record: &r, current: &run})
	if !strings.Contains(got, api.AnnotationRebuild) {
		t.Errorf("message %q does not say what to do", got)
	}
	if !strings.HasPrefix(got, "step failed\n") || !strings.Contains(got, "\n  last\n") || strings.Count(got, "old") != logLinesInMessage-1 || !strings.HasSuffix(got, "oc logs pod/x") {
		t.Errorf("message %q", got)
	}
}

// TestWhereTheLogIs: a Build has a log of its own only where OpenShift serves it.
func TestWhereTheLogIs(t *testing.T) {
	long := strings.Repeat("a", 250)
	for object, want := range map[string]string{
		"pod/x":         "oc logs pod/x",
		"build/x":       "oc logs build/x (without OpenShift: kubectl logs --all-containers --ignore-errors pod/x-build)",
		"build/" + long: "oc logs build/" + long + " (without OpenShift: kubectl logs --all-containers --ignore-errors pod/" + names.BuildPod(long) + ")",
	} {
		run := build(Desire(inputs()), phase(backend.PhaseFailed), func(b *backend.Observation) { b.Object = object })
		got := finalMessage(state{record: &Record{Message: "step failed", Reason: api.ReasonBuildFailed}, current: &run})
		if _, where, _ := strings.Cut(got, "\nthe whole log: "); where != want {
			t.Errorf("%s: the log is in %q, want %q", object, where, want)
		}
	}
}

func conditionsOf(kind mcfgv1.MachineConfigPoolConditionType, reason, message string) []mcfgv1.MachineConfigPoolCondition {
	return []mcfgv1.MachineConfigPoolCondition{theirs, {Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message}}
}

func TestEventsOnceATransition(t *testing.T) {
	d := Desire(inputs(func(in *Inputs) { in.Settings.UnknownKeys = []string{"typo"} }))
	none := []mcfgv1.MachineConfigPoolCondition{theirs}
	request := *d.Request
	request.Changes = []string{"first build of the pool"}
	again := request
	again.Changes = []string{changeRebuild}
	building := func(reason string) []mcfgv1.MachineConfigPoolCondition {
		return conditionsOf(mcfgv1.MachineConfigPoolBuilding, reason, "m")
	}
	success := conditionsOf(mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded, "m")
	failure := conditionsOf(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidConfig, "m")
	pending := conditionsOf(mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending, "m")
	interruption := conditionsOf(mcfgv1.MachineConfigPoolBuildInterrupted, api.ReasonBuildInterrupted, "m")
	optedOut := Desired{OptedOut: true}
	for name, row := range map[string]struct {
		desired       Desired
		before, after []mcfgv1.MachineConfigPoolCondition
		done          []Action
		want          string
	}{
		"nothing happens":          {d, success, success, nil, ""},
		"started":                  {d, none, pending, []Action{StartBuild{request}}, "BuildStarted"},
		"started, status unsaved":  {d, none, none, []Action{StartBuild{request}}, "BuildStarted"},
		"unknown key, first seen":  {d, success, conditionsOf(mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded, "m; warning: "+d.Warnings[0].Text), nil, "UnknownKey!"},
		"unknown key, still there": {d, conditionsOf(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidConfig, d.Warnings[0].Text), conditionsOf(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidConfig, d.Warnings[0].Text), nil, ""},
		"rebuild":                  {Desire(inputs()), success, pending, []Action{StartBuild{again}}, "RebuildRequested BuildStarted"},
		"preparing":                {d, pending, building(api.ReasonBuildPreparing), nil, "BuildPreparing"},
		"still preparing":          {d, building(api.ReasonBuildPreparing), building(api.ReasonBuildPreparing), nil, ""},
		"running":                  {d, building(api.ReasonBuildPreparing), building(api.ReasonBuildRunning), nil, "BuildBuilding"},
		"running at once":          {d, pending, building(api.ReasonBuildRunning), nil, "BuildBuilding"},
		"completed":                {d, building(api.ReasonBuildRunning), success, []Action{Annotate{image1, configA}}, "BuildCompleted"},
		"S21":                      {d, pending, success, nil, "BuildCompleted"},
		"failed":                   {d, building(api.ReasonBuildRunning), failure, nil, "BuildFailed!"},
		"failed otherwise":         {d, failure, conditionsOf(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidDockerfile, "n"), nil, ""},
		"interrupted":              {d, none, interruption, []Action{RemoveBuild{}}, "BuildInterrupted"},
		"still interrupted":        {d, interruption, interruption, nil, ""},
		"opted out":                {optedOut, success, none, []Action{RemoveBuild{}, DeleteRecord{}, Annotate{}}, "BuildDeleted"},
		"opted out, no result":     {optedOut, pending, none, []Action{RemoveBuild{}}, "BuildDeleted"},
		"opted out long ago":       {optedOut, none, none, nil, ""},
	} {
		var got []string
		for _, e := range Events(row.desired, row.before, row.after, row.done) {
			reason := e.Reason
			if e.Warning {
				reason += "!"
			}
			if e.Message == "" {
				t.Errorf("%s: %s says nothing", name, e.Reason)
			}
			got = append(got, reason)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: events %q, want %q", name, got, row.want)
		}
	}
}

func TestChanges(t *testing.T) {
	was := inputs()
	for name, row := range map[string]struct {
		change func(*Inputs)
		last   func(*Record)
		want   string
	}{
		"config":       {func(in *Inputs) { in.TargetConfig = configB }, nil, `rendered config changed from "` + configA + `" to "` + configB + `"`},
		"its content":  {func(in *Inputs) { in.Config.SpecHash = "other" }, nil, "content of the rendered config changed"},
		"S08":          {func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\n" }, nil, "custom Dockerfile changed"},
		"rebuild":      {func(in *Inputs) { in.RebuildToken = "1" }, nil, changeRebuild},
		"two at once":  {func(in *Inputs) { in.RebuildToken, in.Settings.ReleaseVersion = "1", "4.15" }, nil, `release version changed from "" to "4.15", ` + changeRebuild},
		"hash version": {func(*Inputs) {}, func(r *Record) { r.InputsHash = "v0-0" }, "builder version changed"},
		"S29":          {func(*Inputs) {}, nil, "the registry no longer has the image"},
		"another try":  {func(*Inputs) {}, func(r *Record) { r.Outcome, r.Reason = Retrying, "" }, "retry"},
		"after a failure": {
			func(*Inputs) {}, func(r *Record) {
				r.Outcome, r.Reason, r.Message = Retrying, api.ReasonPushFailed, "the registry\nlines"
			}, "retry after PushFailed: the registry",
		},
		"after a long story": {
			func(*Inputs) {}, func(r *Record) {
				r.Outcome, r.Reason, r.Message = Retrying, api.ReasonPushFailed, strings.Repeat("ä", 150)
			}, "retry after PushFailed: " + strings.Repeat("ä", 100) + "…",
		},
		"after no story": {
			func(*Inputs) {}, func(r *Record) { r.Outcome, r.Reason, r.Message = Retrying, api.ReasonBuildInterrupted, "" }, "retry after BuildInterrupted",
		},
	} {
		record := recorded(Desire(was), Succeeded)
		if row.last != nil {
			row.last(&record)
		}
		if got := strings.Join(changes(Desire(inputs(row.change)), Observed{Records: []Record{record}}), ", "); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}

// TestS30ChangesTellOfARegistryThatRefuses: a build that may not have been needed says so.
func TestS30ChangesTellOfARegistryThatRefuses(t *testing.T) {
	d := Desire(inputs())
	refused := &Confirmation{Image: d.Request.FinalImage, Err: errors.New("401 Unauthorized\nbody")}
	want := []string{"first build of the pool", "the registry does not say whether it has this image already: 401 Unauthorized"}
	for _, a := range Plan(d, Observed{Slots: Slots{Limit: 1}, Registry: refused}, now).Actions {
		if start, ok := a.(StartBuild); ok && slices.Equal(start.Request.Changes, want) {
			return
		}
	}
	t.Errorf("no build starts that says %q", want)
}

// TestConditionsOfOthersStay: ImageBuildDegraded is written by others, too. Whose it is
// shows in its reason, and nobody's is overwritten.
func TestConditionsOfOthersStay(t *testing.T) {
	type conditions = []mcfgv1.MachineConfigPoolCondition
	const degraded, failed = mcfgv1.MachineConfigPoolImageBuildDegraded, mcfgv1.MachineConfigPoolBuildFailed
	of := func(kind mcfgv1.MachineConfigPoolConditionType, status corev1.ConditionStatus, reason string) mcfgv1.MachineConfigPoolCondition {
		return mcfgv1.MachineConfigPoolCondition{Type: kind, Status: status, Reason: reason}
	}
	blocked := Desire(inputs(func(in *Inputs) { in.Problems = buildconfig.Problems{{Object: "ConfigMap/x", Key: "y", Text: "z"}} }))
	optedOut := Desire(inputs(func(in *Inputs) { in.OptedIn = false }))
	short := func(list conditions) string {
		var text []string
		for _, c := range list {
			text = append(text, fmt.Sprint(c.Type, " ", c.Status, " ", c.Reason))
		}
		slices.Sort(text)
		return strings.Join(text, "\n")
	}
	cleared := of(degraded, corev1.ConditionFalse, "NoLayeredObjects")
	told := Status(blocked, Observed{}, now)
	toldAndCleared := append(slices.DeleteFunc(slices.Clone(told), func(c mcfgv1.MachineConfigPoolCondition) bool { return c.Type == degraded }), cleared)
	for name, row := range map[string]struct {
		desired      Desired
		before, want conditions
		events       string
	}{
		"failed, and cleared by another":  {blocked, toldAndCleared, toldAndCleared, ""},
		"failed, cleared before":          {blocked, conditions{cleared}, toldAndCleared, "BuildFailed"},
		"not opted in, built by another":  {optedOut, conditions{of(degraded, corev1.ConditionFalse, "BuildSuccess")}, conditions{of(degraded, corev1.ConditionFalse, "BuildSuccess")}, ""},
		"opted out":                       {optedOut, told, nil, "BuildDeleted"},
		"opted out, and cleared by other": {optedOut, toldAndCleared, conditions{cleared}, "BuildDeleted"},
		"left over":                       {optedOut, conditions{of(failed, corev1.ConditionTrue, "x"), of(degraded, corev1.ConditionTrue, "x")}, nil, "BuildDeleted"},
	} {
		got := Status(row.desired, Observed{Conditions: row.before}, now)
		if diff := cmp.Diff(short(row.want), short(got)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		var events []string
		for _, e := range Events(row.desired, row.before, got, nil) {
			events = append(events, e.Reason)
		}
		if strings.Join(events, " ") != row.events {
			t.Errorf("%s: events %v, want %q", name, events, row.events)
		}
	}
}
