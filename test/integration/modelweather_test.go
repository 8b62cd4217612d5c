package integration

import (
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// weather does to all pools what happens to worlds, until the context ends,
// and then makes it fine again.
func (b *batch) weather(over <-chan struct{}) {
	events := weighted[func(<-chan struct{})]{
		{5, b.killSomewhere}, {4, b.cutWatches}, {3, b.registryFault}, {3, b.breakSettings}, {2, b.rotateSecret}, {1, b.changeBase},
	}
	for !b.still && !closed(over) {
		b.await(over, 20+b.random.IntN(150), never)
		if !closed(over) {
			events.pick(b.random)(over)
		}
	}
	<-over
	b.mu.Lock()
	b.calm, b.killIn = true, 0
	dead := b.process.wire.killed()
	b.mu.Unlock()
	if dead {
		b.restart(0)
	}
}

func (b *batch) killSomewhere(over <-chan struct{}) {
	b.mu.Lock()
	b.killIn, b.awaitsKill = 1+b.random.IntN(50), true
	b.mu.Unlock()
	b.await(over, 300, b.process.wire.killed)
	b.mu.Lock()
	b.killIn, b.awaitsKill = 0, false
	dead := b.process.wire.killed()
	b.mu.Unlock()
	if dead {
		b.restart(time.Duration(b.random.IntN(200)) * time.Millisecond)
	}
}

func (b *batch) cutWatches(<-chan struct{}) {
	runs := map[bool]string{false: "/pods", true: "/builds"}[b.builds]
	what := []string{"", runs, "/configmaps", "/machineconfigpools", "/machineconfigs"}[b.random.IntN(5)]
	expire := b.random.IntN(2) == 0
	b.everyone("watches of %q are cut, expired %t", what, expire)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.process.wire.cut(what, expire)
}

func (b *batch) registryFault(over <-chan struct{}) {
	status := []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusForbidden, kubelet.Down}[b.random.IntN(5)]
	b.everyone("the registry fails with %d", status)
	b.monitor.registryFails(status)
	b.registry.Fault(status)
	b.await(over, 10+b.random.IntN(100), never)
	b.registry.Fault(0)
	b.monitor.registryMended()
	b.everyone("the registry is well")
}

func (b *batch) breakSettings(over <-chan struct{}) {
	broken := b.settings()
	switch b.random.IntN(3) {
	case 0:
		delete(broken, api.KeyFinalImagePullspec)
	case 1:
		broken[api.KeyFinalImagePushSecretName] = "model-missing"
	case 2:
		broken[api.KeyMaxBuildRetries] = "many"
	}
	b.everyone("the settings are broken: %v", broken)
	b.set(api.ConfigMapBuildConfig, broken)
	b.await(over, 10+b.random.IntN(100), never)
	b.set(api.ConfigMapBuildConfig, b.settings())
	b.everyone("the settings are mended")
}

func (b *batch) rotateSecret(<-chan struct{}) {
	b.everyone("the Secret rotates")
	_, err := b.admin.Core.CoreV1().Secrets(namespace).Update(b.ctx, loginSecret(fmt.Sprint(b.random.Int())), metav1.UpdateOptions{})
	must(b.t, err)
}

func (b *batch) changeBase(<-chan struct{}) {
	b.base++
	b.everyone("another base image")
	b.set(api.ConfigMapOSImageURL, map[string]string{api.KeyBaseOSContainerImage: b.baseImage()})
}
