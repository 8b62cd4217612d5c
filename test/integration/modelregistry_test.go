package integration

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// registryFails tells that the registry fails now. Only one that refuses to say
// lets a build begin: others are asked again.
func (m *monitor) registryFails(status int) {
	if status == http.StatusForbidden {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.refusedUntil = time.Now().Add(time.Hour)
	}
}

// registryMended tells that it is well again.
func (m *monitor) registryMended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.refusedUntil.After(now) {
		m.refusedUntil = now
	}
}

// result finds the image that a write annotates.
var result = regexp.MustCompile(`"` + regexp.QuoteMeta(api.AnnotationNewestImage) + `":"([^"]+)"`)

// resultIn is the image that a request annotates; empty for none.
func resultIn(r *http.Request, about string) string {
	if found := result.FindStringSubmatch(about); found != nil && r.Method == http.MethodPatch {
		return found[1]
	}
	return ""
}

// guard sends an annotation and looks before whether the registry has its image.
// After it may be too late: what another image replaces is deleted in the end.
func (m *monitor) guard(pool, image string, send func() (*http.Response, error)) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		gone := !m.registry.Has(image) && !m.registry.Removed(image)
		response, err := send()
		if gone && err == nil && response.StatusCode == http.StatusOK {
			m.violate(pool, "%s is annotated, which the registry does not have, nor lost by others", image)
		}
		return response, err
	}
}

// checkAnnotations: the result names an image that is what it is said to be.
func (m *monitor) checkAnnotations(before, after *mcfgv1.MachineConfigPool) {
	image, config := after.Annotations[api.AnnotationNewestImage], after.Annotations[api.AnnotationImageConfig]
	if (image == "") != (config == "") {
		m.violateLocked(after.Name, "image %q of config %q: one without the other", image, config)
	}
	if image == "" || (before != nil && before.UID == after.UID && before.Annotations[api.AnnotationNewestImage] == image && before.Annotations[api.AnnotationImageConfig] == config) {
		return
	}
	if !m.registry.Had(image) {
		m.violateLocked(after.Name, "%s is annotated, which the registry never had", image)
		return
	}
	labels, err := m.registry.Labels(image)
	if err != nil {
		// It was there when the annotation was sent, as guard knows.
		m.tellLocked(after.Name, "annotated image: %v", err)
		return
	}
	if labels[api.ImageLabelMachineConfig] != config || labels[api.ImageLabelMachineConfigPool] != after.Name || !strings.Contains(labels[kubelet.LabelMachineConfig], marker(config)) {
		m.violateLocked(after.Name, "annotated image of %s is one of %s", config, labels[api.ImageLabelMachineConfig])
	}
}

// refusalServes is how long after it a registry's refusal may still begin a build:
// as long as the controller goes by it, and while the build is made.
const refusalServes = 15*time.Second/hurry + 2*time.Second

// checkNeeded: nothing is built that the registry has under its tag, unless it
// refused to say so, and has not said so since.
func (m *monitor) checkNeeded(w *watchedRun) {
	target := m.registry.Host + "/" + modelRepository + ":" + w.config
	image, err := m.registry.Digest(target)
	if err != nil {
		return
	}
	// By its digest: a tag may outlive its image.
	labels, err := m.registry.Labels(image)
	if err != nil || labels[api.ImageLabelInputsHash] != w.hash {
		return
	}
	pod := types.UID(labels[kubelet.LabelRun])
	maker := m.runs[m.runOf[pod]]
	if maker == nil || maker == w || maker.succeeded.IsZero() {
		return
	}
	refused, told := m.refusedUntil, m.registry.Told(target)
	if refused.After(maker.succeeded) && time.Since(refused) < refusalServes && !told.After(refused) {
		m.tellLocked(w.pool, "%s is built again after a refusal of the registry, %v later", w.config, time.Since(refused))
		return
	}
	m.violateLocked(w.pool, "%s is built again, %v after pod %s had built it; the registry refused to answer until %v ago, and last told of it %v ago",
		w.config, time.Since(maker.succeeded), short(pod), time.Since(refused), time.Since(told))
}
