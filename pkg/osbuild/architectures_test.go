package osbuild

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

const (
	custom  = "FROM configs AS final\nRUN true\n"
	objects = "pod/build-" + configA + "-amd64, pod/build-" + configA + "-arm64"
)

func several(architectures ...string) func(*Inputs) {
	return func(in *Inputs) {
		in.CustomDockerfile, in.Settings.Architectures = custom, architectures
	}
}

// TestArchitecturesAreAnInput only where steps run for them.
func TestArchitecturesAreAnInput(t *testing.T) {
	steps, none := Desire(inputs(several())), Desire(inputs())
	for name, row := range map[string]struct {
		desired Desired
		same    *Desired
		object  string
		list    []string
	}{
		"nothing runs": {Desire(inputs(several("amd64"), func(in *Inputs) { in.CustomDockerfile = "" })), &none, "pod/build-" + configA, nil},
		"a Dockerfile without steps": {
			Desire(inputs(several("amd64"), func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\n" })), nil, "pod/build-" + configA, nil,
		},
		"none": {Desire(inputs(several())), &steps, "pod/build-" + configA, nil},
		"one":  {Desire(inputs(several("arm64"))), nil, "pod/build-" + configA + "-arm64", []string{"arm64"}},
		"two":  {Desire(inputs(several("amd64", "arm64"))), nil, objects, []string{"amd64", "arm64"}},
	} {
		r := row.desired.Request
		if r.Object != row.object || !slices.Equal(r.Architectures, row.list) || row.desired.Fingerprint.Architectures != strings.Join(row.list, ",") {
			t.Errorf("%s: %s of %v, inputs %+v", name, r.Object, r.Architectures, row.desired.Fingerprint)
		}
		if row.same != nil && r.ID != row.same.Request.ID {
			t.Errorf("%s: another identity", name)
		}
	}
	seen := map[string]bool{steps.Request.ID: true}
	for _, list := range [][]string{{"amd64"}, {"arm64"}, {"amd64", "arm64"}} {
		r := Desire(inputs(several(list...))).Request
		if seen[r.ID] || r.ImageLabels[api.ImageLabelInputsHash] != r.ID {
			t.Errorf("%v: the identity %s is another's, or the label is not it: %s", list, r.ID, r.ImageLabels)
		}
		seen[r.ID] = true
	}
	o := Observed{Records: []Record{recorded(steps, Succeeded)}}
	if got := changes(Desire(inputs(several("amd64", "arm64"))), o); !slices.Equal(got, []string{`architectures changed from "" to "amd64,arm64"`}) {
		t.Errorf("changes %q", got)
	}
}

// TestNodesOfOneArchitecture: a run that makes an image for its node's architecture
// does not depend on which node that is.
func TestNodesOfOneArchitecture(t *testing.T) {
	const extensions = "registry.example.com/ext:1"
	own := func(in *Inputs) { in.Architecture, in.Settings.ExtensionsImage = "amd64", extensions }
	selects := func(labels map[string]string) func(*Inputs) {
		return func(in *Inputs) { in.Settings.Scheduling.NodeSelector = labels }
	}
	byBuilds := func(in *Inputs) { in.BuildsServed = true }
	for name, row := range map[string]struct {
		changes []func(*Inputs)
		want    map[string]string
		list    []string
	}{
		"nothing runs":                      {nil, nil, nil},
		"nothing of the user's, in a Build": {[]func(*Inputs){byBuilds}, map[string]string{"kubernetes.io/arch": "amd64"}, nil},
		"steps":                             {[]func(*Inputs){several()}, map[string]string{"kubernetes.io/arch": "amd64"}, nil},
		"steps, in a Build":                 {[]func(*Inputs){several(), byBuilds}, map[string]string{"kubernetes.io/arch": "amd64"}, nil},
		"packages":                          {[]func(*Inputs){askingFor(t, []string{"usbguard"}, "", "")}, map[string]string{"kubernetes.io/arch": "amd64"}, nil},
		"beside other labels":               {[]func(*Inputs){several(), selects(map[string]string{"disk": "fast"})}, map[string]string{"disk": "fast", "kubernetes.io/arch": "amd64"}, nil},
		"another one is asked for": {
			[]func(*Inputs){several(), selects(map[string]string{"kubernetes.io/arch": "arm64"})}, map[string]string{"kubernetes.io/arch": "arm64"}, nil,
		},
		"several":                          {[]func(*Inputs){several("amd64", "arm64")}, nil, []string{"amd64", "arm64"}},
		"a kernel of another architecture": {[]func(*Inputs){askingFor(t, nil, "64k-pages", "")}, map[string]string{"kubernetes.io/arch": "arm64"}, nil},
		"a kernel of another architecture, on nodes that somebody chose": {
			[]func(*Inputs){askingFor(t, nil, "64k-pages", ""), selects(map[string]string{"kubernetes.io/arch": "amd64"})}, map[string]string{"kubernetes.io/arch": "amd64"}, nil,
		},
		"a kernel of one of several": {[]func(*Inputs){several("amd64", "arm64"), askingFor(t, nil, "64k-pages", "")}, nil, []string{"arm64"}},
		"a kernel of any":            {[]func(*Inputs){several("amd64", "arm64"), askingFor(t, nil, "realtime", "")}, nil, []string{"amd64", "arm64"}},
	} {
		in := inputs(append(row.changes, own)...)
		given := maps.Clone(in.Settings.Scheduling.NodeSelector)
		d := Desire(in)
		if d.Request == nil {
			t.Errorf("%s: %+v", name, d.Blocked)
			continue
		}
		if diff := cmp.Diff(row.want, d.Request.Scheduling.NodeSelector); diff != "" {
			t.Errorf("%s: nodes\n%s", name, diff)
		}
		if !slices.Equal(d.Request.Architectures, row.list) || d.Fingerprint.Architectures != strings.Join(row.list, ",") {
			t.Errorf("%s: for %v, inputs %+v", name, d.Request.Architectures, d.Fingerprint)
		}
		if !maps.Equal(given, in.Settings.Scheduling.NodeSelector) {
			t.Errorf("%s: the settings were changed to %v", name, in.Settings.Scheduling.NodeSelector)
		}
	}
}

// TestKernelOfNoArchitectureInTheList names both keys.
func TestKernelOfNoArchitectureInTheList(t *testing.T) {
	d := Desire(inputs(several("amd64", "s390x"), askingFor(t, nil, "64k-pages", ""), func(in *Inputs) { in.Settings.ExtensionsImage = "registry.example.com/ext:1" }))
	if d.Blocked == nil || d.Blocked.Reason != api.ReasonInvalidRenderedConfig {
		t.Fatalf("%+v", d.Blocked)
	}
	for _, want := range []string{configA, "kernel 64k-pages", "arm64 alone", api.ConfigMapBuildConfig, "key " + api.KeyArchitectures, "amd64, s390x"} {
		if !strings.Contains(d.Blocked.Message, want) {
			t.Errorf("%q does not say %s", d.Blocked.Message, want)
		}
	}
}

// parts gives a run its parts, of which some still run.
func parts(running ...string) func(*backend.Observation) {
	return func(b *backend.Observation) {
		for _, a := range []string{"amd64", "arm64"} {
			b.Parts = append(b.Parts, backend.Part{Architecture: a, Runs: slices.Contains(running, a)})
		}
	}
}

func incomplete(b *backend.Observation) { b.Incomplete = true }

func TestPlanForSeveralArchitectures(t *testing.T) {
	d := Desire(inputs(several("amd64", "arm64")))
	retryLater := func(r *Record) { r.RetryAt = now.Add(time.Minute) }
	failed := failedWith(api.ReasonBuildFailed, "arm64: it broke")
	for name, row := range map[string]struct {
		o       Observed
		actions string
		verdict string
		message string
	}{
		"a part is missing": {
			Observed{Slots: Slots{Limit: 1}, Builds: []backend.Observation{build(d, phase(backend.PhasePending), parts("amd64"), incomplete)}},
			"start", "BuildPending/BuildPending", objects + " starts",
		},
		"a part is missing, and other pools have all slots": {
			Observed{Slots: Slots{Limit: 1, Busy: 1, Ahead: 2}, Builds: []backend.Observation{build(d, parts("amd64"), incomplete)}},
			"start", "BuildPending/BuildPending", objects + " starts",
		},
		"a part is missing of a run that is recorded": {
			Observed{Builds: []backend.Observation{build(d, parts("amd64"), incomplete)}, Records: []Record{recorded(d, Retrying, retryLater)}},
			"delete-run", "BuildPending/WaitingForRetry", "",
		},
		"one waits while the other runs": {
			Observed{Builds: []backend.Observation{build(d, parts("amd64", "arm64"), func(b *backend.Observation) { b.Message = "arm64: no node" })}},
			"", "Building/BuildRunning", "; it waits: arm64: no node",
		},
		"one failed": {
			Observed{Builds: []backend.Observation{build(d, failed, parts("amd64"))}},
			"record Retrying", "BuildPending/BuildPending", "",
		},
		"one failed, the other still runs": {
			Observed{Builds: []backend.Observation{build(d, failed, parts("amd64"))}, Records: []Record{recorded(d, Retrying, retryLater)}},
			"delete-run", "BuildPending/WaitingForRetry", "",
		},
		"one failed for good, the other still runs": {
			Observed{Builds: []backend.Observation{build(d, failed, parts("amd64"))}, Records: []Record{recorded(d, Failed)}},
			"delete-run", "BuildFailed/", "",
		},
		"one failed for good, the other has gone": {
			Observed{Builds: []backend.Observation{build(d, failed, parts())}, Records: []Record{recorded(d, Failed)}},
			"", "BuildFailed/", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			next := Plan(d, row.o, now)
			if got := verbs(next); got != row.actions {
				t.Errorf("actions %q, want %q", got, row.actions)
			}
			for _, a := range next.Actions {
				if a, ok := a.(DeleteRun); ok && a.Build.Phase == backend.PhaseFailed && (len(a.Build.Parts) != 1 || !a.Build.Parts[0].Runs) {
					t.Errorf("deleted are %+v, of which one keeps the log", a.Build.Parts)
				}
			}
			status := Status(d, row.o, now)
			if got := verdictOf(t, status); got != row.verdict {
				t.Errorf("verdict %q, want %q", got, row.verdict)
			}
			for _, kind := range []mcfgv1.MachineConfigPoolConditionType{mcfgv1.MachineConfigPoolBuildPending, mcfgv1.MachineConfigPoolBuilding} {
				if c := mcp.Condition(status, kind); c.Message != "" && !strings.Contains(c.Message, row.message) {
					t.Errorf("message %q, want %q in it", c.Message, row.message)
				}
			}
		})
	}
}

// TestRecordNamesTheImagesOfAllTries, so that they can be deleted with the index.
func TestRecordNamesTheImagesOfAllTries(t *testing.T) {
	d := Desire(inputs(several("amd64", "arm64")))
	pushed := func(members ...string) func(*backend.Observation) {
		return func(b *backend.Observation) { b.Result.Members = members }
	}
	written := func(d Desired, o Observed) Record {
		t.Helper()
		for _, a := range Plan(d, o, now).Actions {
			if a, ok := a.(WriteRecord); ok {
				return a.Record
			}
		}
		t.Fatalf("no record is written: %s", verbs(Plan(d, o, now)))
		return Record{}
	}
	first := written(d, Observed{Builds: []backend.Observation{build(d, failedWith(api.ReasonBuildFailed, "x"), pushed("sha256:a"))}})
	again := func(b *backend.Observation) { b.UID, b.Attempt = "run-2", 2 }
	succeeded := Observed{
		Builds:   []backend.Observation{build(d, succeededWith(digest1), pushed("sha256:a", "sha256:b"), again)},
		Records:  []Record{first},
		Registry: &Confirmation{Image: image1, Found: true, InputsHash: d.Request.ID},
	}
	second := written(d, succeeded)
	if diff := cmp.Diff([][]string{{"sha256:a"}, {"sha256:a", "sha256:b"}}, [][]string{first.Members, second.Members}); diff != "" {
		t.Errorf("images:\n%s", diff)
	}
	first.RetryAt = now
	reused := written(d, Observed{Records: []Record{first}, Registry: &Confirmation{
		Image: d.Request.FinalImage, Found: true, Digest: digest1, InputsHash: d.Request.ID, Members: []string{"sha256:c"},
	}, Slots: Slots{Limit: 1}})
	if diff := cmp.Diff([]string{"sha256:a", "sha256:c"}, reused.Members); diff != "" {
		t.Errorf("images of one that was there:\n%s", diff)
	}
	other := Desire(inputs(several("amd64")))
	replaced := written(other, Observed{Builds: []backend.Observation{build(other, failedWith(api.ReasonBuildFailed, "x"))}, Records: []Record{second}})
	if len(replaced.Members) > 0 || len(replaced.Superseded) != 1 || !slices.Equal(replaced.Superseded[0].Members, second.Members) {
		t.Errorf("replaced by other inputs: %+v", replaced)
	}
	plain := Desire(inputs())
	index := written(plain, Observed{Registry: &Confirmation{
		Image: plain.Request.FinalImage, Found: true, Digest: digest1, InputsHash: plain.Request.ID, Members: []string{"sha256:c"},
	}, Slots: Slots{Limit: 1}})
	if len(index.Members) > 0 {
		t.Errorf("images of an index in which nothing ran: %v", index.Members)
	}
}
