package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/machine-os-builder/machine-os-builder/pkg/imagebuilder"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

// flags hold every flag's value; each command registers those it takes.
type flags struct {
	machineConfigDir, machineConfigSHA256 string
	dockerfileSHA256                      string
	baseImage, finalImage                 string
	dockerfileDir                         string
	workDir, storageDir, handoverDir      string
	pullSecretDirs, caFiles, labels       []string
	pushSecretDir                         string
	registriesConf, registriesConfSHA256  string
	proxyDir                              string
	maxBytes                              int64
	layerCompression                      string
	rebuildToken                          string
	buildCache                            string
	architecture, run                     string
	architectures                         []string
	baseDir, layerDir                     string
	removedFile, rootDir                  string
	keptImagesDir                         string
	keptImagesHold                        time.Duration
}

// groups of flags that commands share.
type group func(*pflag.FlagSet, *flags)

func machineConfigFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.machineConfigDir, "machine-config-dir", "", "directory with the chunks of the MachineConfig, named 0000, 0001, …")
	set.StringVar(&f.machineConfigSHA256, "machine-config-sha256", "", "SHA-256 of the MachineConfig's JSON, in hex")
}

func baseFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.baseImage, "base-image", "", "pullspec of the base image")
}

func registryFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.finalImage, "final-image", "", "repository and tag to push to")
	set.StringArrayVar(&f.pullSecretDirs, "pull-secret-dir", nil, "mounted Secret to pull with; repeatable, the first that has a login wins")
	set.StringVar(&f.pushSecretDir, "push-secret-dir", "", "mounted Secret to push with")
	set.StringArrayVar(&f.caFiles, "ca-file", nil, "PEM file of certificates to trust besides the system's; may be missing; repeatable")
}

func mirrorFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.registriesConf, "registries-conf", "", "containers-registries.conf(5) with the mirrors to pull from")
	set.StringVar(&f.registriesConfSHA256, "registries-conf-sha256", "", "SHA-256 of that file, in hex")
}

func proxyFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.proxyDir, "proxy-dir", "", "directory with the files httpProxy, httpsProxy and noProxy, any of which may be missing")
}

func workFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.workDir, "work-dir", "", "directory that prepare writes, and build and push only read")
}

func storageFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.storageDir, "storage-dir", "", "directory of the image store shared by prepare and build")
}

func handoverFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.handoverDir, "handover-dir", "", "directory that build leaves the image in for push")
}

func limitFlags(set *pflag.FlagSet, f *flags) {
	set.Int64Var(&f.maxBytes, "max-bytes", imagebuilder.MaxBytes, "most bytes that the layers in --handover-dir may have together, such as the size of its volume")
}

func compressionFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.layerCompression, "layer-compression", string(registry.Gzip), "how new layers are compressed: gzip or zstd")
}

func architectureFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.architecture, "architecture", "", "architecture to build for, such as arm64; that of this machine by default")
}

func indexFlags(set *pflag.FlagSet, f *flags) {
	set.StringSliceVar(&f.architectures, "architectures", nil, "architectures of the index that is pushed once the images of all are there, in its order")
	set.StringVar(&f.run, "run", "", "what this run has in common with those for the other architectures, and with no other")
}

func dockerfileFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.dockerfileDir, "dockerfile-dir", "", "directory with the chunks of the rendered Dockerfile")
	set.StringVar(&f.dockerfileSHA256, "dockerfile-sha256", "", "SHA-256 of the rendered Dockerfile, in hex")
}

func rebuildFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.rebuildToken, "rebuild-token", "", "the rebuild that was asked for: steps whose result is kept run again for another one")
}

func cacheFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.buildCache, "build-cache", "", "identifies what is kept in the final image's repository of single steps, 40 hex digits; empty for none")
}

func keptImagesFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.keptImagesDir, "kept-images-dir", "", "volume on which base images are kept for later builds; empty for none")
	set.DurationVar(&f.keptImagesHold, "kept-images-hold", 0, "how long this build may take, during which none of its images is removed there; 0 for no bound")
}

func labelFlags(set *pflag.FlagSet, f *flags) {
	set.StringArrayVar(&f.labels, "label", nil, "label of the image, key=value; repeatable")
}

func layFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.baseDir, "base-dir", "", "root of the base image's file system")
	set.StringVar(&f.layerDir, "layer-dir", "", "directory to make, with the config layer's files")
}

func removedFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.removedFile, "removed-file", "", "file with the paths that the config layer removes")
}

func rootFlags(set *pflag.FlagSet, f *flags) {
	set.StringVar(&f.rootDir, "root-dir", "", "root of the file system that they are removed from")
}

// check validates all flags and returns the labels.
func check(spec commandSpec, set *pflag.FlagSet, values *flags) (map[string]string, error) {
	problems := checkSet(set, spec.required)
	for _, sum := range [][2]string{{"machine-config-sha256", values.machineConfigSHA256}, {"dockerfile-sha256", values.dockerfileSHA256}, {"registries-conf-sha256", values.registriesConfSHA256}} {
		if raw, err := hex.DecodeString(sum[1]); sum[1] != "" && (err != nil || len(raw) != 32) {
			problems = append(problems, fmt.Errorf("--%s %q is no SHA-256 in hex", sum[0], sum[1]))
		}
	}
	if values.baseImage != "" {
		if _, err := name.ParseReference(values.baseImage); err != nil {
			problems = append(problems, fmt.Errorf("--base-image: %w", err))
		}
	}
	if values.finalImage != "" {
		if _, err := name.NewTag(values.finalImage, name.StrictValidation); err != nil {
			problems = append(problems, fmt.Errorf("--final-image: %w", err))
		}
	}
	if set.Lookup("max-bytes") != nil && values.maxBytes < 1 {
		problems = append(problems, fmt.Errorf("--max-bytes %d is not above 0", values.maxBytes))
	}
	if _, err := registry.ParseCompression(values.layerCompression); err != nil {
		problems = append(problems, fmt.Errorf("--layer-compression: %w", err))
	}
	labels, err := parseLabels(values.labels)
	return labels, errors.Join(append(problems, values.checkPairs(), values.checkBuildCache(), values.checkArchitectures(set), err)...)
}

// checkPairs wants the hash of each input that is given.
func (f *flags) checkPairs() error {
	var problems []error
	if (f.registriesConf == "") != (f.registriesConfSHA256 == "") {
		problems = append(problems, errors.New("--registries-conf and --registries-conf-sha256 go together"))
	}
	if (f.machineConfigDir == "") != (f.machineConfigSHA256 == "") {
		problems = append(problems, errors.New("--machine-config-dir and --machine-config-sha256 go together"))
	}
	return errors.Join(problems...)
}

// checkBuildCache: it becomes a part of a tag.
func (f *flags) checkBuildCache() error {
	if raw, err := hex.DecodeString(f.buildCache); f.buildCache != "" && (err != nil || len(raw) != 20) {
		return fmt.Errorf("--build-cache %q is not of 40 hex digits", f.buildCache)
	}
	return nil
}

// checkArchitectures validates the flags of an image for several architectures.
func (f *flags) checkArchitectures(set *pflag.FlagSet) error {
	for _, architecture := range append([]string{f.architecture}, f.architectures...) {
		if strings.Trim(architecture, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return fmt.Errorf("%q is no architecture; use a name such as arm64", architecture)
		}
	}
	switch joins := len(f.architectures) > 0; {
	case set.Lookup("run") == nil:
	case joins != (f.run != "") || joins != (f.architecture != ""):
		return errors.New("--architecture, --architectures and --run go together")
	case joins && !slices.Contains(f.architectures, f.architecture):
		return fmt.Errorf("--architecture %q is not among --architectures", f.architecture)
	}
	return nil
}

func parseLabels(flags []string) (map[string]string, error) {
	var problems []error
	labels := map[string]string{}
	for _, label := range flags {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			problems = append(problems, fmt.Errorf("--label %q is not key=value", label))
			continue
		}
		labels[key] = value
	}
	return labels, errors.Join(problems...)
}

func (f *flags) access() registryaccess.Access {
	return registryaccess.Access{
		PullSecretDirs: f.pullSecretDirs, PushSecretDir: f.pushSecretDir, CAFiles: f.caFiles,
		RegistriesConf: f.registriesConf, RegistriesConfSHA256: f.registriesConfSHA256, ProxyDir: f.proxyDir,
	}
}
