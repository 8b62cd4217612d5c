package imagebuilder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// stepCacheType is the artifact that says which images steps left; the images'
// layers are the artifact's.
const stepCacheType = "application/vnd.machine-os-builder.steps.v1+json"

// stepCache is what a build plan says of what is kept of single steps.
type stepCache struct {
	// Tag is where that is kept, a pullspec, and Digest what lies there now; empty
	// for nothing.
	Tag    string `json:"tag"`
	Digest string `json:"digest,omitempty"`
	// Keys identify what each instruction leaves, by its stage and its number there.
	Keys [][]string `json:"keys"`
	// Rebuild is the one that nothing of what is kept is older than; empty for none.
	Rebuild string `json:"rebuild,omitempty"`
	// Loaded are the images in the store that steps of earlier builds left, by key.
	Loaded map[string]stepImage `json:"loaded,omitempty"`
}

// stepImage is what a step left.
type stepImage struct {
	Config []byte      `json:"config"`
	Layers []stepLayer `json:"layers"`
}

type stepLayer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// stepDocument is the artifact's content.
type stepDocument struct {
	Rebuild string               `json:"rebuild,omitempty"`
	Steps   map[string]stepImage `json:"steps"`
}

// maxImageLayers is up to how many layers of an image every runtime can mount
// (Docker's overlay2 has the least). With what each step leaves kept, each can make one.
const maxImageLayers = 127

var errStepDocument = errors.New("it is damaged")

// parseSteps reads the artifact's content. What it tells of is checked: push wrote
// it, of what steps left.
func parseSteps(content []byte) (stepDocument, error) {
	var document stepDocument
	if err := json.Unmarshal(content, &document); err != nil {
		return document, fmt.Errorf("%w: %w", errStepDocument, err)
	}
	for key, image := range document.Steps {
		diffs, err := image.diffIDs()
		if err != nil || len(diffs) != len(image.Layers) {
			return document, fmt.Errorf("%w: the config of step %s does not fit its %d layers", errStepDocument, key, len(image.Layers))
		}
		for _, layer := range image.Layers {
			if _, err := v1.NewHash(layer.Digest); err != nil || layer.Size < 1 {
				return document, fmt.Errorf("%w: layer %q of step %s", errStepDocument, layer.Digest, key)
			}
		}
	}
	return document, nil
}

// diffIDs are the digests of the layers' tars.
func (i stepImage) diffIDs() ([]string, error) {
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	err := json.Unmarshal(i.Config, &config)
	return config.RootFS.DiffIDs, err
}

// choose picks those that this build can use: of each stage, the steps before the
// first that is not there.
func (d stepDocument) choose(keys [][]string) map[string]stepImage {
	chosen := map[string]stepImage{}
	for _, stage := range keys {
		for _, key := range stage[1:] {
			image, found := d.Steps[key]
			if !found {
				break
			}
			chosen[key] = image
		}
	}
	return chosen
}

// loadSteps looks for what steps of earlier builds left, and brings into the store
// what this build can use. That it cannot costs time and is no failure.
func (p *preparation) loadSteps(ctx context.Context, file *dockerfile.File, image *registry.BaseImage, into *pulled) error {
	if p.options.BuildCache == "" {
		return nil
	}
	cache, err := p.planSteps(file, image)
	if err != nil {
		return err
	}
	if most := len(image.Layers) + len(cache.all()); most > maxImageLayers {
		p.progress.Note("warning: nothing is kept of single steps: the image could have %d layers, %d are the most; join instructions", most, maxImageLayers)
		return nil
	}
	p.plan.Cache = cache
	document, err := p.readSteps(ctx, cache)
	if err != nil {
		if ctx.Err() == nil {
			p.progress.Note("warning: build cache %s cannot be read, all steps run: %v", cache.Tag, err)
		}
		return ctx.Err()
	}
	chosen := document.choose(cache.Keys)
	if len(chosen) == 0 {
		p.progress.Note("build cache %s has no step of this build", cache.Tag)
		return nil
	}
	if err := p.pullSteps(ctx, into.driver, chosen); err != nil {
		if ctx.Err() == nil {
			p.progress.Note("warning: build cache %s cannot be used, all steps run: %v", cache.Tag, err)
		}
		return ctx.Err()
	}
	p.progress.Note("build cache %s has %s of this build", cache.Tag, steplog.Plural(len(chosen), "step"))
	cache.Loaded = chosen
	return nil
}

// planSteps names the cache and what is to go there.
func (p *preparation) planSteps(file *dockerfile.File, image *registry.BaseImage) (*stepCache, error) {
	_, rest, _ := strings.Cut(image.Platform, "/")
	tag, err := tagged(p.options.FinalImage, names.BuildCacheTag(p.options.BuildCache, architectureOf(rest)))
	if err != nil {
		return nil, err
	}
	from := dockerfile.StepSources{Base: image.Digest, Context: p.contextSHA256, Images: map[string]string{}}
	if p.extensions != nil {
		from.Extensions = p.extensions.chosen.Digest
	}
	for _, named := range p.named {
		from.Images[named.name] = named.chosen.Digest
	}
	keys, err := file.StepKeys(from)
	if err != nil {
		return nil, err
	}
	return &stepCache{Tag: tag, Keys: keys, Rebuild: p.options.RebuildToken}, nil
}

// readSteps returns an empty document when nothing is kept, or nothing that the
// rebuild that is asked for has made.
func (p *preparation) readSteps(ctx context.Context, cache *stepCache) (stepDocument, error) {
	artifact, err := p.clients.Push.LoadArtifact(ctx, cache.Tag, stepCacheType)
	if errors.Is(err, registry.ErrNotFound) {
		return stepDocument{}, nil
	}
	if err != nil {
		return stepDocument{}, err
	}
	cache.Digest = artifact.Digest
	document, err := parseSteps(artifact.Content)
	if err != nil {
		return stepDocument{}, err
	}
	if p.options.RebuildToken != "" && document.Rebuild != p.options.RebuildToken {
		p.progress.Note("a rebuild was asked for: all steps run")
		return stepDocument{}, nil
	}
	cache.Rebuild = document.Rebuild
	return document, nil
}

// pullSteps brings images into the store, where the layers of the base are already.
func (p *preparation) pullSteps(ctx context.Context, driver buildah.Driver, images map[string]stepImage) error {
	tag := p.plan.Cache.Tag
	server, err := serveSteps(ctx, images, p.clients.Push, tag[:strings.LastIndexByte(tag, ':')])
	if err != nil {
		return err
	}
	defer server.Close()
	program, err := buildah.New(p.options.StorageDir, driver)
	if err != nil {
		return err
	}
	defer program.Close()
	flags := append([]string{"--all-tags", "--tls-verify=false", "--quiet"}, platformFlags(p.plan.Platform)...)
	err = program.Run(ctx, func(string) {}, "pull", append(flags, "docker://"+server.repository())...)
	if cause := server.err(); err != nil && cause != nil {
		err = cause
	}
	return err
}

// present are the layers that came with the cache, which lie in the final image's
// repository.
func (c *stepCache) present() []handover.Layer {
	if c == nil {
		return nil
	}
	var layers []handover.Layer
	for _, image := range c.Loaded {
		for _, layer := range image.Layers {
			if one := (handover.Layer{Digest: layer.Digest, Size: layer.Size}); !slices.Contains(layers, one) {
				layers = append(layers, one)
			}
		}
	}
	return layers
}

// all are the keys of what can be kept.
func (c *stepCache) all() []string {
	var keys []string
	for _, stage := range c.Keys {
		keys = append(keys, stage[1:]...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// key is that of an instruction, counted from 1; empty for one that is not known.
func (c *stepCache) key(stage, number int) string {
	if stage < 1 || stage > len(c.Keys) || number < 2 || number > len(c.Keys[stage-1]) {
		return ""
	}
	return c.Keys[stage-1][number-1]
}
