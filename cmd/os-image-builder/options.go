package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/imagebuilder"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

const defaultTerminationMessagePath = "/dev/termination-log"

// options are the flags of one command, checked.
type options struct {
	terminationMessagePath string
	steps                  int // for the progress lines
	run                    func(context.Context, *steplog.Progress) outcome
	// failed reports a command line that is wrong.
	failed func(error) outcome
}

// poolFailed reports for the commands of pools.
func poolFailed(err error) outcome {
	return ofResult(buildspec.Result{Reason: api.ReasonBuildFailed, Message: err.Error()})
}

// commandSpec is what a command takes and does.
type commandSpec struct {
	name, about string
	steps       int
	groups      []group
	required    []string
	bind        func(*flags, map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error)
}

var commands = []commandSpec{
	{
		name: "append", about: "put the config layer on the base image through the registry; nothing runs, nothing is pulled",
		steps: imagebuilder.AppendSteps, groups: []group{machineConfigFlags, baseFlags, registryFlags, mirrorFlags, proxyFlags, compressionFlags, labelFlags},
		required: []string{"machine-config-dir", "machine-config-sha256", "base-image", "final-image"},
		bind:     bindAppend,
	},
	{
		name: "prepare", about: "pull the images that a Dockerfile names, and lay out the build",
		steps: imagebuilder.PrepareSteps, groups: []group{machineConfigFlags, baseFlags, registryFlags, mirrorFlags, proxyFlags, workFlags, storageFlags, dockerfileFlags, rebuildFlags, cacheFlags, architectureFlags, keptImagesFlags},
		required: []string{"machine-config-dir", "machine-config-sha256", "base-image", "final-image", "work-dir", "storage-dir", "dockerfile-dir", "dockerfile-sha256"},
		bind:     bindPrepare,
	},
	{
		name: "build", about: "run the steps of the Dockerfile, without credentials",
		steps: imagebuilder.BuildSteps, groups: []group{workFlags, storageFlags, handoverFlags, proxyFlags, compressionFlags},
		required: []string{"work-dir", "storage-dir", "handover-dir"},
		bind:     bindBuild,
	},
	{
		name: "push", about: "push what was built; nothing runs",
		steps: imagebuilder.PushSteps, groups: []group{machineConfigFlags, registryFlags, proxyFlags, workFlags, handoverFlags, limitFlags, compressionFlags, labelFlags, architectureFlags, indexFlags},
		required: []string{"work-dir", "handover-dir", "final-image"},
		bind:     bindPush,
	},
	{
		name: "lay", about: "write the config layer's files for a base image that is mounted, as in a step of a Dockerfile",
		steps: imagebuilder.LaySteps, groups: []group{machineConfigFlags, layFlags, removedFlags},
		required: []string{"machine-config-dir", "machine-config-sha256", "base-dir", "layer-dir", "removed-file"},
		bind:     bindLay,
	},
	{
		name: "remove", about: "take away what the config layer removes, before its files are copied",
		steps: imagebuilder.RemoveSteps, groups: []group{removedFlags, rootFlags},
		required: []string{"removed-file", "root-dir"},
		bind:     bindRemove,
	},
}

// parse reads the command line. All errors are reported at once; with them come
// options that still say where to report.
func parse(args []string) (options, error) {
	out := options{terminationMessagePath: defaultTerminationMessagePath, failed: poolFailed}
	if len(args) == 0 {
		return out, fmt.Errorf("reading command line: no command; want one of %s", commandNames())
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		return out, pflag.ErrHelp
	}
	for _, spec := range commands {
		if spec.name != args[0] {
			continue
		}
		return parseCommand(spec, args[1:])
	}
	if command := findBuildCommand(args[0]); command != nil {
		return parseBuildCommand(command, args[1:])
	}
	return out, fmt.Errorf("reading command line: unknown command %q; want one of %s", args[0], commandNames())
}

func parseCommand(spec commandSpec, args []string) (options, error) {
	out := options{steps: spec.steps, failed: poolFailed}
	values := &flags{}
	set := flagSet(spec, values, &out.terminationMessagePath)
	if err := set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return out, err
		}
		return out, fmt.Errorf("reading flags of %s: %w", spec.name, err)
	}
	labels, err := check(spec, set, values)
	if err != nil {
		return out, fmt.Errorf("reading flags of %s: %w", spec.name, err)
	}
	work := spec.bind(values, labels)
	out.run = func(ctx context.Context, progress *steplog.Progress) outcome {
		return ofResult(imagebuilder.Report(work(ctx, progress)))
	}
	switch {
	case spec.name == "push" && values.machineConfigDir != "":
		out.steps = imagebuilder.PushLastSteps
	case len(values.architectures) > 0:
		out.steps = imagebuilder.JoinSteps
	}
	return out, nil
}

func flagSet(spec commandSpec, values *flags, terminationMessagePath *string) *pflag.FlagSet {
	return newFlagSet(spec.name, terminationMessagePath, func(set *pflag.FlagSet) {
		for _, register := range spec.groups {
			register(set, values)
		}
	})
}

func newFlagSet(name string, terminationMessagePath *string, register func(*pflag.FlagSet)) *pflag.FlagSet {
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	register(set)
	set.StringVar(terminationMessagePath, "termination-message-path", defaultTerminationMessagePath, "file to write the result to; empty for none")
	return set
}

// checkSet wants no arguments, and the flags that are required.
func checkSet(set *pflag.FlagSet, requiredFlags []string) []error {
	var problems []error
	if set.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q", set.Arg(0)))
	}
	for _, required := range requiredFlags {
		if set.Lookup(required).Value.String() == "" {
			problems = append(problems, fmt.Errorf("--%s is required", required))
		}
	}
	return problems
}

func bindAppend(f *flags, labels map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, progress *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Append(ctx, imagebuilder.AppendOptions{
			Access: f.access(), MachineConfigDir: f.machineConfigDir, MachineConfigSHA256: f.machineConfigSHA256,
			BaseImage: f.baseImage, FinalImage: f.finalImage, Labels: labels,
			Compression: registry.Compression(f.layerCompression),
		}, progress)
	}
}

func bindPrepare(f *flags, _ map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, progress *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Prepare(ctx, imagebuilder.PrepareOptions{
			Access: f.access(), WorkDir: imagebuilder.WorkDir(f.workDir), StorageDir: f.storageDir, MachineConfigDir: f.machineConfigDir, MachineConfigSHA256: f.machineConfigSHA256,
			BaseImage: f.baseImage, FinalImage: f.finalImage, DockerfileDir: f.dockerfileDir, DockerfileSHA256: f.dockerfileSHA256,
			RebuildToken: f.rebuildToken, BuildCache: f.buildCache,
			Architecture: f.architecture, KeptImagesDir: f.keptImagesDir, KeptImagesHold: f.keptImagesHold,
		}, progress)
	}
}

func bindBuild(f *flags, _ map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, progress *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Build(ctx, imagebuilder.BuildOptions{
			WorkDir: imagebuilder.WorkDir(f.workDir), StorageDir: f.storageDir, HandoverDir: f.handoverDir,
			ProxyDir: f.proxyDir, StepFilesDir: buildspec.StepFilesDir,
			Compression: registry.Compression(f.layerCompression),
		}, progress)
	}
}

func bindPush(f *flags, labels map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, progress *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Push(ctx, imagebuilder.PushOptions{
			Access: f.access(), WorkDir: imagebuilder.WorkDir(f.workDir), HandoverDir: f.handoverDir,
			FinalImage: f.finalImage, Labels: labels, MaxBytes: f.maxBytes,
			MachineConfigDir: f.machineConfigDir, MachineConfigSHA256: f.machineConfigSHA256, Compression: registry.Compression(f.layerCompression),
			Share: imagebuilder.Share{Architecture: f.architecture, Architectures: f.architectures, Run: f.run},
		}, progress)
	}
}

func bindLay(f *flags, _ map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, progress *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Lay(ctx, imagebuilder.LayOptions{
			MachineConfigDir: f.machineConfigDir, MachineConfigSHA256: f.machineConfigSHA256, BaseDir: f.baseDir, LayerDir: f.layerDir, RemovedFile: f.removedFile,
		}, progress)
	}
}

func bindRemove(f *flags, _ map[string]string) func(context.Context, *steplog.Progress) (buildspec.Result, error) {
	return func(ctx context.Context, p *steplog.Progress) (buildspec.Result, error) {
		return imagebuilder.Remove(ctx, imagebuilder.RemoveOptions{RemovedFile: f.removedFile, RootDir: f.rootDir}, p)
	}
}

func commandNames() string {
	var names []string
	for _, spec := range commands {
		names = append(names, spec.name)
	}
	for _, command := range buildCommands {
		names = append(names, command.name)
	}
	return strings.Join(names, ", ")
}

func usage() string {
	var text strings.Builder
	text.WriteString("os-image-builder makes an image inside a build pod.\n")
	for _, spec := range commands {
		var path string
		fmt.Fprintf(&text, "\nos-image-builder %s: %s\n%s", spec.name, spec.about, flagSet(spec, &flags{}, &path).FlagUsages())
	}
	for _, command := range buildCommands {
		var path string
		fmt.Fprintf(&text, "\nos-image-builder %s: %s\n%s", command.name, command.about, buildFlagSet(&command, &buildFlags{}, &path).FlagUsages())
	}
	return text.String()
}
