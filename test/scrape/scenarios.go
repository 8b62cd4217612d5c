package main

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

type scenario struct {
	name string
	play func(*world) error
}

// scenarios are told of in module test/observability, which says what alerts
// each has to raise.
var scenarios = []scenario{
	{"healthy", healthy},
	{"restart", restart},
	{"failed", failed},
	{"opted-out", optedOut},
	{"never-ends", neverEnds},
	{"queue-stuck", queueStuck},
	{"queue-slow", queueSlow},
	{"retries", retries},
	{"registry-silent", registrySilent},
	{"registry-refuses", registryRefuses},
	{"api-refuses", apiRefuses},
	{"down", down},
	{"no-leader", noLeader},
}

// steps does one thing after another until one fails.
func steps(list ...func() error) error {
	for _, step := range list {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func state(pool, reason, state string) string {
	return fmt.Sprintf("ocl_build_state{pool=%q,reason=%q,state=%q} 1", pool, reason, state)
}

func built(pool string) string { return state(pool, api.ReasonBuildSucceeded, "succeeded") }

func waits(pool string) string { return state(pool, api.ReasonWaitingForSlot, "pending") }

func runs(pool string) string { return fmt.Sprintf("ocl_active_builds{pool=%q} 1", pool) }

// buildAll takes a pool's run to a good end.
func (w *world) buildAll(pools ...string) error {
	for _, pool := range pools {
		err := steps(
			func() error { return w.until(runs(pool)) },
			func() error { return w.goOn(pool, backend.PhaseRunning, nil) },
			func() error { return w.until(state(pool, api.ReasonBuildRunning, "building")) },
			func() error { return w.hold(4 * time.Minute) },
			func() error { return w.succeed(pool) },
			func() error { return w.until(built(pool)) },
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// healthy: three pools are built, of which one waits for a slot; a fourth
// finds its image. Then all is quiet.
func healthy(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.hold(time.Minute) },
		func() error { return w.optIn("infra", "master") },
		func() error { return w.until(runs("infra"), runs("master")) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(waits("worker")) },
		func() error { return w.hold(time.Minute) },
		func() error { return w.buildAll("infra", "worker", "master") },
		func() error { return w.until(`ocl_build_total{pool="worker",state="succeeded"} 1`) },
		func() error { return w.hold(6 * time.Hour) },
	)
}

// restart: the counters begin anew, the states are what they were.
func restart(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.buildAll("worker") },
		func() error { return w.hold(10 * time.Minute) },
		func() error { w.process.kill(); w.outage(time.Minute); return nil },
		func() error { return w.start(true) },
		func() error {
			return w.until(built("worker"), `ocl_build_total{pool="worker",state="succeeded"} 0`, `ocl_active_builds{pool="worker"} 0`)
		},
		func() error { return w.hold(4 * time.Hour) },
	)
}

// failed: a Dockerfile is wrong and, an hour later, corrected.
func failed(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(runs("worker")) },
		func() error { return w.fail("worker", api.ReasonInvalidDockerfile) },
		func() error { return w.until(state("worker", api.ReasonInvalidDockerfile, "failed")) },
		func() error { return w.hold(time.Hour) },
		func() error {
			return w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN true\n"})
		},
		func() error { return w.buildAll("worker") },
		func() error { return w.hold(time.Hour) },
	)
}

// optedOut: a pool whose build failed is not ours any more.
func optedOut(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(runs("worker")) },
		func() error { return w.fail("worker", api.ReasonInvalidDockerfile) },
		func() error { return w.until(state("worker", api.ReasonInvalidDockerfile, "failed")) },
		func() error { return w.hold(time.Minute) },
		func() error { return w.optOut("worker") },
		func() error { return w.untilGone(`{pool="worker"`) },
		func() error { return w.hold(time.Hour) },
	)
}

// neverEnds: a run goes on and on.
func neverEnds(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(runs("worker")) },
		func() error { return w.goOn("worker", backend.PhaseRunning, nil) },
		func() error { return w.until(state("worker", api.ReasonBuildRunning, "building")) },
		func() error { return w.hold(4 * time.Hour) },
	)
}

func (w *world) oneAtATime() error {
	return w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: repository, api.KeyMaxConcurrentBuilds: "1"})
}

// queue makes a pool wait for the run of another.
func (w *world) queue() error {
	return steps(
		w.oneAtATime,
		func() error { return w.start(true) },
		func() error { return w.optIn("infra") },
		func() error { return w.until(runs("infra")) },
		func() error { return w.goOn("infra", backend.PhaseRunning, nil) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(waits("worker"), state("infra", api.ReasonBuildRunning, "building")) },
	)
}

// queueStuck: the loop hangs, and nobody starts what waits.
func queueStuck(w *world) error {
	return steps(
		w.queue,
		func() error { return w.hold(time.Minute) },
		func() error { w.process.freeze(); return w.succeed("infra") },
		func() error { return w.until(`ocl_active_builds{pool="infra"} 0`) },
		func() error { return w.hold(time.Hour) },
	)
}

// queueSlow: two others come first, and take long.
func queueSlow(w *world) error {
	return steps(
		w.oneAtATime,
		func() error { return w.start(true) },
		func() error { return w.optIn("infra") },
		func() error { return w.until(runs("infra")) },
		func() error { return w.optIn("master") },
		func() error { return w.until(waits("master")) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(waits("worker")) },
		func() error { return w.goOn("infra", backend.PhaseRunning, nil) },
		func() error { return w.until(state("infra", api.ReasonBuildRunning, "building")) },
		func() error { return w.hold(100 * time.Minute) },
		func() error { return w.succeed("infra") },
		func() error { return w.until(built("infra"), runs("master"), waits("worker")) },
		func() error { return w.goOn("master", backend.PhaseRunning, nil) },
		func() error { return w.until(state("master", api.ReasonBuildRunning, "building")) },
		func() error { return w.hold(100 * time.Minute) },
	)
}

// retries: seven tries fail, the eighth is a success.
func retries(w *world) error {
	err := steps(
		func() error {
			return w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: repository, api.KeyMaxBuildRetries: "10"})
		},
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
	)
	if err == nil {
		err = w.failTries("worker", api.ReasonBuildFailed, 7)
	}
	return errors.Join(err, steps(
		func() error { return w.buildAll("worker") },
		func() error { return w.hold(4 * time.Hour) },
	))
}

// failTries lets one try after another fail, and time pass until the next is due.
func (w *world) failTries(pool, reason string, tries int) error {
	for try := range tries {
		err := steps(
			func() error {
				return w.until(runs(pool), fmt.Sprintf("ocl_build_retries_total{pool=%q} %d\n", pool, try))
			},
			func() error { return w.fail(pool, reason) },
			func() error { return w.until(state(pool, api.ReasonWaitingForRetry, "pending")) },
			func() error { return w.hold(osbuild.Backoff(try + 1)) },
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// registrySilent: the registry gives no answer for most of an hour.
func registrySilent(w *world) error {
	w.silence(true)
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.until(state("worker", api.ReasonWaitingForRegistry, "pending")) },
		func() error { return w.hold(50 * time.Minute) },
		func() error { w.silence(false); return w.buildAll("worker") },
		func() error { return w.hold(time.Hour) },
	)
}

// registryRefuses: no push succeeds.
func registryRefuses(w *world) error {
	return steps(
		func() error { return w.start(true) },
		func() error { return w.optIn("worker") },
		func() error { return w.failTries("worker", api.ReasonPushFailed, 3) },
		func() error { return w.until(runs("worker")) },
		func() error { return w.fail("worker", api.ReasonPushFailed) },
		func() error { return w.until(state("worker", api.ReasonPushFailed, "failed")) },
		func() error { return w.hold(30 * time.Minute) },
	)
}

// apiRefuses: the API server denies one request a minute, as it does when a
// role was edited.
func apiRefuses(w *world) error {
	if err := w.start(true); err != nil {
		return err
	}
	for range 45 {
		_, err := w.process.clients.Core.CoreV1().Secrets("kube-system").List(w.ctx, metav1.ListOptions{})
		if err == nil {
			return errors.New("the controller may list the Secrets of another namespace")
		}
		if err := w.hold(time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// down: nobody answers.
func down(w *world) error {
	err := steps(
		func() error { return w.start(true) },
		func() error { return w.hold(time.Hour) },
	)
	w.outage(30 * time.Minute)
	return err
}

// noLeader: a replica answers, and waits for a lease that nobody holds.
func noLeader(w *world) error {
	return steps(
		func() error { return w.start(false) },
		func() error { return w.hold(30 * time.Minute) },
	)
}
