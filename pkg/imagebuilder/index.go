package imagebuilder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// Share is a pod's part in the images of several architectures; zero for a pod
// that builds alone.
type Share struct {
	// Architecture is the pod's own.
	Architecture string
	// Architectures are all, in the order of the index.
	Architectures []string
	// Run is what the pods of this run have in common, and no earlier one.
	Run string
}

func (s Share) alone() bool { return s.Architecture == "" }

// tag is where this run keeps its image of an architecture.
func (s Share) tag(finalImage, architecture string) (string, error) {
	final, err := name.NewTag(finalImage)
	if err != nil {
		return "", fail(api.ReasonInvalidConfig, fmt.Errorf("reading the final image's name: %w", err))
	}
	return final.Context().Tag(names.MemberTag(final.TagStr(), architecture, s.Run)).Name(), nil
}

// settlePlatform makes the image tell the platform that it was built for: what a
// step left there does not count.
func settlePlatform(config *v1.ConfigFile, platform string) error {
	parsed, err := v1.ParsePlatform(platform)
	if err != nil {
		return fmt.Errorf("reading build plan: platform: %w", err)
	}
	config.OS, config.Architecture, config.Variant = parsed.OS, parsed.Architecture, parsed.Variant
	return nil
}

// joining makes the index once all of its images are there. Each pod looks after
// its own push, so that the last one finds them all; of two that do, both push
// the same bytes.
type joining struct {
	share    Share
	client   *registry.Client
	options  PushOptions
	plan     plan
	progress *steplog.Progress
}

// join pushes the index and returns its digest and its images', or nothing while
// one of them is not there.
func (j joining) join(ctx context.Context, own string) (digest string, members []string, err error) {
	j.progress.Step("index", "looking for the images of %s", strings.Join(j.share.Architectures, ", "))
	var images []*registry.BaseImage
	var missing []string
	for _, architecture := range j.share.Architectures {
		image, err := j.find(ctx, architecture, own)
		switch {
		case errors.Is(err, registry.ErrNotFound) && architecture != j.share.Architecture:
			missing = append(missing, architecture)
			continue
		case err != nil:
			return "", nil, pushFailure(err)
		}
		if err := j.check(architecture, image); err != nil {
			return "", nil, err
		}
		images, members = append(images, image), append(members, image.Digest)
	}
	if len(missing) > 0 {
		j.progress.Done("not there yet: %s; whoever comes last pushes the index", strings.Join(missing, ", "))
		return "", nil, nil
	}
	digest, err = j.client.PushIndex(ctx, j.options.FinalImage, registry.Index{Images: images, Annotations: map[string]string{
		registry.AnnotationBaseName: j.plan.BaseImage, registry.AnnotationBaseDigest: j.plan.BaseDigest,
	}})
	if err != nil {
		return "", nil, pushFailure(err)
	}
	j.progress.Done("the registry confirms the index %s", digest)
	return digest, members, nil
}

// find reads the image of an architecture: this pod's by its digest.
func (j joining) find(ctx context.Context, architecture, own string) (*registry.BaseImage, error) {
	tag, err := j.share.tag(j.options.FinalImage, architecture)
	if err != nil {
		return nil, err
	}
	if architecture == j.share.Architecture {
		if tag, err = pinned(tag, own); err != nil {
			return nil, err
		}
	}
	return j.client.OpenImage(ctx, tag)
}

// check refuses an image that does not belong to this pod's.
func (j joining) check(architecture string, image *registry.BaseImage) error {
	labels, err := image.Labels()
	if err != nil {
		return fail(api.ReasonUnconfirmedDigest, err)
	}
	for key, want := range j.options.Labels {
		if labels[key] != want {
			return fail(api.ReasonUnconfirmedDigest, fmt.Errorf("joining the images: label %s of %s, which is that of %s, is %q, want %q", key, image.Digest, architecture, labels[key], want))
		}
	}
	if image.Platform != system+"/"+architecture && !strings.HasPrefix(image.Platform, system+"/"+architecture+"/") {
		return fail(api.ReasonUnconfirmedDigest, fmt.Errorf("joining the images: %s is for %s, want %s/%s", image.Digest, image.Platform, system, architecture))
	}
	if base, want := image.Annotations()[registry.AnnotationBaseDigest], j.plan.Bases[architecture]; base != want {
		return fail(api.ReasonPullFailed, fmt.Errorf("joining the images: %s, read from %s, names %s for %s, and that of %s was built on %s; if its tag was not moved meanwhile, the nodes read it in different places: let all mirrors of it hold the same (the log of each pod names the one that it read), or name the base image by its digest",
			j.plan.BaseImage, j.plan.BaseSource, cmp.Or(want, "nothing"), architecture, architecture, base))
	}
	return nil
}
