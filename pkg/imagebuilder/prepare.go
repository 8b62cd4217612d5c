package imagebuilder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"golang.org/x/sync/errgroup"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/imagestore"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// PrepareOptions are the inputs of Prepare.
type PrepareOptions struct {
	registryaccess.Access
	WorkDir             WorkDir
	StorageDir          string
	MachineConfigDir    string
	MachineConfigSHA256 string
	BaseImage           string
	FinalImage          string
	DockerfileDir       string
	DockerfileSHA256    string
	// RebuildToken asks, when it is another one, that steps run whose result is kept: of
	// all of them together, or of one.
	RebuildToken string
	// BuildCache identifies what is kept of single steps (names.BuildCacheID); empty for
	// nothing.
	BuildCache string
	// Architecture is what to build for; empty for that of this machine.
	Architecture string
	// KeptImagesDir is a volume with images of earlier builds; empty for none.
	// KeptImagesHold is how long this build may take that reads them; 0 for no bound.
	// KeptImagesSpace is how much room there is; nil for what the file system says.
	KeptImagesDir   string
	KeptImagesHold  time.Duration
	KeptImagesSpace imagestore.Space
}

// Prepare lays out a build: it pulls the base and every other image that the
// Dockerfile names, by digest, puts the base's layers into the final image's
// repository, and writes the config layer and the Dockerfile. When the config
// comes last, it looks first whether what the steps leave is kept, and then pulls
// nothing.
func Prepare(ctx context.Context, options PrepareOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	clients, err := options.Access.Clients()
	if err != nil {
		return result, err
	}
	defer func() {
		traffic := clients.Traffic()
		result.BytesPulled += traffic.Down
		result.BytesPushed += traffic.Up
	}()
	p := &preparation{options: options, clients: clients, progress: progress}

	progress.Step("inputs", "reading the MachineConfig and the Dockerfile")
	config, err := readMachineConfig(options.MachineConfigDir, options.MachineConfigSHA256)
	if err != nil {
		return result, err
	}
	file, err := readDockerfile(options.DockerfileDir, options.DockerfileSHA256)
	if err != nil {
		return result, err
	}
	progress.Done("%s; %s", config.Name, steplog.Plural(file.Steps(), "custom instruction"))

	base, err := openBase(ctx, clients, options.BaseImage, progress)
	if err != nil {
		return result, err
	}
	result.BaseDigest = base.Digest
	image, err := forPlatform(base, options.Architecture)
	if err != nil {
		return result, err
	}
	if err := checkArchitecture(config.Name, file.Configs().Packages, image.Platform); err != nil {
		return result, err
	}
	if err := p.openOthers(ctx, file); err != nil {
		return result, err
	}
	p.plan = plan{BaseImage: options.BaseImage, BaseSource: base.Source, BaseDigest: base.Digest, Platform: image.Platform, ImageDigest: image.Digest, Bases: basesOf(base)}
	if file.Configs().ConfigLast {
		if err := p.findKeptSteps(ctx, image, file); err != nil || p.plan.KeptSteps != "" {
			return result, err
		}
	}

	progress.Step("pull", "pulling %s (%s)", steplog.Plural(p.images(), "image"), image.Platform)
	group, groupCtx := errgroup.WithContext(ctx)
	pulled := &pulled{layers: map[string]bool{}}
	group.Go(func() error { return p.pullAll(groupCtx, base, image, pulled) })
	group.Go(func() error { return p.layOut(groupCtx, config, image) })
	if err := group.Wait(); err != nil {
		return result, err
	}
	result.BytesPulled += pulled.bytes
	progress.Done("%s pulled", steplog.Size(pulled.bytes))
	if err := p.loadSteps(ctx, file, image, pulled); err != nil {
		return result, err
	}
	return result, p.writePlan(image, file, pulled)
}

type preparation struct {
	options  PrepareOptions
	clients  *registryaccess.Clients
	progress *steplog.Progress
	named    []namedImage
	// extensions is the image that packages are installed from; nil for none.
	extensions *namedImage
	plan       plan
	// contextSHA256 is of the config layer in the build context; empty without one.
	contextSHA256 string
}

// namedImage is an image besides the base.
type namedImage struct {
	name   string
	opened *registry.Base
	chosen *registry.BaseImage // for this platform
}

// layOut writes the build context. What push will have to know of the base it
// learns while there are credentials to pull the base with.
func (p *preparation) layOut(ctx context.Context, config *mcfgv1.MachineConfig, base *registry.BaseImage) error {
	indexes := &baseIndexes{store: p.clients.Push, target: p.options.FinalImage, progress: p.progress}
	if p.plan.ConfigLast {
		if err := os.MkdirAll(p.options.WorkDir.context(), 0o700); err != nil {
			return fmt.Errorf("writing build context: %w", err)
		}
		_, err := indexes.tree(ctx, base)
		return err
	}
	fetch, err := newFetcher(p.clients)
	if err != nil {
		return err
	}
	layer, err := buildConfigLayer(ctx, config, base, indexes, fetch)
	if err != nil {
		return err
	}
	return p.writeContext(layer)
}

// openOthers reads the manifests of the images besides the base.
func (p *preparation) openOthers(ctx context.Context, file *dockerfile.File) error {
	extensions := file.Configs().Extensions
	images, err := file.Images(machineOr(p.options.Architecture))
	if err != nil {
		return fail(api.ReasonInvalidDockerfile, err)
	}
	p.named = make([]namedImage, len(images))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, image := range images {
		group.Go(func() (err error) {
			p.named[i], err = p.openOther(groupCtx, "image of the custom Dockerfile", image)
			return err
		})
	}
	if extensions != "" {
		group.Go(func() error {
			opened, err := p.openOther(groupCtx, "extensions image", extensions)
			p.extensions = &opened
			return err
		})
	}
	return group.Wait()
}

func (p *preparation) openOther(ctx context.Context, what, image string) (namedImage, error) {
	opened, err := p.clients.Pull.Open(ctx, image)
	if err != nil {
		return namedImage{}, fail(api.ReasonPullFailed, fmt.Errorf("%s: %w", what, err))
	}
	chosen, err := forPlatform(opened, p.options.Architecture)
	return namedImage{image, opened, chosen}, err
}

// pulled is what lies in the store.
type pulled struct {
	driver buildah.Driver
	base   string // the name of the base image there
	// extensions is the name of the extensions image there, by digest; empty for none.
	extensions string
	bytes      int64
	layers     map[string]bool
	present    []handover.Layer // in the final image's repository
}

func (p *pulled) add(image *registry.BaseImage) {
	for _, layer := range image.Layers {
		if !p.layers[layer.Digest] {
			p.layers[layer.Digest] = true
			p.bytes += layer.Size
		}
	}
}

// readDockerfile puts the mounted chunks of the rendered Dockerfile together and
// checks them against the hash.
func readDockerfile(dir, sha256 string) (*dockerfile.File, error) {
	chunks, err := readChunks(dir)
	if err != nil {
		return nil, fmt.Errorf("reading Dockerfile: %w", err)
	}
	text := strings.Join(chunks, "")
	if got := names.Content([]byte(text)); got != sha256 {
		return nil, stale(fmt.Errorf("reading Dockerfile: SHA-256 is %s, not %s", got, sha256))
	}
	return dockerfile.ParseRendered(text)
}

// pinned is an image by its digest alone.
func pinned(pullspec, digest string) (string, error) {
	byDigest, err := buildah.Pinned(pullspec, digest)
	return byDigest, fail(api.ReasonInvalidConfig, err)
}

// pullAll chooses the storage driver and pulls into the store. The login is
// written into a directory of this container's own for that time.
func (p *preparation) pullAll(ctx context.Context, opened *registry.Base, base *registry.BaseImage, into *pulled) error {
	var err error
	if into.driver, err = buildah.ChooseDriver(ctx, p.options.StorageDir, p.progress); err != nil {
		return err
	}
	program, err := buildah.New(p.options.StorageDir, into.driver)
	if err != nil {
		return err
	}
	defer program.Close()
	program.Proxy = p.clients.Proxy
	flags, err := program.Login(p.clients.PullCredentials, p.clients.CAs)
	if err != nil {
		return err
	}
	flags = append(flags, platformFlags(base.Platform)...)
	if into.base, err = pinned(p.options.BaseImage, base.Digest); err != nil {
		return err
	}
	if err := p.mirror(program, opened); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return p.pullToKeep(groupCtx, program, flags, keptImage{called: p.options.BaseImage, name: into.base, opened: opened, chosen: base, learn: true}, into)
	})
	group.Go(func() error { into.present = p.copyBase(groupCtx, base); return nil })
	if err := group.Wait(); err != nil {
		return err
	}
	if p.extensions != nil {
		if into.extensions, err = p.pullOther(ctx, program, flags, *p.extensions, into, p.pullToKeep); err != nil {
			return err
		}
	}
	for _, image := range p.named {
		if err := p.pullNamed(ctx, program, flags, image, into); err != nil {
			return err
		}
	}
	return nil
}

// puller is how an image gets where the build finds it.
type puller func(ctx context.Context, program *buildah.Program, flags []string, image keptImage, into *pulled) error

// pullOther pulls an image besides the base, by its digest, and returns its name by that.
func (p *preparation) pullOther(ctx context.Context, program *buildah.Program, flags []string, image namedImage, into *pulled, pull puller) (string, error) {
	noteMirror(image.opened, p.progress)
	byDigest, err := pinned(image.name, image.opened.Digest)
	if err != nil {
		return "", err
	}
	if err := p.mirror(program, image.opened); err != nil {
		return "", err
	}
	if err := pull(ctx, program, flags, keptImage{called: image.name, name: byDigest, opened: image.opened, chosen: image.chosen}, into); err != nil {
		return "", err
	}
	return byDigest, nil
}

// pullNamed pulls an image that the custom Dockerfile names, so that it has that
// name in the store. One that is named by a digest is pulled by it, since an
// index's digest leads to the image of this platform only in its own name; of
// any other, the digest is asked for once and the name given afterwards.
func (p *preparation) pullNamed(ctx context.Context, program *buildah.Program, flags []string, image namedImage, into *pulled) error {
	byDigest, err := p.pullOther(ctx, program, flags, image, into, p.pullAnew)
	if err != nil || strings.Contains(image.name, "@") {
		return err
	}
	return program.Tag(ctx, byDigest, image.name)
}

// mirror says to buildah where an image is, if there is more than its name to go by.
func (p *preparation) mirror(program *buildah.Program, opened *registry.Base) error {
	if p.clients.Mirrors.IsZero() {
		return nil
	}
	return program.Mirror(opened)
}

func (p *preparation) pull(ctx context.Context, program *buildah.Program, flags []string, image string) error {
	err := program.Pull(ctx, flags, image)
	var exit *buildah.ExitError
	if errors.As(err, &exit) {
		return fail(api.ReasonPullFailed, fmt.Errorf("pulling %s: %w", image, err))
	}
	return err
}

// copyBase puts the base's layers into the final image's repository, so that only
// new ones are left to push, and returns those that lie there now.
func (p *preparation) copyBase(ctx context.Context, image *registry.BaseImage) []handover.Layer {
	copied, err := p.clients.Push.CopyLayers(ctx, image, p.options.FinalImage)
	if err != nil {
		if ctx.Err() == nil {
			p.progress.Note("warning: %v; the base's layers will be uploaded at the end", err)
		}
		return nil
	}
	p.progress.Note("the base's %s lie in the target repository, %d of them copied", steplog.Plural(copied.Layers, "layer"), copied.Streamed)
	var present []handover.Layer
	for _, layer := range image.Held() {
		present = append(present, handover.Layer{Digest: layer.Digest, Size: layer.Size})
	}
	return present
}

func (p *preparation) writePlan(image *registry.BaseImage, file *dockerfile.File, into *pulled) error {
	configs := file.Configs()
	configs.Base, configs.Extensions = into.base, into.extensions
	text, err := file.Render(configs)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.options.WorkDir.dockerfile(), []byte(dockerfile.EscapeFirst(text)), 0o600); err != nil {
		return fmt.Errorf("writing Dockerfile: %w", err)
	}
	history, err := image.History()
	if err != nil {
		return fail(api.ReasonPullFailed, err)
	}
	p.plan.Driver, p.plan.Present = into.driver, append(into.present, p.plan.Cache.present()...)
	p.plan.DiffIDs, p.plan.Epoch = history.DiffIDs, epochOf(history.Created)
	return p.options.WorkDir.writePlan(p.plan)
}

// writeContext writes the build context, which is the config layer alone.
func (p *preparation) writeContext(layer layerWriter) (err error) {
	dir := p.options.WorkDir.context()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing build context: %w", err)
	}
	out, err := os.Create(filepath.Join(dir, dockerfile.ConfigLayerFile))
	if err != nil {
		return fmt.Errorf("writing build context: %w", err)
	}
	defer func() {
		if closeErr := out.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("writing build context: %w", closeErr)
		}
	}()
	sum := sha256.New()
	if err := layer.WriteTar(io.MultiWriter(out, sum)); err != nil {
		return fmt.Errorf("writing the config layer: %w", err)
	}
	p.contextSHA256 = hex.EncodeToString(sum.Sum(nil))
	p.progress.Note("config layer: %d entries", layer.Len())
	return nil
}

// layerWriter is the config layer, as far as it matters for a file.
type layerWriter interface {
	WriteTar(w io.Writer) error
	Len() int
}
