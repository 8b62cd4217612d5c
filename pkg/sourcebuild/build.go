package sourcebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// BuildOptions are the inputs of Build.
type BuildOptions struct {
	Build       *buildv1.Build
	WorkDir     WorkDir
	StorageDir  string
	HandoverDir string
	// Volumes are the strategy's volumes.
	Volumes []Volume
	// ProxyDir is where a proxy's settings are mounted; empty for none.
	ProxyDir string
}

// Volume is what steps find at a place, and the image does not have.
type Volume struct {
	Name        string
	Dir         string // where it is mounted in this container
	Destination string // where steps see it
}

// BuildSteps is how many steps Build announces.
const BuildSteps = 2

// Build runs the Dockerfile that Prepare left, on the store that it filled, and hands
// the image over to Push. It reads nothing from a network of its own accord and holds
// no credential of a registry.
func Build(ctx context.Context, options BuildOptions, progress *steplog.Progress) (report buildreport.Report, err error) {
	plan, err := options.WorkDir.readPlan()
	if err != nil {
		return report, err
	}
	program, err := buildah.New(options.StorageDir, plan.Driver)
	if err != nil {
		return report, err
	}
	defer program.Close()
	if program.Proxy, err = registryaccess.ReadProxy(options.ProxyDir); err != nil {
		return report, err
	}
	volumes, err := volumeFlags(filepath.Join(program.Dir(), "volumes"), options.Volumes)
	if err != nil {
		return report, err
	}

	defer begin(&report, progress, buildv1.StageBuild, buildv1.StepDockerBuild)()
	progress.Step("build", "running the Dockerfile: storage driver %s", plan.Driver)
	log, err := program.Build(ctx, plan.Stages == 1, progress.Line,
		slices.Concat(volumes, strategyFlags(options.Build), buildFlags(options.WorkDir, plan))...)
	if err != nil {
		return report, buildFailure(err, log, options.Build)
	}
	progress.Done("built")

	progress.Step("handover", "handing over what is new")
	if err := program.HandOver(ctx, builtImage, options.HandoverDir, plan.Present); err != nil {
		return report, err
	}
	progress.Done("handed over")
	return report, nil
}

// buildFlags: no stage is left out, since a post-commit hook is one that nothing needs;
// and the result may use instructions that an OCI image has no place for.
func buildFlags(work WorkDir, plan plan) []string {
	return []string{
		"--pull=never", "--isolation", "chroot", "--skip-unused-stages=false", "--format", "docker",
		"--ulimit", buildah.ProcessLimit(),
		"--file", work.dockerfile(), "--tag", builtImage, plan.Context,
	}
}

// strategyFlags are what the Build asks for. What source-to-image makes is one layer,
// so that Secrets that are removed are in none.
func strategyFlags(build *buildv1.Build) []string {
	strategy := build.Spec.Strategy.DockerStrategy
	if strategy == nil {
		return []string{"--layers=false"}
	}
	var flags []string
	layers := true
	if policy := strategy.ImageOptimizationPolicy; policy != nil {
		layers = *policy != buildv1.ImageOptimizationSkipLayers && *policy != buildv1.ImageOptimizationSkipLayersAndWarn
	}
	flags = append(flags, fmt.Sprintf("--layers=%t", layers))
	if strategy.NoCache {
		flags = append(flags, "--no-cache")
	}
	for _, argument := range strategy.BuildArgs {
		flags = append(flags, "--build-arg", argument.Name+"="+argument.Value)
	}
	return flags
}

// volumeFlags show steps the volumes, below dir. Those are copied first: what the
// kubelet mounts is a link to a link, in a mount that a user namespace may not mount
// again.
func volumeFlags(dir string, volumes []Volume) ([]string, error) {
	var flags []string
	for _, volume := range volumes {
		to := filepath.Join(dir, volume.Name)
		if err := copyTree(volume.Dir, to, 0); err != nil {
			return nil, fmt.Errorf("laying out volume %s for the steps: %w", volume.Name, err)
		}
		flags = append(flags, "--volume", to+":"+volume.Destination+":ro")
	}
	return flags, nil
}

// maxDepth bounds how deep the folders of a volume are: a link may lead back.
const maxDepth = 32

// copyTree copies files and folders, links followed, so that whoever a step runs as can
// read them.
func copyTree(from, to string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d folders deep", from, maxDepth)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // a step may run as any user
		return err
	}
	for _, entry := range entries {
		// The kubelet's own entries begin so.
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		at, into := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		info, err := os.Stat(at)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			if err := copyTree(at, into, depth+1); err != nil {
				return err
			}
			continue
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", at)
		}
		content, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		if err := os.WriteFile(into, content, mode); err != nil {
			return err
		}
	}
	return nil
}

// buildFailure says which step failed.
func buildFailure(err error, log *buildah.Log, build *buildv1.Build) error {
	reason := buildv1.StatusReasonDockerBuildFailed
	if build.Spec.Strategy.DockerStrategy == nil {
		reason = buildv1.StatusReasonGenericBuildFailed
	}
	var exit *buildah.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if log.Text == "" {
		return &failure{reason: reason, err: fmt.Errorf("running the Dockerfile: %w", err), log: exit.Log}
	}
	message := fmt.Errorf("step %d failed with exit code %d: %s", log.Number, log.ExitCode, log.Text)
	if log.ExitCode == 0 {
		message = fmt.Errorf("step %d failed: %s: %s", log.Number, log.Text, log.Cause)
	}
	return &failure{reason: reason, err: message, log: log.Output.End()}
}
