package buildah

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Pull pulls an image into the store, with the flags of Login. What can pass is
// tried again.
func (b *Program) Pull(ctx context.Context, flags []string, image string) error {
	return b.Run(ctx, func(string) {}, "pull", append(slices.Clone(flags), "--retry", "4", "docker://"+image)...)
}

// Tag gives an image of the store another name, under which a build finds it.
func (b *Program) Tag(ctx context.Context, image, another string) error {
	return b.Run(ctx, func(string) {}, "tag", image, storeName(another))
}

// Pinned is an image by its digest alone.
func Pinned(pullspec, digest string) (string, error) {
	reference, err := name.ParseReference(pullspec)
	if err != nil {
		return "", fmt.Errorf("reading image name: %w", err)
	}
	return reference.Context().Digest(digest).Name(), nil
}

// storeName is the full name under which a build looks for an image.
func storeName(image string) string {
	reference, err := name.ParseReference(image)
	if err != nil {
		return image
	}
	return strings.Replace(reference.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}
