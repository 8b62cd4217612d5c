package executor

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// invalid is where a Build ends that cannot be run as it is: nothing changes it, so
// there is nothing to wait for.
func invalid(problems field.ErrorList) outcome {
	texts := make([]string, len(problems))
	output, images := true, true
	for i, p := range problems {
		texts[i] = p.Error()
		output = output && strings.HasPrefix(p.Field, "spec.output.to.")
		images = images && isImageField(p.Field)
	}
	text := strings.Join(texts, "; ")
	switch {
	case output:
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonInvalidOutputReference, messageInvalidOutputReference + " " + text}
	case images:
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonInvalidImageReference, messageInvalidImageReference + " " + text}
	default:
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonCannotCreateBuildPodSpec, messageCannotCreatePodSpec + text}
	}
}

func isImageField(path string) bool {
	return strings.HasPrefix(path, "spec.strategy.") && strings.Contains(path, "Strategy.from.") ||
		strings.HasPrefix(path, "spec.source.images[") && strings.Contains(path, "].from.")
}

// noServiceAccount is how the API server begins to say that a pod's ServiceAccount
// does not exist (kubernetes, plugin/pkg/admission/serviceaccount).
const noServiceAccount = "error looking up service account"

// Rejected is what to do when the API server finds a Build's pod not valid: it depends on
// nothing but the Build, so that another try would not fare better.
func Rejected(b *buildv1.Build, rejection error, now time.Time) Plan {
	plan := end(b, nil, outcome{buildv1.BuildPhaseFailed, buildv1.StatusReasonCannotCreateBuildPod, messageCannotCreatePod + rejection.Error()}, now)
	plan.Events = append([]Event{failedCreate(rejection)}, plan.Events...)
	return plan
}

func failedCreate(err error) Event {
	return Event{corev1.EventTypeWarning, api.EventFailedCreate, "Error creating: " + err.Error()}
}

// What changes in a text from try to try while the trouble stays the same: what a quota
// has left (kubernetes, pkg/quota, admission controller), and how a webhook could not be
// reached (pkg/admission/plugin/webhook).
var (
	usedQuota     = regexp.MustCompile(`, used: [^ ]*, limited: `)
	failedWebhook = regexp.MustCompile(`failed calling webhook "[^"]*"`)
	numbers       = regexp.MustCompile(`[^ ,;"]*[0-9][^ ,;"]*`)
)

// steady is a text without that. What the API server's own admission forbids it says in
// the same words each time, and its numbers are limits; from webhooks, policies and what
// breaks, they are times, addresses and identifiers as well.
func steady(text string) string {
	if webhook := failedWebhook.FindString(text); webhook != "" {
		return webhook
	}
	text = usedQuota.ReplaceAllString(text, "")
	if strings.Contains(text, " is forbidden: ") && !strings.Contains(text, " denied ") {
		return text
	}
	return numbers.ReplaceAllString(text, "")
}

// NotCreated is what to do when the API server, or a webhook of it, does not take a
// Build's pod. The Build stays New, since what is in the way may be mended: a quota, a
// ServiceAccount, a policy, a webhook that does not answer. Whoever calls it tries again.
func NotCreated(b *buildv1.Build, refusal error) Plan {
	status := b.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = buildv1.BuildPhaseNew, buildv1.StatusReasonCannotCreateBuildPod, messageCannotCreatePod+refusal.Error()
	if strings.Contains(refusal.Error(), noServiceAccount) {
		status.Reason, status.Message = buildv1.StatusReasonCannotRetrieveServiceAccount, messageNoServiceAccount
	}
	if steady(status.Message) == steady(b.Status.Message) {
		status.Message = b.Status.Message
	}
	plan := Plan{Status: changed(b, status)}
	if plan.Status != nil {
		plan.Events = []Event{failedCreate(refusal)}
	}
	return plan
}

// NotSpecified is what to do when no pod can be written down for a Build.
func NotSpecified(b *buildv1.Build, problem error, now time.Time) Plan {
	return end(b, nil, outcome{buildv1.BuildPhaseError, buildv1.StatusReasonCannotCreateBuildPodSpec, messageCannotCreatePodSpec + problem.Error()}, now)
}

// phaseEvents tells of a phase that a Build gets.
func phaseEvents(b *buildv1.Build, status *buildv1.BuildStatus) []Event {
	if status.Phase == b.Status.Phase {
		return nil
	}
	reason, text := "", ""
	switch status.Phase {
	case buildv1.BuildPhaseRunning:
		reason, text = api.EventBuildStarted, "is now running"
	case buildv1.BuildPhaseComplete:
		reason, text = api.EventBuildCompleted, "completed successfully"
	case buildv1.BuildPhaseFailed, buildv1.BuildPhaseError:
		reason, text = api.EventBuildFailed, "failed"
	case buildv1.BuildPhaseCancelled:
		reason, text = api.EventBuildCancelled, "has been cancelled"
	default:
		return nil
	}
	return []Event{{corev1.EventTypeNormal, reason, fmt.Sprintf("Build %s/%s %s", b.Namespace, b.Name, text)}}
}
