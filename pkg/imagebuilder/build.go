package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// BuildOptions are the inputs of Build.
type BuildOptions struct {
	WorkDir     WorkDir
	StorageDir  string
	HandoverDir string
	// ProxyDir is where a proxy's settings are mounted; empty for none.
	ProxyDir string
	// StepFilesDir has what steps are given (buildspec.StepFiles); any of it may be
	// missing.
	StepFilesDir string
	Compression  registry.Compression
}

// Build runs the Dockerfile that Prepare left, on the store that Prepare filled,
// and hands the image over to Push. It reads nothing from a network of its own
// accord and holds no credential of a registry.
func Build(ctx context.Context, options BuildOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	plan, err := options.WorkDir.readPlan()
	if err != nil {
		return result, err
	}
	if plan.KeptSteps != "" {
		progress.Note("what the steps leave is kept, nothing has to run")
		return result, nil
	}
	text, err := os.ReadFile(options.WorkDir.dockerfile())
	if err != nil {
		return result, fmt.Errorf("reading Dockerfile: %w", err)
	}
	file, err := dockerfile.ParseRendered(string(text))
	if err != nil {
		return result, err
	}
	program, err := buildah.New(options.StorageDir, plan.Driver)
	if err != nil {
		return result, err
	}
	defer program.Close()
	if program.Proxy, err = registryaccess.ReadProxy(options.ProxyDir); err != nil {
		return result, err
	}
	volumes, err := stepVolumes(program, options.StepFilesDir, file)
	if err != nil {
		return result, err
	}

	progress.Step("build", "running the Dockerfile: %s, storage driver %s", steplog.Plural(file.Steps(), "instruction"), plan.Driver)
	log, err := program.Build(ctx, false, progress.Line,
		slices.Concat(volumes, platformFlags(plan.Platform), buildFlags(options.WorkDir, plan.Cache != nil))...)
	if err != nil {
		return result, buildFailure(err, log, file, plan.Platform)
	}
	progress.Done("built")

	progress.Step("handover", "compressing what is new")
	if err := handOverAll(ctx, program, log.Made, options, plan, progress); err != nil {
		return result, err
	}
	progress.Done("handed over")
	return result, nil
}

// handOverAll hands over the image and, where that is kept, what the steps left.
func handOverAll(ctx context.Context, program *buildah.Program, made map[buildah.StepAt]string, options BuildOptions, plan plan, progress *steplog.Progress) error {
	if err := program.HandOver(ctx, builtImage, options.HandoverDir, plan.Present); err != nil {
		return err
	}
	form := handover.Form{Base: plan.DiffIDs, Epoch: plan.Epoch, Compression: options.Compression}
	settled, err := handover.Settle(ctx, options.HandoverDir, plan.Present, form)
	if err != nil || plan.Cache == nil {
		return err
	}
	err = handOverSteps(ctx, program, made, options.HandoverDir, plan, settled, form)
	if err != nil && ctx.Err() == nil {
		progress.Note("warning: nothing of these steps is kept: %v", err)
	}
	return ctx.Err()
}

// buildFlags: one commit for each stage instead of one for each instruction, unless
// what each leaves is kept: nothing is reused in a store that dies with the pod.
func buildFlags(work WorkDir, cached bool) []string {
	return []string{
		"--pull=never", "--isolation", "chroot", fmt.Sprintf("--layers=%t", cached), "--format", "oci",
		"--ulimit", buildah.ProcessLimit(),
		"--file", work.dockerfile(), "--tag", builtImage, work.context(),
	}
}

// buildFailure says which step failed, and where it stands in the text that the
// administrator wrote.
func buildFailure(err error, log *buildah.Log, file *dockerfile.File, platform string) error {
	var exit *buildah.ExitError
	if !errors.As(err, &exit) {
		return fail(api.ReasonBuildFailed, err)
	}
	if log.Text == "" {
		return fail(api.ReasonBuildFailed, fmt.Errorf("running the Dockerfile: %w", err))
	}
	step := &FailedStep{Text: log.Text, ExitCode: log.ExitCode, Log: log.Output.End()}
	if step.ExitCode == 0 {
		step.ExitCode = exit.Code
	}
	if file.InstallsPackages(log.Stage, log.Number) {
		return installFailure(step, log, file.Configs(), platform)
	}
	where := "the step"
	if at, found := file.Find(log.Stage, log.Number, log.Text); found {
		step.Line = at.Line
		where = place(at)
	}
	message := fmt.Errorf("%s failed with exit code %d: %s", where, step.ExitCode, log.Text)
	if log.ExitCode == 0 && log.Cause != "" {
		message = fmt.Errorf("%s failed: %s: %s", where, log.Text, log.Cause)
	}
	return &Failure{Reason: api.ReasonBuildFailed, Err: explainForeign(message, platform, log), Step: step}
}

// place names a step as the log does: its number is that within its stage.
func place(at dockerfile.Position) string {
	stage := ""
	if at.Stage != "" && at.Stage != dockerfile.StageFinal {
		stage = " of stage " + at.Stage
	}
	return fmt.Sprintf("step %d%s, line %d of the custom Dockerfile,", at.Number, stage, at.Line)
}
