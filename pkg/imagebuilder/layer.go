package imagebuilder

import (
	"context"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"golang.org/x/sync/errgroup"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// configLayers are the config layers of the images of one base. Platforms whose
// layers have the same content share one.
type configLayers struct {
	byImage map[string]*registry.Layer
	entries int
	bytes   int64
}

func (c *configLayers) of(image *registry.BaseImage) *registry.Layer { return c.byImage[image.Digest] }

// buildConfigLayers makes the config layer for every image given.
func buildConfigLayers(ctx context.Context, config *mcfgv1.MachineConfig, images []*registry.BaseImage, indexes *baseIndexes, fetch *fetcher, compression registry.Compression) (*configLayers, error) {
	layers := make([]*configlayer.Layer, len(images))
	packed := make([]*registry.Layer, len(images))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, image := range images {
		group.Go(func() error {
			layer, err := buildConfigLayer(groupCtx, config, image, indexes, fetch)
			if err != nil {
				return err
			}
			layers[i] = layer
			packed[i], err = registry.NewLayer(compression, layer.WriteTar)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := &configLayers{byImage: map[string]*registry.Layer{}}
	shared := map[string]*registry.Layer{}
	warned := map[string]bool{}
	for i, image := range images {
		layer := packed[i]
		if same, found := shared[layer.DiffID()]; found {
			layer = same
		}
		shared[layer.DiffID()], out.byImage[image.Digest] = layer, layer
		out.entries, out.bytes = layers[i].Len(), layer.Bytes()
		for _, warning := range layers[i].Warnings() {
			if !warned[warning] {
				warned[warning] = true
				indexes.progress.Note("warning: %s", warning)
			}
		}
	}
	return out, nil
}

func buildConfigLayer(ctx context.Context, config *mcfgv1.MachineConfig, image *registry.BaseImage, indexes *baseIndexes, fetch *fetcher) (*configlayer.Layer, error) {
	tree, err := indexes.tree(ctx, image)
	if err != nil {
		return nil, err
	}
	layer, err := configlayer.Build(ctx, config, tree, configlayer.Deps{
		ReadBase: func(ctx context.Context, file string) ([]byte, error) {
			return baseFile(ctx, image, tree, file)
		},
		Fetch: fetch.fetch,
	})
	if err != nil {
		return nil, fmt.Errorf("making the config layer: %w", err)
	}
	return layer, nil
}
