package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// BuildOptions are the inputs of Build.
type BuildOptions struct {
	Volumes
	Labels map[string]string
}

// Build runs the Dockerfile that Prepare left, on the store that Prepare filled.
// It reads nothing from a network of its own accord and holds no credential.
func Build(ctx context.Context, options BuildOptions, progress *Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	plan, err := options.readPlan()
	if err != nil {
		return result, err
	}
	text, err := os.ReadFile(options.dockerfile())
	if err != nil {
		return result, fmt.Errorf("reading Dockerfile: %w", err)
	}
	file, err := dockerfile.ParseRendered(string(text))
	if err != nil {
		return result, err
	}
	program, err := newBuildah(options.Volumes, plan.Driver)
	if err != nil {
		return result, err
	}
	defer program.close()

	progress.Step("build", "running the Dockerfile: %s, storage driver %s", plural(file.Steps(), "instruction"), plan.Driver)
	log := newBuildLog()
	err = program.run(ctx, func(line string) {
		if log.add(line) {
			progress.Line(line)
		}
	}, "build", buildFlags(options, plan)...)
	if err != nil {
		return result, buildFailure(err, log, file)
	}
	progress.Done("built")
	return result, nil
}

// buildFlags: one commit for each stage instead of one for each instruction,
// since nothing is left to be reused in a store that dies with the pod.
func buildFlags(options BuildOptions, plan plan) []string {
	flags := []string{
		"--pull=never", "--isolation", "chroot", "--layers=false", "--format", "oci",
		"--file", options.dockerfile(), "--tag", builtImage,
	}
	for _, label := range sortedPairs(options.Labels) {
		flags = append(flags, "--label", label)
	}
	annotations := map[string]string{
		registry.AnnotationBaseName: plan.BaseImage, registry.AnnotationBaseDigest: plan.ImageDigest,
	}
	for _, annotation := range sortedPairs(annotations) {
		flags = append(flags, "--annotation", annotation)
	}
	return append(flags, options.context())
}

// buildFailure says which step failed, and where it stands in the text that the
// administrator wrote.
func buildFailure(err error, log *buildLog, file *dockerfile.File) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return fail(api.ReasonBuildFailed, err)
	}
	if log.text == "" {
		return fail(api.ReasonBuildFailed, fmt.Errorf("running the Dockerfile: %w", err))
	}
	step := &FailedStep{Text: log.text, ExitCode: log.exitCode, Log: log.log.lines}
	if step.ExitCode == 0 {
		step.ExitCode = exit.code
	}
	where := "the step"
	if line, found := file.StepLine(log.stage, log.number, log.text); found {
		step.Line = line
		where = fmt.Sprintf("line %d of the custom Dockerfile", line)
	}
	message := fmt.Errorf("%s failed with exit code %d: %s", where, step.ExitCode, log.text)
	if log.exitCode == 0 && log.cause != "" {
		message = fmt.Errorf("%s failed: %s: %s", where, log.text, log.cause)
	}
	return &Failure{Reason: api.ReasonBuildFailed, Err: message, Step: step}
}
