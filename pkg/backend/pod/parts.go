package pod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// part is one of a run's pods, each for another architecture, as it stands by
// itself.
type part struct {
	backend.Observation
	architecture string
	going        bool
	run          string
}

// isPart is true for a pod that shares its run with others.
func isPart(p *corev1.Pod) bool { return p.Annotations[api.AnnotationArchitecture] != "" }

// observeParts joins the pods of a run into one run; rootGoing is true when all
// of the build was asked to go.
func observeParts(o *backend.Observation, pods []*corev1.Pod, rootGoing bool) {
	all := make([]string, 0, len(pods))
	parts := make([]part, 0, len(pods))
	for _, p := range pods {
		all = append(all, strings.Split(p.Annotations[api.AnnotationArchitectures], ",")...)
		one := part{architecture: p.Annotations[api.AnnotationArchitecture], going: p.DeletionTimestamp != nil, run: p.Annotations[api.AnnotationRun]}
		one.Object = Kind + "/" + p.Name
		observePod(&one.Observation, p)
		parts = append(parts, one)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.architecture, b.architecture) })
	for _, one := range parts {
		all = slices.DeleteFunc(all, func(architecture string) bool { return architecture == one.architecture || architecture == "" })
		o.Parts = append(o.Parts, backend.Part{
			Object: one.Object, UID: one.UID, Architecture: one.architecture, Runs: one.Phase.Active() && !one.going,
		})
	}
	first := parts[0]
	o.UID, o.Attempt, o.Changes, o.Timeout = types.UID(first.run), first.Attempt, first.Changes, first.Timeout
	o.Created = earliest(parts, func(p part) time.Time { return p.Created })
	o.Started = earliest(parts, func(p part) time.Time { return p.Started })
	o.Object, o.Result.Members = objectsOf(parts), reported(parts)
	joinParts(o, parts, len(all) > 0)
	goParts(o, parts, rootGoing)
}

// joinParts says how a run stands of which parts are missing or not.
func joinParts(o *backend.Observation, parts []part, missing bool) {
	active := slices.ContainsFunc(parts, func(p part) bool { return p.Phase.Active() })
	switch failed, interrupted := firstToEnd(parts, backend.PhaseFailed), firstToEnd(parts, backend.PhaseInterrupted); {
	case slices.ContainsFunc(parts, func(p part) bool { return p.run != parts[0].run }):
		o.Phase, o.Reason = backend.PhaseInterrupted, api.ReasonBuildInterrupted
		o.Message = "its pods are of several runs"
	case failed != nil:
		endParts(o, parts, *failed)
	case interrupted != nil:
		endParts(o, parts, *interrupted)
	case active || missing:
		o.Incomplete = missing
		activeParts(o, parts)
	default:
		succeedParts(o, parts)
	}
}

// goParts says whether the run was asked to go. A part that was, because another
// has failed already, does not count: that one stays, for its log.
func goParts(o *backend.Observation, parts []part, rootGoing bool) {
	var going []part
	for _, p := range parts {
		if p.going {
			going = append(going, p)
		}
	}
	kept := slices.ContainsFunc(parts, func(p part) bool { return p.Object == o.Object && !p.going })
	o.Deleting = rootGoing
	if len(going) == 0 || kept && !o.Phase.Active() && !rootGoing {
		return
	}
	o.Deleting, o.RunDeleting = true, !rootGoing
	for _, p := range going {
		if p.GoneBy.After(o.GoneBy) {
			o.GoneBy = p.GoneBy
		}
	}
	if o.RunDeleting {
		o.Object = objectsOf(going)
	}
}

// firstToEnd is the part that ended first in a phase; one that was asked to go
// only when there is no other, as its end may be the answer.
func firstToEnd(parts []part, phase backend.Phase) *part {
	ended := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.Phase != phase })
	if len(ended) == 0 {
		return nil
	}
	first := slices.MinFunc(ended, func(a, b part) int {
		return cmp.Or(last(a.going, b.going), last(a.Finished.IsZero(), b.Finished.IsZero()), a.Finished.Compare(b.Finished))
	})
	return &first
}

// last compares so that what is true comes last.
func last(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// endParts ends a run as one of its parts did.
func endParts(o *backend.Observation, parts []part, p part) {
	o.Phase, o.Reason, o.Message = p.Phase, p.Reason, p.architecture+": "+p.Message
	o.Object, o.Result, o.Log, o.Finished = p.Object, p.Result, p.Log, p.Finished
	o.Result.Digest, o.Result.Members = "", reported(parts)
	addTraffic(o, parts)
}

// activeParts is a run that goes on: as far as the part that is furthest.
func activeParts(o *backend.Observation, parts []part) {
	o.Phase = backend.PhasePending
	var waits []string
	var started []part
	for _, p := range parts {
		if p.Phase == backend.PhaseRunning || p.Phase == backend.PhasePreparing && o.Phase == backend.PhasePending {
			o.Phase = p.Phase
		}
		if p.Phase.Active() && !p.Started.IsZero() {
			started = append(started, p)
		}
		if p.Message != "" && p.Phase.Active() {
			waits = append(waits, p.architecture+": "+p.Message)
		}
	}
	o.Message = strings.Join(waits, "; ")
	// The time that a run may take is that of each part.
	o.Started = earliest(started, func(p part) time.Time { return p.Started })
}

// succeedParts believes in an index only when its images are those of the run's
// own parts.
func succeedParts(o *backend.Observation, parts []part) {
	members := reported(parts)
	o.Phase = backend.PhaseFailed
	pusher := o.Object
	for _, p := range parts {
		if p.Finished.After(o.Finished) {
			o.Finished, pusher = p.Finished, p.Object
		}
		if len(members) == len(parts) && p.Result.Digest != "" && slices.Equal(p.Result.Members, members) {
			o.Phase, o.Result = backend.PhaseSucceeded, p.Result
		}
	}
	if o.Phase == backend.PhaseSucceeded {
		addTraffic(o, parts)
		return
	}
	o.Object = pusher // it should have pushed the index
	o.Result.BaseDigest = parts[0].Result.BaseDigest
	o.Reason = api.ReasonUnconfirmedDigest
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.architecture+" "+cmp.Or(p.Result.Member, "none"))
	}
	o.Message = fmt.Sprintf("the pods of all architectures ended well, but none pushed an index of their images, which are: %s", strings.Join(texts, ", "))
}

// reported are the images that parts say they pushed, in the parts' order.
func reported(parts []part) []string {
	var members []string
	for _, p := range parts {
		if p.Result.Member != "" {
			members = append(members, p.Result.Member)
		}
	}
	return members
}

func addTraffic(o *backend.Observation, parts []part) {
	o.Result.BytesPulled, o.Result.BytesPushed = 0, 0
	for _, p := range parts {
		o.Result.BytesPulled += p.Result.BytesPulled
		o.Result.BytesPushed += p.Result.BytesPushed
	}
}

func objectsOf(parts []part) string {
	objects := make([]string, len(parts))
	for i, p := range parts {
		objects[i] = p.Object
	}
	return strings.Join(objects, ", ")
}

// earliest is the first of the times that are known.
func earliest(parts []part, of func(part) time.Time) time.Time {
	var first time.Time
	for _, p := range parts {
		if t := of(p); !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
