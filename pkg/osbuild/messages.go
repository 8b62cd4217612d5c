package osbuild

import (
	"fmt"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// logLinesInMessage is how much of a failed run's output a condition carries.
const logLinesInMessage = 10

func clearingVerdict(o Observed, s state) (verdict, bool) {
	// A retry that is due goes on saying why it is one.
	if c := mcp.True(o.Conditions, mcfgv1.MachineConfigPoolBuildPending); len(s.stale) == 0 && c != nil {
		return verdict{}, false
	}
	objects := make([]string, 0, len(s.stale))
	for _, b := range s.stale {
		objects = append(objects, b.Object)
	}
	return verdict{
		mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForCleanup,
		"waiting until the objects of an earlier build are gone: " + strings.Join(objects, ", "),
	}, true
}

func runningVerdict(d Desired, run backend.Observation) verdict {
	of, waiting := run.Object+try(run.Attempt, d.MaxRetries), ""
	if run.Message != "" {
		waiting = "; it waits: " + run.Message
	}
	switch run.Phase {
	case backend.PhasePreparing:
		return verdict{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildPreparing, of + " pulls the images that the build needs" + waiting}
	case backend.PhaseRunning:
		return verdict{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning, of + " builds the image of " + d.Request.RenderedConfig + waiting}
	default:
		return startsVerdict(d, run.Object, run.Attempt, run.Changes, run.Message)
	}
}

// startsVerdict is the same for a run that is about to be made and for one
// that waits without trouble, so that the one becoming the other is no write.
func startsVerdict(d Desired, object string, attempt int, changes []string, trouble string) verdict {
	message := fmt.Sprintf("%s%s starts: %s", object, try(attempt, d.MaxRetries), strings.Join(changes, ", "))
	if trouble != "" {
		message += "; it waits: " + trouble
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending, message}
}

// unansweredVerdict takes a pool out of the queue: one that cannot start would
// hold up all behind it.
func unansweredVerdict(o Observed) verdict {
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRegistry, fmt.Sprintf(
		"the registry does not say whether it has %s: %v", o.Registry.Image, o.Registry.Err)}
}

func retryingVerdict(d Desired, s state) verdict {
	r := s.record
	if r.Reason == api.ReasonBuildInterrupted {
		return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry, fmt.Sprintf(
			"%s was interrupted: %s; it starts again at %s", r.Object, r.Message, r.RetryAt.UTC().Format(time.RFC3339))}
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry, fmt.Sprintf(
		"try %d of %d failed, the next starts at %s: %s", r.Attempts, d.MaxRetries+1, r.RetryAt.UTC().Format(time.RFC3339), failureMessage(*r))}
}

func successVerdict(d Desired, o Observed, s state) verdict {
	v := verdict{mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded, fmt.Sprintf("%s is the image of %s", s.record.Image, d.Request.RenderedConfig)}
	ran := s.current != nil && s.current.Phase != backend.PhaseNone
	if s.kind == annotating && !ran || s.record.Reason == api.ReasonImageReused {
		v.reason = api.ReasonImageReused
	}
	if c := mcp.True(o.Conditions, v.kind); s.kind == succeeded && c != nil && strings.HasPrefix(c.Message, v.message) {
		v.reason = c.Reason
	}
	return v
}

// finalMessage says what failed, shows the end of the output, says what to do,
// and where the whole log is while it is somewhere.
func finalMessage(s state) string {
	message := failureMessage(*s.record)
	if remedy := remedies[s.record.Reason]; remedy != "" {
		message += "\nwhat to do: " + remedy
	}
	if s.record.Reason == api.ReasonBuildCancelled {
		return message // its pod went with it
	}
	if s.current != nil && !s.current.Phase.Active() && s.current.Phase != backend.PhaseNone {
		return message + "\nthe whole log: " + wholeLog(s.current.Object)
	}
	return message + fmt.Sprintf("\nthe end of the log: key %s of ConfigMap/%s", api.KeyLog, names.Record(s.record.RenderedConfig))
}

// wholeLog is how to read what a run said. Only OpenShift's API server has the logs of
// Builds; their pods' are read in all containers, of which some may not have started.
func wholeLog(object string) string {
	command := "oc logs " + object
	if name, isBuild := strings.CutPrefix(object, names.RunKind(api.BuilderOpenShift)+"/"); isBuild {
		command += " (without OpenShift: kubectl logs --all-containers --ignore-errors pod/" + names.BuildPod(name) + ")"
	}
	return command
}

func failureMessage(r Record) string {
	n := len(r.Log)
	if n == 0 {
		return r.Message
	}
	// Indented, so that no step can seem to say what to do.
	return r.Message + "\nlast lines of the log:\n  " + strings.Join(r.Log[max(0, n-logLinesInMessage):], "\n  ")
}

const tryAgain = "ask for another try by a new value of the pool's annotation " + api.AnnotationRebuild

// remedies are what an administrator can do about a reason. Those that are not
// here have it in their message.
var remedies = map[string]string{
	api.ReasonBuildFailed:           "correct what the message names (the custom Dockerfile is in ConfigMap/" + api.ConfigMapCustomDockerfile + "), or " + tryAgain,
	api.ReasonBuildTimedOut:         "raise " + api.KeyBuildTimeout + " in ConfigMap/" + api.ConfigMapBuildConfig + " or make the build shorter, then " + tryAgain,
	api.ReasonOutOfMemory:           tryAgain + " after that",
	api.ReasonOutOfStorage:          tryAgain + " after that",
	api.ReasonPullFailed:            "check the image's name, the Secrets to pull with and that the registry can be reached, then " + tryAgain,
	api.ReasonPushFailed:            "check " + api.KeyFinalImagePullspec + ", the Secret to push with and that the registry can be reached, then " + tryAgain,
	api.ReasonInvalidConfig:         "correct it, then " + tryAgain,
	api.ReasonInvalidRenderedConfig: "correct the MachineConfig that the message names",
	api.ReasonExtensionsFailed: "correct spec.extensions and spec.kernelType of the MachineConfigs, or use the extensions image that belongs to the base image (" +
		api.KeyBaseOSExtensionsContainerImage + " in ConfigMap/" + api.ConfigMapOSImageURL + "); when that has changed under the same name, " + tryAgain,
	api.ReasonBuildCancelled:    tryAgain + ", or change an input; until then it is not tried again",
	api.ReasonUnconfirmedDigest: "check that the registry keeps what is pushed to it, then " + tryAgain,
}

func try(attempt, retries int) string {
	if attempt <= 1 {
		return ""
	}
	return fmt.Sprintf(" (try %d of %d)", attempt, retries+1)
}
