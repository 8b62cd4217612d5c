package live

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Image is an image in a registry.
type Image struct {
	Pullspec string
	v1.Image
}

// OpenImage reads an image's manifest, with the login where one is asked for.
func (c *Cluster) OpenImage(pullspec string) (Image, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return Image{}, err
	}
	image, err := remote.Image(ref, c.registryOptions(ref)...)
	if err != nil {
		return Image{}, fmt.Errorf("reading image %s: %w", pullspec, err)
	}
	return Image{Pullspec: pullspec, Image: image}, nil
}

func (c *Cluster) registryOptions(ref name.Reference) []remote.Option {
	options := []remote.Option{remote.WithTransport(c.registry)}
	if ref.Context().RegistryStr() == c.AuthRegistry {
		options = append(options, remote.WithAuth(&authn.Basic{Username: c.AuthUser, Password: c.AuthPassword}))
	}
	return options
}

// OpenPlatforms reads the images of an index.
func (c *Cluster) OpenPlatforms(pullspec string) ([]Image, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return nil, err
	}
	index, err := remote.Index(ref, c.registryOptions(ref)...)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", pullspec, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", pullspec, err)
	}
	var images []Image
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s of index %s: %w", m.Digest, pullspec, err)
		}
		images = append(images, Image{Pullspec: ref.Context().Digest(m.Digest.String()).String(), Image: image})
	}
	return images, nil
}

// PushImage puts an image of the tests' own into a registry.
func (c *Cluster) PushImage(pullspec string, image v1.Image) error {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return err
	}
	if err := remote.Write(ref, image, c.registryOptions(ref)...); err != nil {
		return fmt.Errorf("pushing %s: %w", pullspec, err)
	}
	return nil
}

// PushIndex does that with an index and all its images.
func (c *Cluster) PushIndex(pullspec string, index v1.ImageIndex) error {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(ref, index, c.registryOptions(ref)...); err != nil {
		return fmt.Errorf("pushing %s: %w", pullspec, err)
	}
	return nil
}

// Labels of the image.
func (i Image) Labels() (map[string]string, error) {
	config, err := i.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of %s: %w", i.Pullspec, err)
	}
	return config.Config.Labels, nil
}

// File is one file of an image.
type File struct {
	*tar.Header
	Content string
}

// FilesAbove reads what an image has on top of a base image, by path without a
// leading slash: the layers are those that follow the base's. A base that is
// not the image's is an error.
func (i Image) FilesAbove(base Image) (map[string]File, error) {
	files, _, err := i.above(base)
	return files, err
}

// RemovedFrom are the paths that an image takes away from a base image, in order.
func (i Image) RemovedFrom(base Image) ([]string, error) {
	_, removed, err := i.above(base)
	return slices.Sorted(maps.Keys(removed)), err
}

// Files are all of an image's, as FilesAbove's.
func (i Image) Files() (map[string]File, error) { return i.FilesAbove(Image{Image: empty.Image}) }

func (i Image) above(base Image) (files map[string]File, removed map[string]bool, err error) {
	own, err := i.LayersAbove(base)
	if err != nil {
		return nil, nil, err
	}
	files, removed = map[string]File{}, map[string]bool{}
	for _, layer := range own {
		if err := readLayer(layer, files, removed); err != nil {
			return nil, nil, fmt.Errorf("reading a layer of %s: %w", i.Pullspec, err)
		}
	}
	return files, removed, nil
}

var errOtherBase = errors.New("the image does not begin with the layers of its base")

// LayersAbove are the layers that an image has on top of a base image.
func (i Image) LayersAbove(base Image) ([]v1.Layer, error) {
	below, err := base.Manifest()
	if err != nil {
		return nil, err
	}
	manifest, err := i.Manifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Layers) < len(below.Layers) {
		return nil, errOtherBase
	}
	for n, layer := range below.Layers {
		if manifest.Layers[n].Digest != layer.Digest {
			return nil, fmt.Errorf("%w: layer %d", errOtherBase, n)
		}
	}
	layers, err := i.Layers()
	if err != nil {
		return nil, err
	}
	return layers[len(below.Layers):], nil
}

func readLayer(layer v1.Layer, files map[string]File, removed map[string]bool) error {
	stream, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer stream.Close()
	for reader := tar.NewReader(stream); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if hidden, found := strings.CutPrefix(path.Base(name), ".wh."); found {
			gone := path.Join(path.Dir(name), hidden)
			delete(files, gone)
			removed[gone] = true
			continue
		}
		delete(removed, name)
		files[name] = File{Header: header, Content: string(content)}
	}
}
