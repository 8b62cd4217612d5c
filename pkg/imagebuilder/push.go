package imagebuilder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// MaxBytes is PushOptions.MaxBytes for those who do not know the volume's size.
const MaxBytes = handover.MaxBytes

// PushOptions are the inputs of Push.
type PushOptions struct {
	registryaccess.Access
	WorkDir     WorkDir
	HandoverDir string
	FinalImage  string
	Labels      map[string]string
	// MaxBytes is the most that the handed-over layers may have together.
	MaxBytes int64
	// MachineConfigDir is where the config is that is laid on what the steps left;
	// empty when it lies below that.
	MachineConfigDir    string
	MachineConfigSHA256 string
	Compression         registry.Compression
	// Share is the part in an index, where there is to be one.
	Share Share
}

// Push pushes what Build handed over and asks the registry for it. It runs no
// other program, and what the image says of itself is its own word: labels and
// annotations that Build left under the same names do not count.
//
// When the config comes last, it pushes what the steps left to where that is kept,
// unless it is there, and then an image of that and the config layer.
func Push(ctx context.Context, options PushOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	plan, err := options.WorkDir.readPlan()
	if err != nil {
		return result, err
	}
	if plan.ConfigLast != (options.MachineConfigDir != "") {
		return result, stale(errors.New("reading build plan: it does not say what the flags say of where the config lies"))
	}
	clients, err := options.Access.Clients()
	if err != nil {
		return result, err
	}
	defer func() {
		traffic := clients.Traffic()
		result.BytesPulled, result.BytesPushed = traffic.Down, traffic.Up
	}()

	if plan.ConfigLast {
		last := &configLast{options: options, plan: plan, clients: clients, progress: progress}
		err = last.push(ctx, &result)
	} else {
		err = pushShare(ctx, clients, options, plan, progress, &result)
	}
	if err == nil {
		keepSteps(ctx, clients, options, plan, progress)
	}
	return result, err
}

// pushShare pushes what was handed over: as the image, or as one of an index that
// whoever comes last makes.
func pushShare(ctx context.Context, clients *registryaccess.Clients, options PushOptions, plan plan, progress *steplog.Progress, result *buildspec.Result) error {
	own := options
	if !options.Share.alone() {
		var err error
		if own.FinalImage, err = options.Share.tag(options.FinalImage, options.Share.Architecture); err != nil {
			return err
		}
	}
	digest, err := pushBuilt(ctx, clients, own, plan, progress)
	if err != nil {
		return err
	}
	if options.Share.alone() {
		result.Digest = digest
		return nil
	}
	result.Member = digest
	index := joining{share: options.Share, client: clients.Push, options: options, plan: plan, progress: progress}
	result.Digest, result.Members, err = index.join(ctx, digest)
	return err
}

// pushBuilt pushes what was handed over and returns its digest.
func pushBuilt(ctx context.Context, clients *registryaccess.Clients, options PushOptions, plan plan, progress *steplog.Progress) (string, error) {
	progress.Step("handover", "checking what was built")
	image, err := readHandover(options, plan)
	if err != nil {
		return "", err
	}
	added, bytes := 0, int64(0)
	for _, layer := range image.Layers {
		if layer.Open != nil {
			added, bytes = added+1, bytes+layer.Size
		}
	}
	progress.Done("%s of the base, %d new, %s", steplog.Plural(len(image.Layers)-added, "layer"), added, steplog.Size(bytes))

	progress.Step("push", "pushing %s", options.FinalImage)
	digest, err := clients.Push.PushImage(ctx, options.FinalImage, image)
	if err != nil {
		return digest, pushFailure(err)
	}
	traffic := clients.Traffic()
	progress.Done("the registry confirms %s; %s up, %s down", digest, steplog.Size(traffic.Up), steplog.Size(traffic.Down))
	return digest, nil
}

func readHandover(options PushOptions, plan plan) (registry.Image, error) {
	image, err := handover.Open(options.HandoverDir, plan.Present, options.MaxBytes)
	if err != nil {
		return registry.Image{}, err
	}
	settleTimes(image, plan.Epoch)
	if !options.Share.alone() {
		if err := settlePlatform(image.Config, plan.Platform); err != nil {
			return registry.Image{}, err
		}
	}
	image.Config.Config.Labels = merged(image.Config.Config.Labels, options.Labels)
	config, err := json.Marshal(image.Config)
	if err != nil {
		return registry.Image{}, fmt.Errorf("encoding image config: %w", err)
	}
	ours := map[string]string{registry.AnnotationBaseName: plan.BaseImage, registry.AnnotationBaseDigest: plan.ImageDigest}
	all := merged(image.Annotations, ours)
	for _, key := range []string{annotationStepsKey, api.AnnotationStepsImage} {
		delete(all, key)
	}
	if plan.StepsKey != "" {
		all[annotationStepsKey] = plan.StepsKey
	}
	return registry.Image{Config: config, Layers: image.Layers, Annotations: all}, nil
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
