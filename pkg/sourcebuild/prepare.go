package sourcebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	"golang.org/x/sync/errgroup"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile/managed"
	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// PrepareOptions are the inputs of Prepare.
type PrepareOptions struct {
	registryaccess.Access
	Build      *buildv1.Build
	WorkDir    WorkDir
	StorageDir string
	// ImageSecretDirs are the mounted pull Secrets of spec.source.images, by index.
	ImageSecretDirs map[int]string
	// SecretInputs and ConfigMapInputs are where spec.source.secrets and
	// spec.source.configMaps are mounted, by name.
	SecretInputs, ConfigMapInputs map[string]string
	// AllowedUIDs are whom the assemble of source-to-image may run as.
	AllowedUIDs s2i.UIDs
}

// PrepareSteps is how many steps Prepare announces.
const PrepareSteps = 3

type preparation struct {
	options  PrepareOptions
	clients  *registryaccess.Clients
	progress *steplog.Progress
	info     *gitsource.Info
	// builder is the builder image of a Source strategy, as it was looked at.
	builder named
	// previous is the image of the build before, which is in the store; empty for none.
	previous string
	plan     plan
}

// Prepare lays out a build: all inputs first, and then the Dockerfile, so that what the
// Build asks of it holds for one that comes with the inputs. Every image that it names
// is pulled by digest.
func Prepare(ctx context.Context, options PrepareOptions, progress *steplog.Progress) (report buildreport.Report, err error) {
	p := &preparation{options: options, progress: progress}
	if p.clients, err = options.clients(); err != nil {
		return report, err
	}
	if p.info, err = options.WorkDir.readSourceInfo(); err != nil {
		return report, err
	}
	progress.Step("inputs", "laying out the inputs")
	if err := p.inputs(ctx, &report); err != nil {
		return report, err
	}
	progress.Done("laid out")

	progress.Step("dockerfile", "writing the Dockerfile")
	text, arguments, err := p.dockerfile(ctx, &report)
	if err != nil {
		return report, fail(buildv1.StatusReasonManageDockerfileFailed, err)
	}
	images, base, err := p.read(text, arguments)
	if err != nil {
		return report, fail(buildv1.StatusReasonManageDockerfileFailed, err)
	}
	if err := os.WriteFile(options.WorkDir.dockerfile(), []byte(dockerfile.EscapeFirst(text)), 0o600); err != nil {
		return report, fail(buildv1.StatusReasonManageDockerfileFailed, fmt.Errorf("writing the Dockerfile: %w", err))
	}
	progress.Done("%s, %s", steplog.Plural(p.plan.Stages, "stage"), steplog.Plural(len(images), "image"))

	defer begin(&report, progress, buildv1.StagePullImages, buildv1.StepPullBaseImage)()
	images = slices.DeleteFunc(images, func(name string) bool { return name == p.previous })
	progress.Step("pull", "pulling %s", steplog.Plural(len(images), "image"))
	if err := p.pullImages(ctx, images, base); err != nil {
		return report, err
	}
	progress.Done("pulled")
	return report, writeJSON(options.WorkDir.plan(), p.plan)
}

// inputs lays out what there is; a Source strategy may have nothing.
func (p *preparation) inputs(ctx context.Context, report *buildreport.Report) error {
	if err := os.MkdirAll(p.options.WorkDir.inputs(), 0o755); err != nil { //nolint:gosec // steps may copy it for any user
		return fmt.Errorf("laying out the inputs: %w", err)
	}
	if err := p.extract(ctx, report); err != nil {
		return err
	}
	return p.layInputs()
}

// extract copies content of images, as a step of its own.
func (p *preparation) extract(ctx context.Context, report *buildreport.Report) error {
	if !slices.ContainsFunc(p.options.Build.Spec.Source.Images, func(image buildv1.ImageSource) bool { return len(image.Paths) > 0 }) {
		return nil
	}
	defer begin(report, p.progress, buildv1.StagePullImages, buildv1.StepPullInputImage)()
	return p.extractImages(ctx)
}

// dockerfile returns the text that is built, and the build's arguments.
func (p *preparation) dockerfile(ctx context.Context, report *buildreport.Report) (string, map[string]string, error) {
	switch strategy := p.options.Build.Spec.Strategy; {
	case strategy.DockerStrategy != nil:
		return p.managed(strategy.DockerStrategy)
	case strategy.SourceStrategy != nil:
		text, err := p.generated(ctx, strategy.SourceStrategy, report)
		return text, nil, err
	}
	return "", nil, errors.New("the Build has neither spec.strategy.dockerStrategy nor spec.strategy.sourceStrategy")
}

// managed is the author's Dockerfile with what the Build asks of it.
func (p *preparation) managed(strategy *buildv1.DockerBuildStrategy) (string, map[string]string, error) {
	authored, err := p.authored(strategy)
	if err != nil {
		return "", nil, err
	}
	changes := managed.Changes{
		BuildEnv: buildEnv(p.options.Build, p.info), Labels: labels(p.options.Build, p.info), Hook: hook(p.options.Build.Spec.PostCommit),
	}
	if strategy.From != nil {
		changes.From = strategy.From.Name
	}
	for _, variable := range strategy.Env {
		changes.Env = append(changes.Env, managed.Pair{Name: variable.Name, Value: variable.Value})
	}
	for _, image := range p.options.Build.Spec.Source.Images {
		changes.Images = append(changes.Images, managed.Image{As: image.As, From: image.From.Name})
	}
	text, err := managed.Rewrite(authored, changes)
	if err != nil {
		return "", nil, err
	}
	arguments := map[string]string{}
	for _, argument := range strategy.BuildArgs {
		arguments[argument.Name] = argument.Value
	}
	return text, arguments, p.tellUnkept(authored, changes, arguments)
}

// tellUnkept says what of the Dockerfile is not in the result.
func (p *preparation) tellUnkept(authored string, changes managed.Changes, arguments map[string]string) error {
	unkept, err := managed.Unkept(authored, changes, arguments)
	if err != nil || len(unkept) == 0 {
		return err
	}
	var named []string
	for _, instruction := range unkept {
		named = append(named, fmt.Sprintf("%s (line %d)", instruction.Name, instruction.Line))
	}
	p.progress.Note("warning: the result, an OCI image, has no place for these instructions of the Dockerfile: %s", strings.Join(named, ", "))
	return nil
}

// maxDockerfile bounds what is read of a Dockerfile.
const maxDockerfile = 4 << 20

// authored reads the Dockerfile out of the context.
func (p *preparation) authored(strategy *buildv1.DockerBuildStrategy) (string, error) {
	name := strategy.DockerfilePath
	if name == "" {
		name = "Dockerfile"
	}
	root, err := os.OpenRoot(p.options.WorkDir.inputs())
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	context, err := root.OpenRoot(relative(p.options.Build.Spec.Source.ContextDir))
	if err != nil {
		return "", err
	}
	defer func() { _ = context.Close() }()
	p.plan.Context = context.Name()
	file, err := context.Open(relative(name))
	if err != nil {
		return "", fmt.Errorf("the source has no Dockerfile %q in its context directory %q: %w", name, p.options.Build.Spec.Source.ContextDir, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxDockerfile+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	if len(content) > maxDockerfile {
		return "", fmt.Errorf("reading %s: it has more than %d bytes", name, maxDockerfile)
	}
	return string(content), nil
}

// read finds out which images a Dockerfile names, and which is the base of the result.
func (p *preparation) read(text string, arguments map[string]string) (images []string, base string, err error) {
	if p.plan.Stages, err = managed.Stages(text); err != nil {
		return nil, "", err
	}
	if images, err = managed.Images(text, arguments); err != nil {
		return nil, "", err
	}
	base, err = managed.Base(text, arguments)
	return images, base, err
}

// pullImages reads the manifests of all, so that one that is missing fails the build
// before anything is pulled, and then pulls them, while the base's layers are put where
// the result goes.
func (p *preparation) pullImages(ctx context.Context, images []string, base string) error {
	opened := make([]named, len(images))
	opening, openCtx := errgroup.WithContext(ctx)
	opening.SetLimit(4)
	for i, image := range images {
		if image == p.builder.name {
			opened[i] = p.builder
			continue
		}
		opening.Go(func() (err error) {
			opened[i], err = p.open(openCtx, image)
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	pulling, pullCtx := errgroup.WithContext(ctx)
	pulling.Go(func() error { return p.pullAll(pullCtx, opened) })
	if i := slices.IndexFunc(opened, func(image named) bool { return image.name == base }); i >= 0 {
		pulling.Go(func() error { p.copyBase(pullCtx, opened[i]); return nil })
	}
	return pulling.Wait()
}
