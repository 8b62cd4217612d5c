package basepoll

import (
	"cmp"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// tokenPrefix begins the tokens of rebuilds that this loop asks for.
const tokenPrefix = "base-"

// base is what a pool's image was built on.
type base struct {
	// image is the pool's, digest what the pullspec named when it was built.
	image, pullspec, digest string
	// built is when its build ended.
	built time.Time
	// last is the inputs hash of the pool's last build.
	last string
}

// token asks for a rebuild on what the pullspec names now. It is another one
// after each build: a token that a build of another config has answered, or that
// of an earlier move to the same digest, asks for nothing any more.
func (b base) token(digest string) string { return tokenPrefix + digest + "-" + b.last }

// polled is true for a pool that has the image that it should have. Another one
// takes what the tag names then, and would be thrown away for this one's base.
func polled(pool *mcfgv1.MachineConfigPool) bool {
	_, optedIn := pool.Labels[api.LabelLayeringEnabled]
	return optedIn && pool.DeletionTimestamp == nil &&
		pool.Annotations[api.AnnotationNewestImage] != "" && pool.Annotations[api.AnnotationImageConfig] == pool.Spec.Configuration.Name &&
		slices.ContainsFunc(pool.Status.Conditions, func(c mcfgv1.MachineConfigPoolCondition) bool {
			return c.Type == mcfgv1.MachineConfigPoolBuildSuccess && c.Status == corev1.ConditionTrue
		})
}

// wakes is true when a pool comes to have its image, or another one.
func wakes(before, after *mcfgv1.MachineConfigPool) bool {
	if after == nil || !polled(after) {
		return false
	}
	return before == nil || !polled(before) || before.Annotations[api.AnnotationNewestImage] != after.Annotations[api.AnnotationNewestImage]
}

// baseOf returns what a polled pool's image was built on; nil for a base by
// digest, which does not move, for one that the pool does not have any more, and
// for an image without a record of its build. baseImage is that of pools whose
// configs name none.
func baseOf(pool *mcfgv1.MachineConfigPool, records []osbuild.Record, baseImage string) *base {
	for _, r := range records {
		if r.Image != pool.Annotations[api.AnnotationNewestImage] || r.RenderedConfig != pool.Spec.Configuration.Name {
			continue
		}
		if r.BaseDigest == "" || strings.Contains(r.Inputs.BaseImage, "@") || r.Inputs.BaseImage != cmp.Or(r.Config.OSImageURL, baseImage) {
			return nil
		}
		return &base{image: r.Image, pullspec: r.Inputs.BaseImage, digest: r.BaseDigest, built: r.Finished, last: osbuild.Newest(records).InputsHash}
	}
	return nil
}
