package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Outcome is how a run ends.
type Outcome string

// The outcomes.
const (
	// Succeed pushes the image and reports its digest. With a registry that
	// takes no images it ends as the builder does: PushFailed.
	Succeed Outcome = "succeeds"
	// Fail: a step of the user's exits with 1.
	Fail Outcome = "fails"
	// Evict: the node needs the pod's resources for others.
	Evict Outcome = "is evicted"
	// Kill: the container gets SIGKILL and says nothing.
	Kill Outcome = "is killed"
	// OutOfMemory: the kernel ends the container at its limit.
	OutOfMemory Outcome = "runs out of memory"
	// Forge reports a digest that was not pushed: Script.Digest.
	Forge Outcome = "forges a digest"
	// Mute ends well and reports nothing.
	Mute Outcome = "reports nothing"
	// Hang never ends by itself.
	Hang Outcome = "hangs"
)

// Script is what becomes of one pod.
type Script struct {
	// Pending is how long the pod waits, half of it for a node and half for its
	// images, Running how long its containers then run. With a Running of 0 it
	// goes from Pending to the end at once, as a watch may show a short run.
	Pending, Running time.Duration
	Outcome          Outcome
	// Digest is what Forge reports.
	Digest string
	// Stopping is how long the containers take to stop once the pod is asked to
	// go. With Stuck they never do, as on a node that is lost: only a deletion
	// without grace removes the pod.
	Stopping time.Duration
	Stuck    bool
}

// A Playwright writes the script of a pod when it is first seen.
type Playwright func(pod *corev1.Pod) Script

// Always gives every pod the same script.
func Always(s Script) Playwright { return func(*corev1.Pod) Script { return s } }
