package imagebuilder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// MaxBytes is PushOptions.MaxBytes for those who do not know the volume's size.
const MaxBytes = handover.MaxBytes

// PushOptions are the inputs of Push.
type PushOptions struct {
	Access
	WorkDir     WorkDir
	HandoverDir string
	FinalImage  string
	Labels      map[string]string
	// MaxBytes is the most that the handed-over layers may have together.
	MaxBytes int64
}

// Push pushes what Build handed over and asks the registry for it. It runs no
// other program, and what the image says of itself is its own word: labels and
// annotations that Build left under the same names do not count.
func Push(ctx context.Context, options PushOptions, progress *Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	plan, err := options.WorkDir.readPlan()
	if err != nil {
		return result, err
	}
	clients, err := options.Access.clients()
	if err != nil {
		return result, err
	}
	defer func() {
		traffic := clients.traffic()
		result.BytesPulled, result.BytesPushed = traffic.Down, traffic.Up
	}()

	progress.Step("handover", "checking what was built")
	image, err := readHandover(options, plan)
	if err != nil {
		return result, err
	}
	added, bytes := 0, int64(0)
	for _, layer := range image.Layers {
		if layer.Open != nil {
			added, bytes = added+1, bytes+layer.Size
		}
	}
	progress.Done("%s of the base, %d new, %s", plural(len(image.Layers)-added, "layer"), added, size(bytes))

	progress.Step("push", "pushing %s", options.FinalImage)
	digest, err := clients.push.PushImage(ctx, options.FinalImage, image)
	if err != nil {
		return result, pushFailure(err)
	}
	traffic := clients.traffic()
	progress.Done("the registry confirms %s; %s up, %s down", digest, size(traffic.Up), size(traffic.Down))
	result.Digest = digest
	return result, nil
}

func readHandover(options PushOptions, plan plan) (registry.Image, error) {
	image, err := handover.Open(options.HandoverDir, plan.Present, options.MaxBytes)
	if err != nil {
		return registry.Image{}, err
	}
	settleTimes(image, plan.Epoch)
	image.Config.Config.Labels = merged(image.Config.Config.Labels, options.Labels)
	config, err := json.Marshal(image.Config)
	if err != nil {
		return registry.Image{}, fmt.Errorf("encoding image config: %w", err)
	}
	return registry.Image{Config: config, Layers: image.Layers, Annotations: merged(image.Annotations, map[string]string{
		registry.AnnotationBaseName: plan.BaseImage, registry.AnnotationBaseDigest: plan.ImageDigest,
	})}, nil
}

// annotationCreated is the OCI's for when an image was made.
const annotationCreated = "org.opencontainers.image.created"

// settleTimes takes the times of this build out of what the image tells of itself.
func settleTimes(image *handover.Image, epoch time.Time) {
	image.Config.Created = v1.Time{Time: epoch}
	for i := range image.Config.History {
		if created := &image.Config.History[i].Created; created.After(epoch) {
			created.Time = epoch
		}
	}
	if _, found := image.Annotations[annotationCreated]; found {
		image.Annotations[annotationCreated] = epoch.Format(time.RFC3339)
	}
}

// merged is a new map, in which ours wins.
func merged(theirs, ours map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, theirs)
	maps.Copy(out, ours)
	return out
}
