package imagebuilder

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// annotationIndexed names, on an index artifact, the image it describes.
const annotationIndexed = "machineosbuilder.io/base-digest"

// maxBaseFile bounds what is read of a base image's file to append to.
const maxBaseFile = 64 << 20

// baseIndexes loads and learns the indexes of base images.
type baseIndexes struct {
	store    *registry.Client
	target   string // the final image: indexes are kept in its repository
	progress *steplog.Progress
	// below is the digest of an image that others are built on: what its index
	// tells need not be learned again.
	below string
}

// tag is where the index of one image is kept.
func (b *baseIndexes) tag(imageDigest string) (string, error) {
	tag, err := names.IndexTag(imageDigest)
	if err != nil {
		return "", err
	}
	return tagged(b.target, tag)
}

// tree returns the index of one base image: the one that is kept, or else one
// that is made by streaming the image's layers, which is then kept. That it
// cannot be kept costs time at the next build, and is no failure.
func (b *baseIndexes) tree(ctx context.Context, image *registry.BaseImage) (*configlayer.Tree, error) {
	tag, err := b.tag(image.Digest)
	if err != nil {
		return nil, err
	}
	tree, err := b.load(ctx, tag, image.Digest)
	if err == nil {
		return tree, nil
	}
	if !errors.Is(err, registry.ErrNotFound) {
		b.progress.Note("the kept base index cannot be used: %v", err)
	}
	tree, err = learn(ctx, image, b.treeBelow(ctx, image))
	if err != nil {
		return nil, fail(api.ReasonPullFailed, err)
	}
	b.keep(ctx, tag, image, tree)
	return tree, nil
}

// treeBelow returns the kept index of the image below, if that is what the first
// layers are; else an empty one.
func (b *baseIndexes) treeBelow(ctx context.Context, image *registry.BaseImage) *configlayer.Tree {
	tree := configlayer.NewTreeBuilder().Tree()
	if tag, err := b.tag(b.below); b.below != "" && err == nil {
		if kept, err := b.load(ctx, tag, b.below); err == nil && isPrefix(kept.Layers(), image.Layers) {
			tree = kept
		}
	}
	bytes := int64(0)
	for _, layer := range image.Layers[len(tree.Layers()):] {
		bytes += layer.Size
	}
	b.progress.Note("nothing is known of this image: learning its files from %s, %s, once",
		steplog.Plural(len(image.Layers)-len(tree.Layers()), "layer"), steplog.Size(bytes))
	return tree
}

func isPrefix(digests []string, layers []registry.BaseLayer) bool {
	if len(digests) > len(layers) {
		return false
	}
	for i, digest := range digests {
		if layers[i].Digest != digest {
			return false
		}
	}
	return true
}

func (b *baseIndexes) load(ctx context.Context, tag, imageDigest string) (*configlayer.Tree, error) {
	artifact, err := b.store.LoadArtifact(ctx, tag, configlayer.TreeMediaType)
	if err != nil {
		return nil, err
	}
	if artifact.Annotations[annotationIndexed] != imageDigest {
		return nil, fmt.Errorf("loading %s: it describes another image", tag)
	}
	return configlayer.DecodeTree(bytes.NewReader(artifact.Content))
}

func (b *baseIndexes) keep(ctx context.Context, tag string, image *registry.BaseImage, tree *configlayer.Tree) {
	var encoded bytes.Buffer
	err := tree.Encode(&encoded)
	if err == nil {
		_, err = b.store.StoreArtifact(ctx, tag, registry.Artifact{
			Type: configlayer.TreeMediaType, Content: encoded.Bytes(),
			Annotations: map[string]string{annotationIndexed: image.Digest},
		})
	}
	if err != nil {
		b.progress.Note("warning: the base index was not kept, the next build will learn it again: %v", err)
		return
	}
	b.progress.Note("base index kept as %s: %d paths, %s", tag, tree.Len(), steplog.Size(int64(encoded.Len())))
}

// learn reads the layers of an image that lie on those of the tree.
func learn(ctx context.Context, image *registry.BaseImage, below *configlayer.Tree) (*configlayer.Tree, error) {
	builder := below.Builder()
	for _, layer := range image.Layers[len(below.Layers()):] {
		if err := addLayer(ctx, builder, image, layer.Digest); err != nil {
			return nil, err
		}
	}
	return builder.Tree(), nil
}

func addLayer(ctx context.Context, builder *configlayer.TreeBuilder, image *registry.BaseImage, digest string) error {
	stream, err := image.OpenLayer(ctx, digest)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if err := builder.AddLayer(digest, stream); err != nil {
		return fmt.Errorf("indexing the base image: %w", err)
	}
	// What follows the tar's end still counts for the digest.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return fmt.Errorf("indexing layer %s: %w", digest, err)
	}
	return nil
}

// baseFile reads one file of the base out of the layer that holds it.
func baseFile(ctx context.Context, image *registry.BaseImage, tree *configlayer.Tree, file string) ([]byte, error) {
	digest, member, err := tree.Member(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s of the base image: %w", file, err)
	}
	stream, err := image.OpenLayer(ctx, digest)
	if err != nil {
		return nil, fail(api.ReasonPullFailed, err)
	}
	defer func() { _ = stream.Close() }()
	archive := tar.NewReader(stream)
	var content []byte
	found := false
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fail(api.ReasonPullFailed, fmt.Errorf("reading %s of the base image: %w", file, err))
		}
		if strings.TrimPrefix(path.Clean("/"+header.Name), "/") != member || header.Typeflag != tar.TypeReg {
			continue
		}
		if header.Size > maxBaseFile {
			return nil, fmt.Errorf("reading %s of the base image: it has %d bytes, more than %d", file, header.Size, maxBaseFile)
		}
		// The last member of a name counts, and the stream's end proves the digest.
		if content, err = io.ReadAll(archive); err != nil {
			return nil, fail(api.ReasonPullFailed, fmt.Errorf("reading %s of the base image: %w", file, err))
		}
		found = true
	}
	if !found {
		return nil, fmt.Errorf("reading %s of the base image: layer %s has no member %s", file, digest, member)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return nil, fail(api.ReasonPullFailed, fmt.Errorf("reading %s of the base image: %w", file, err))
	}
	return content, nil
}

func imageBytes(image *registry.BaseImage) int64 {
	var total int64
	for _, layer := range image.Layers {
		total += layer.Size
	}
	return total
}
