package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	"github.com/spf13/pflag"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
	"github.com/machine-os-builder/machine-os-builder/pkg/sourcebuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// buildFlags hold every flag's value of the commands for Build objects.
type buildFlags struct {
	workDir, storageDir, handoverDir       string
	sourceSecretDir, pushSecretDir         string
	pullSecretDirs, caFiles                []string
	registriesConf, proxyDir               string
	maxBytes                               int64
	imageSecretDirs                        []string // <index>=<directory>
	secretInputs, configMapInputs, volumes []string // <name>=<directory>
	allowedUIDs                            string
}

// buildGroup is flags that commands share.
type buildGroup func(*pflag.FlagSet, *buildFlags)

func buildWorkFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringVar(&f.workDir, "work-dir", "", "directory that fetch-source and prepare-build write, and the others only read")
	set.StringVar(&f.proxyDir, "proxy-dir", "", "directory with the files httpProxy, httpsProxy and noProxy, any of which may be missing")
}

func buildSourceFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringVar(&f.sourceSecretDir, "source-secret-dir", "", "mounted Secret to fetch the source with")
}

func buildCAFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringArrayVar(&f.caFiles, "ca-file", nil, "PEM file of certificates to trust besides the system's; may be missing; repeatable")
}

func buildPushFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringVar(&f.pushSecretDir, "push-secret-dir", "", "mounted Secret to push with")
}

func buildInputFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringArrayVar(&f.pullSecretDirs, "pull-secret-dir", nil, "mounted Secret to pull with; repeatable, the first that has a login wins")
	set.StringVar(&f.registriesConf, "registries-conf", "", "containers-registries.conf(5) with the mirrors to pull from")
	set.StringArrayVar(&f.imageSecretDirs, "image-secret-dir", nil, "<index>=<directory>: mounted Secret to pull spec.source.images[index] with; repeatable")
	set.StringArrayVar(&f.secretInputs, "secret-input", nil, "<name>=<directory>: mounted Secret of spec.source.secrets; repeatable")
	set.StringArrayVar(&f.configMapInputs, "config-map-input", nil, "<name>=<directory>: mounted ConfigMap of spec.source.configMaps; repeatable")
	set.StringVar(&f.allowedUIDs, "allowed-uids", "", "users that source-to-image may run assemble as, such as 1- or 1000-1999,5000; empty for all")
}

func buildStorageFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringVar(&f.storageDir, "storage-dir", "", "directory of the image store shared by prepare-build and run-build")
}

func buildHandoverFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringVar(&f.handoverDir, "handover-dir", "", "directory that run-build leaves the image in for push-build")
}

func buildLimitFlags(set *pflag.FlagSet, f *buildFlags) {
	set.Int64Var(&f.maxBytes, "max-bytes", sourcebuild.MaxBytes, "most bytes that the layers in --handover-dir may have together, such as the size of its volume")
}

func buildVolumeFlags(set *pflag.FlagSet, f *buildFlags) {
	set.StringArrayVar(&f.volumes, "volume", nil, "<name>=<directory>:<destination>: what steps see at a place; repeatable")
}

// buildCommand is a command for Build objects. All of its flags are checked before it
// runs; the Build comes from the environment.
type buildCommand struct {
	name, about string
	steps       int
	groups      []buildGroup
	required    []string
	run         func(context.Context, *buildv1.Build, *buildInputs, *steplog.Progress) (buildreport.Report, error)
}

var buildCommands = []buildCommand{
	{
		name: "fetch-source", about: "clone the git repository of a Build",
		steps: sourcebuild.FetchSteps, groups: []buildGroup{buildWorkFlags, buildSourceFlags, buildCAFlags},
		required: []string{"work-dir"},
		run: func(ctx context.Context, build *buildv1.Build, in *buildInputs, progress *steplog.Progress) (buildreport.Report, error) {
			return sourcebuild.Fetch(ctx, sourcebuild.FetchOptions{
				Build: build, WorkDir: sourcebuild.WorkDir(in.workDir), SourceSecretDir: in.sourceSecretDir, CAFiles: in.caFiles, ProxyDir: in.proxyDir,
			}, progress)
		},
	},
	{
		name: "prepare-build", about: "lay out the inputs of a Build, write its Dockerfile, and pull the images that it names",
		steps: sourcebuild.PrepareSteps, groups: []buildGroup{buildWorkFlags, buildStorageFlags, buildInputFlags, buildPushFlags, buildCAFlags},
		required: []string{"work-dir", "storage-dir"},
		run: func(ctx context.Context, build *buildv1.Build, in *buildInputs, progress *steplog.Progress) (buildreport.Report, error) {
			return sourcebuild.Prepare(ctx, sourcebuild.PrepareOptions{
				Access: in.access(), Build: build, WorkDir: sourcebuild.WorkDir(in.workDir), StorageDir: in.storageDir,
				ImageSecretDirs: in.images, SecretInputs: in.secrets, ConfigMapInputs: in.configMaps, AllowedUIDs: in.uids,
			}, progress)
		},
	},
	{
		name: "run-build", about: "run the Dockerfile of a Build, without credentials",
		steps: sourcebuild.BuildSteps, groups: []buildGroup{buildWorkFlags, buildStorageFlags, buildHandoverFlags, buildVolumeFlags},
		required: []string{"work-dir", "storage-dir", "handover-dir"},
		run: func(ctx context.Context, build *buildv1.Build, in *buildInputs, progress *steplog.Progress) (buildreport.Report, error) {
			return sourcebuild.Build(ctx, sourcebuild.BuildOptions{
				Build: build, WorkDir: sourcebuild.WorkDir(in.workDir), StorageDir: in.storageDir, HandoverDir: in.handoverDir,
				Volumes: in.mounts, ProxyDir: in.proxyDir,
			}, progress)
		},
	},
	{
		name: "push-build", about: "push what was built of a Build; nothing runs",
		steps: sourcebuild.PushSteps, groups: []buildGroup{buildWorkFlags, buildHandoverFlags, buildLimitFlags, buildPushFlags, buildCAFlags},
		required: []string{"work-dir", "handover-dir"},
		run: func(ctx context.Context, build *buildv1.Build, in *buildInputs, progress *steplog.Progress) (buildreport.Report, error) {
			return sourcebuild.Push(ctx, sourcebuild.PushOptions{
				Access: in.access(), Build: build, WorkDir: sourcebuild.WorkDir(in.workDir), HandoverDir: in.handoverDir, MaxBytes: in.maxBytes,
			}, progress)
		},
	},
}

// buildInputs are the flags, read.
type buildInputs struct {
	buildFlags
	images              map[int]string
	secrets, configMaps map[string]string
	mounts              []sourcebuild.Volume
	uids                s2i.UIDs
}

func (f *buildFlags) access() registryaccess.Access {
	return registryaccess.Access{
		PullSecretDirs: f.pullSecretDirs, PushSecretDir: f.pushSecretDir, CAFiles: f.caFiles, RegistriesConf: f.registriesConf, ProxyDir: f.proxyDir,
	}
}

func findBuildCommand(name string) *buildCommand {
	for i := range buildCommands {
		if buildCommands[i].name == name {
			return &buildCommands[i]
		}
	}
	return nil
}

// parseBuildCommand reads the command line of one of them. The error of a command line
// comes with options that report it as the command would.
func parseBuildCommand(command *buildCommand, args []string) (options, error) {
	out := options{steps: command.steps, failed: buildFailed}
	values := &buildFlags{}
	set := buildFlagSet(command, values, &out.terminationMessagePath)
	if err := set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return out, err
		}
		return out, fmt.Errorf("reading flags of %s: %w", command.name, err)
	}
	inputs, err := values.read(command, set)
	if err != nil {
		return out, fmt.Errorf("reading flags of %s: %w", command.name, err)
	}
	out.run = func(ctx context.Context, progress *steplog.Progress) outcome {
		build, err := readBuild()
		if err != nil {
			return buildFailed(err)
		}
		report, err := command.run(ctx, build, inputs, progress)
		return ofReport(sourcebuild.Report(report, err))
	}
	return out, nil
}

func buildFailed(err error) outcome {
	return ofReport(sourcebuild.Report(buildreport.Report{}, err))
}

// ofReport: the message is the reason's own, so that the log's last line tells more.
func ofReport(report buildreport.Report) outcome {
	out := outcome{succeeded: report.Succeeded, reason: string(report.Reason), message: report.Message, encode: report.Encode}
	if len(report.Log) > 0 {
		out.detail = report.Log[len(report.Log)-1]
	}
	return out
}

func readBuild() (*buildv1.Build, error) {
	text, found := os.LookupEnv(api.EnvBuild)
	if !found {
		return nil, fmt.Errorf("reading the Build: the environment has no %s", api.EnvBuild)
	}
	build := &buildv1.Build{}
	if err := json.Unmarshal([]byte(text), build); err != nil {
		return nil, fmt.Errorf("reading the Build from %s of the environment: %w", api.EnvBuild, err)
	}
	return build, nil
}

func buildFlagSet(command *buildCommand, values *buildFlags, terminationMessagePath *string) *pflag.FlagSet {
	return newFlagSet(command.name, terminationMessagePath, func(set *pflag.FlagSet) {
		for _, register := range command.groups {
			register(set, values)
		}
	})
}

// read validates all flags.
func (f *buildFlags) read(command *buildCommand, set *pflag.FlagSet) (*buildInputs, error) {
	problems := checkSet(set, command.required)
	in := &buildInputs{buildFlags: *f, images: map[int]string{}, secrets: map[string]string{}, configMaps: map[string]string{}}
	if set.Lookup("max-bytes") != nil && f.maxBytes < 1 {
		problems = append(problems, fmt.Errorf("--max-bytes %d is not above 0", f.maxBytes))
	}
	named := func(flag string, values []string, add func(name, dir string) bool) {
		for _, value := range values {
			name, dir, _ := strings.Cut(value, "=")
			if name == "" || dir == "" || !add(name, dir) {
				problems = append(problems, fmt.Errorf("--%s %q is not as --help says", flag, value))
			}
		}
	}
	named("image-secret-dir", f.imageSecretDirs, func(index, dir string) bool {
		i, err := strconv.Atoi(index)
		in.images[i] = dir
		return err == nil && i >= 0
	})
	named("secret-input", f.secretInputs, func(name, dir string) bool { in.secrets[name] = dir; return true })
	named("config-map-input", f.configMapInputs, func(name, dir string) bool { in.configMaps[name] = dir; return true })
	named("volume", f.volumes, func(name, places string) bool {
		dir, destination, _ := strings.Cut(places, ":")
		in.mounts = append(in.mounts, sourcebuild.Volume{Name: name, Dir: dir, Destination: destination})
		return dir != "" && strings.HasPrefix(destination, "/") && !strings.Contains(name, "/")
	})
	var err error
	if in.uids, err = s2i.ParseUIDs(f.allowedUIDs); err != nil {
		problems = append(problems, fmt.Errorf("--allowed-uids: %w", err))
	}
	return in, errors.Join(problems...)
}
