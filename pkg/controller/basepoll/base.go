package basepoll

import (
	"cmp"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// tokenPrefix begins the tokens of rebuilds that this loop asks for.
const tokenPrefix = "base-"

// base is what a pool's image was built on, or what no build succeeded on.
type base struct {
	// image is the pool's, config the one that it targets.
	image, config string
	// digest is what the pullspec named when it was built upon.
	pullspec, digest string
	// perhapsMember: the digest may be that of one of an index's images, which is what
	// an image that was found in the registry says of its base.
	perhapsMember bool
	// built is when its build ended.
	built time.Time
	// last is the inputs hash of the pool's last build.
	last string
	// missed is the digest that the last build was asked for and did not find.
	missed string
}

// token asks for a rebuild on what the pullspec names now. It is another one
// after each build: a token that a build of another config has answered, or that
// of an earlier move to the same digest, asks for nothing any more.
func (b base) token(digest string) string { return tokenPrefix + digest + "-" + b.last }

// askedFor returns the digest that a token asks for; empty for one that is not
// this loop's.
func askedFor(token string) string {
	rest, ours := strings.CutPrefix(token, tokenPrefix)
	digest, _, whole := strings.Cut(rest, "-")
	if !ours || !whole {
		return ""
	}
	return digest
}

// polled is true for a pool that has the image that it should have, and for one
// that has no try left. Another one takes what the tag names then, and would be
// thrown away for this one's base.
func polled(pool *mcfgv1.MachineConfigPool) bool {
	return mcp.OptedIn(pool) && (gaveUp(pool) || mcp.True(pool.Status.Conditions, mcfgv1.MachineConfigPoolBuildSuccess) != nil && mcp.HasImage(pool))
}

func gaveUp(pool *mcfgv1.MachineConfigPool) bool {
	return mcp.True(pool.Status.Conditions, mcfgv1.MachineConfigPoolBuildFailed) != nil
}

// wakes is true when a pool comes to have its image, or another one, or to have
// no try left.
func wakes(before, after *mcfgv1.MachineConfigPool) bool {
	if after == nil || !polled(after) {
		return false
	}
	return before == nil || !polled(before) || before.Annotations[api.AnnotationNewestImage] != after.Annotations[api.AnnotationNewestImage]
}

// baseOf returns what a polled pool's image was built on, or what a rebuild that
// this loop asked for failed on; nil for a base by digest, which does not move,
// for one that the pool does not have any more, for an image without a record of
// its build, and for any other failure. baseImage is that of pools whose configs
// name none.
func baseOf(pool *mcfgv1.MachineConfigPool, records []osbuild.Record, baseImage string) *base {
	image, target := pool.Annotations[api.AnnotationNewestImage], pool.Spec.Configuration.Name
	for _, r := range records {
		if r.RenderedConfig != target {
			continue
		}
		digest := r.BaseDigest
		switch asked := askedFor(r.RebuildToken); {
		case !gaveUp(pool):
			if r.Image != image {
				return nil
			}
		case r.Outcome != osbuild.Failed || asked == "":
			return nil
		default:
			digest = cmp.Or(digest, asked)
		}
		if digest == "" || strings.Contains(r.Inputs.BaseImage, "@") || r.Inputs.BaseImage != cmp.Or(r.Config.OSImageURL, baseImage) {
			return nil
		}
		return &base{
			image: image, config: target, pullspec: r.Inputs.BaseImage, digest: digest, built: r.Finished,
			perhapsMember: r.Reason == api.ReasonImageReused,
			last:          osbuild.Newest(records).InputsHash, missed: missed(records),
		}
	}
	return nil
}

// missed returns the digest that the last build was asked for by this loop when
// neither it nor another that answered the same token found it: builds read
// another registry, or one that lags, and would do so again.
func missed(records []osbuild.Record) string {
	newest := osbuild.Newest(records)
	asked := askedFor(newest.RebuildToken)
	if newest.BaseDigest == "" || slices.ContainsFunc(records, func(r osbuild.Record) bool {
		return r.RebuildToken == newest.RebuildToken && r.BaseDigest == asked
	}) {
		return ""
	}
	return asked
}
