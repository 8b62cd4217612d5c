package sourcebuild

import (
	"context"
	"encoding/json"
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// PushOptions are the inputs of Push.
type PushOptions struct {
	registryaccess.Access
	Build       *buildv1.Build
	WorkDir     WorkDir
	HandoverDir string
	// MaxBytes is the most that the handed-over layers may have together.
	MaxBytes int64
}

// MaxBytes is PushOptions.MaxBytes for those who do not know the volume's size.
const MaxBytes = handover.MaxBytes

// PushSteps is how many steps Push announces.
const PushSteps = 2

// Push pushes what Build handed over to spec.output.to, and the report has the digest
// that the registry confirmed. Without an output it checks what was handed over, and
// that is all. It runs no other program.
func Push(ctx context.Context, options PushOptions, progress *steplog.Progress) (report buildreport.Report, err error) {
	plan, err := options.WorkDir.readPlan()
	if err != nil {
		return report, err
	}
	progress.Step("handover", "checking what was built")
	image, err := handover.Open(options.HandoverDir, plan.Present, options.MaxBytes)
	if err != nil {
		return report, err
	}
	config, err := json.Marshal(image.Config)
	if err != nil {
		return report, fmt.Errorf("encoding image config: %w", err)
	}
	progress.Done("%s", steplog.Plural(len(image.Layers), "layer"))
	target := output(options.Build)
	if target == "" {
		progress.Note("the Build has no spec.output.to, so nothing is pushed")
		return report, nil
	}

	step := buildv1.StepPushDockerImage
	if options.Build.Spec.Strategy.SourceStrategy != nil {
		step = buildv1.StepPushImage
	}
	defer begin(&report, progress, buildv1.StagePushImage, step)()
	progress.Step("push", "pushing %s", target)
	clients, err := options.Access.Clients()
	if err != nil {
		return report, fail(buildv1.StatusReasonPushImageToRegistryFailed, err)
	}
	digest, err := clients.Push.PushImage(ctx, target, registry.Image{Config: config, Layers: image.Layers, Annotations: image.Annotations})
	if err != nil {
		return report, fail(buildv1.StatusReasonPushImageToRegistryFailed, err)
	}
	report.Digest = digest
	progress.Done("the registry confirms %s", digest)
	return report, nil
}
