package sourcebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// FetchOptions are the inputs of Fetch.
type FetchOptions struct {
	Build           *buildv1.Build
	WorkDir         WorkDir
	SourceSecretDir string // mounted spec.source.sourceSecret; empty for none
	CAFiles         []string
	ProxyDir        string // mounted settings of a proxy; empty for none
	Retry           gitsource.Retry
}

// FetchSteps is how many steps Fetch announces.
const FetchSteps = 1

// Fetch clones the Build's git repository into the work directory. The report has the
// revision.
func Fetch(ctx context.Context, options FetchOptions, progress *steplog.Progress) (report buildreport.Report, err error) {
	source := options.Build.Spec.Source
	if source.Git == nil {
		return report, fail(buildv1.StatusReasonFetchSourceFailed, errors.New("the Build has no spec.source.git"))
	}
	defer begin(&report, progress, buildv1.StageFetchInputs, buildv1.StepFetchGitSource)()
	progress.Step("fetch", "fetching the source")
	info, err := clone(ctx, options, progress)
	if err != nil {
		return report, fail(buildv1.StatusReasonFetchSourceFailed, err)
	}
	report.Revision = &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{
		Commit: info.Commit, Message: info.Message,
		Author:    buildv1.SourceControlUser{Name: info.Author.Name, Email: info.Author.Email},
		Committer: buildv1.SourceControlUser{Name: info.Committer.Name, Email: info.Committer.Email},
	}}
	if err := checkContextDir(options.WorkDir.inputs(), source.ContextDir); err != nil {
		return report, err
	}
	progress.Done("%s at %s", info.URI, info.Commit)
	return report, nil
}

func clone(ctx context.Context, options FetchOptions, progress *steplog.Progress) (gitsource.Info, error) {
	// An earlier try may have left something.
	for _, left := range []string{options.WorkDir.inputs(), options.WorkDir.sourceInfo()} {
		if err := os.RemoveAll(left); err != nil {
			return gitsource.Info{}, fmt.Errorf("preparing %s: %w", left, err)
		}
	}
	cas, err := registryaccess.ReadCAs(options.CAFiles)
	if err != nil {
		return gitsource.Info{}, err
	}
	through, err := sourceProxy(options)
	if err != nil {
		return gitsource.Info{}, err
	}
	git := options.Build.Spec.Source.Git
	wanted := gitsource.Options{
		URI: git.URI, Ref: git.Ref, Dir: options.WorkDir.inputs(), SecretDir: options.SourceSecretDir,
		CAs: cas, Proxy: through, Env: map[string]string{}, Line: progress.Line, Retry: options.Retry,
	}
	if revision := options.Build.Spec.Revision; revision != nil && revision.Git != nil {
		wanted.Commit = revision.Git.Commit
	}
	for _, variable := range strategyEnv(options.Build) {
		if slices.Contains(gitsource.EnvNames, variable.Name) {
			wanted.Env[variable.Name] = variable.Value
		}
	}
	info, err := gitsource.Clone(ctx, wanted)
	if err != nil {
		return info, err
	}
	return info, writeJSON(options.WorkDir.sourceInfo(), info)
}

// sourceProxy is the cluster's proxy, changed by the strategy's environment and then
// by what the source says of itself.
func sourceProxy(options FetchOptions) (proxy.Config, error) {
	config, err := registryaccess.ReadProxy(options.ProxyDir)
	if err != nil {
		return config, err
	}
	config = byStrategy(config, options.Build)
	own := options.Build.Spec.Source.Git.ProxyConfig
	for into, from := range map[*string]*string{&config.HTTP: own.HTTPProxy, &config.HTTPS: own.HTTPSProxy, &config.No: own.NoProxy} {
		if from != nil {
			*into = *from
		}
	}
	config = withSchemes(config)
	if err := config.Check(); err != nil {
		return config, fmt.Errorf("reading the proxy of the source: %w", err)
	}
	return config, nil
}

// scriptsProxy is the cluster's proxy, changed by the strategy's environment.
func scriptsProxy(cluster proxy.Config, build *buildv1.Build) (proxy.Config, error) {
	config := withSchemes(byStrategy(cluster, build))
	if err := config.Check(); err != nil {
		return config, fmt.Errorf("reading the proxy of spec.strategy.sourceStrategy.env: %w", err)
	}
	return config, nil
}

// byStrategy changes a proxy by the strategy's environment.
func byStrategy(config proxy.Config, build *buildv1.Build) proxy.Config {
	for _, variable := range strategyEnv(build) {
		switch strings.ToLower(variable.Name) {
		case "http_proxy":
			config.HTTP = variable.Value
		case "https_proxy":
			config.HTTPS = variable.Value
		case "no_proxy":
			config.No = variable.Value
		}
	}
	return config
}

// withSchemes takes an address without one as curl does.
func withSchemes(config proxy.Config) proxy.Config {
	for _, address := range []*string{&config.HTTP, &config.HTTPS} {
		if *address != "" && !strings.Contains(*address, "://") {
			*address = "http://" + *address
		}
	}
	return config
}

// strategyEnv is the environment of the Build's strategy, values resolved.
func strategyEnv(build *buildv1.Build) []corev1.EnvVar {
	switch strategy := build.Spec.Strategy; {
	case strategy.DockerStrategy != nil:
		return strategy.DockerStrategy.Env
	case strategy.SourceStrategy != nil:
		return strategy.SourceStrategy.Env
	}
	return nil
}

// checkContextDir wants a directory that does not lead out of the source.
func checkContextDir(inputs, contextDir string) error {
	root, err := os.OpenRoot(inputs)
	if err != nil {
		return fmt.Errorf("opening the source: %w", err)
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(relative(contextDir))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("stat %s: %w", contextDir, fs.ErrNotExist)
	}
	if err != nil {
		return fail(buildv1.StatusReasonInvalidContextDirectory, fmt.Errorf("spec.source.contextDir %q is no directory of the source: %w", contextDir, err))
	}
	return nil
}

// relative cleans a path of the API that is meant to be relative, for os.Root; "" is
// the root itself.
func relative(name string) string {
	return path.Clean("./" + strings.TrimLeft(name, "/"))
}
