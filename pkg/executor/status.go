package executor

import (
	"cmp"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// defaultDeadline is how long the pod of a Build may take that does not say: a week,
// in seconds.
const defaultDeadline = int64(7 * 24 * 60 * 60)

// Deadline is how long the pod of a Build may take, in seconds.
func Deadline(b *buildv1.Build) int64 {
	if d := b.Spec.CompletionDeadlineSeconds; d != nil && *d > 0 {
		return *d
	}
	return defaultDeadline
}

// isNew says whether a Build has no pod yet as far as its status tells. The API
// server of a custom resource sets no phase.
func isNew(b *buildv1.Build) bool {
	return b.Status.Phase == "" || b.Status.Phase == buildv1.BuildPhaseNew
}

// ended says whether a Build's phase is a last one. One that nobody knows is.
func ended(b *buildv1.Build) bool { return !isNew(b) && !active(b.Status.Phase) }

func active(phase buildv1.BuildPhase) bool {
	return phase == buildv1.BuildPhasePending || phase == buildv1.BuildPhaseRunning
}

// complete adds to a status that has just got its last phase what belongs to it.
func complete(s *buildv1.BuildStatus, b *buildv1.Build, pod *corev1.Pod, now time.Time) {
	end := metav1.NewTime(now).Rfc3339Copy()
	if s.StartTimestamp == nil {
		start := end
		if pod != nil && pod.Status.StartTime != nil {
			start = pod.Status.StartTime.Rfc3339Copy()
		}
		s.StartTimestamp = &start
	}
	if s.CompletionTimestamp == nil {
		s.CompletionTimestamp = &end
		s.Duration = max(0, end.Sub(s.StartTimestamp.Rfc3339Copy().Time))
	}
	if pod == nil {
		return
	}
	if stages := stages(pod); len(stages) > 0 {
		s.Stages = stages
	}
	if s.Phase == buildv1.BuildPhaseFailed || s.Phase == buildv1.BuildPhaseError {
		s.LogSnippet = cmp.Or(s.LogSnippet, snippet(pod))
	}
	if s.Phase != buildv1.BuildPhaseComplete || b.Spec.Output.To == nil {
		return
	}
	if digest := pushed(pod); digest != "" {
		s.Output.To = &buildv1.BuildStatusOutputTo{ImageDigest: digest}
	} else if s.Output.To == nil {
		s.Message = messageNoDigest
	}
}

// Of a log's lines that a status keeps: how many, how long one may be, and how much of
// a longer one is left at its begin and at its end.
const (
	snippetLines = 5
	snippetWidth = 120
	snippetHead  = 58
	snippetTail  = 59
)

// snippet is the end of what the container said that failed, or else the last one
// that ended.
func snippet(pod *corev1.Pod) string {
	c := failure(pod)
	if c == nil {
		all := containers(pod)
		if len(all) == 0 {
			return ""
		}
		c = &all[len(all)-1]
	}
	text := strings.Split(strings.TrimRight(c.end.Message, "\n"), "\n")
	if c.reported {
		text = c.report.Log
	}
	text = redact.New().Lines(text)
	text = text[max(0, len(text)-snippetLines):]
	for i, line := range text {
		if runes := []rune(line); len(runes) > snippetWidth {
			text[i] = string(runes[:snippetHead]) + "..." + string(runes[len(runes)-snippetTail:])
		}
	}
	return strings.Join(text, "\n")
}
