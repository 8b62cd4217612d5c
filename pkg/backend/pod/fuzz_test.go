package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// FuzzObserve reads pods whose containers report anything. Of a build with
// steps of the user's, only the container in which none of them runs can name a
// digest, and only the cluster can call the end an interruption.
func FuzzObserve(f *testing.F) {
	f.Add("Succeeded", "", "", "", int32(0), "", forgedOne, wellDone, true)
	f.Add("Succeeded", "", "", wellDone, int32(0), "", forgedOne, "", true)
	f.Add("Failed", "", "", "", int32(1), "Error", stoppedIt, "", true)
	f.Add("Failed", "Evicted", "full", "", int32(137), "OOMKilled", stepFails, "", false)
	f.Add("Failed", "DeadlineExceeded", "", "", int32(-1), "", "null", "\x00", true)
	f.Add("Pending", "", "", "{", int32(0), "Completed", "[]", `{"succeeded":true,"digest":7}`, false)
	f.Add("Odd", "Odd", "odd", "1", int32(2), "x", `{"reason":"BuildInterrupted","digest":"`+forged+`"}`, "x", true)
	f.Fuzz(func(t *testing.T, phase, reason, message, prepare string, code int32, why, build, push string, custom bool) {
		r := request(func(r *buildspec.Request) { r.CustomContent = custom })
		p := status{
			phase: corev1.PodPhase(phase), reason: reason, message: message,
			prepare: ended(0, "", prepare), build: ended(code, why, build), push: ended(0, "", push),
		}.of(r)
		before := p.DeepCopy()
		o := observe([]*corev1.ConfigMap{inputs.Root(r)}, []*corev1.Pod{p})[0]
		if diff := cmp.Diff(before, p); diff != "" {
			t.Fatalf("the cached pod was changed:\n%s", diff)
		}
		if o.ID != r.ID || o.Pool != r.Pool || o.RenderedConfig != r.RenderedConfig || o.Attempt != r.Attempt {
			t.Fatalf("what the containers say changed which build it is: %+v", o)
		}
		says := build
		if custom {
			says = push
		}
		believed, err := buildspec.ParseResult(says)
		if o.Phase == backend.PhaseSucceeded && (o.Result.Digest != believed.Digest || err != nil && o.Result.Digest != "") {
			t.Fatalf("digest %q is believed, the container that pushed says %q", o.Result.Digest, believed.Digest)
		}
		if resolved, _ := buildspec.ParseResult(prepare); custom && o.Result.BaseDigest != "" && o.Result.BaseDigest != resolved.BaseDigest {
			t.Fatalf("base digest %q is believed, the container that pulled says %q", o.Result.BaseDigest, resolved.BaseDigest)
		}
		if custom && o.Phase == backend.PhaseInterrupted && reason == "" {
			t.Fatal("a step of the user's made its failure an interruption")
		}
		if custom && o.Phase == backend.PhaseFailed && reason == "" && o.Reason != api.ReasonBuildFailed && o.Reason != api.ReasonOutOfMemory {
			t.Fatalf("a step of the user's chose the reason %s", o.Reason)
		}
	})
}
