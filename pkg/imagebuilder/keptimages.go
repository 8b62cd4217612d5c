package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/imagestore"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

const (
	// unpacked is how many times as large as its compressed layers an image may be.
	unpacked = 4
	// unbound is how long an image is held for a build whose time has no bound.
	unbound = 24 * time.Hour
)

// keptImage is one that may be kept on a volume.
type keptImage struct {
	called string // as configured
	name   string // by its digest
	opened *registry.Base
	chosen *registry.BaseImage
	// learn is true of the image whose layers push must know by their compressed form.
	learn bool
}

// pullAnew pulls an image into the build's own store.
func (p *preparation) pullAnew(ctx context.Context, program *buildah.Program, flags []string, image keptImage, into *pulled) error {
	into.add(image.chosen)
	err := p.pull(ctx, program, flags, image.name)
	if err == nil {
		p.progress.Note("pulled %s: %s, %s", image.called, image.opened.Digest, steplog.Size(imageBytes(image.chosen)))
	}
	return err
}

// pullToKeep lets the build read an image from the volume of kept ones, and pulls it there
// where it is missing. Whatever is wrong with that volume costs time and fails nothing.
func (p *preparation) pullToKeep(ctx context.Context, program *buildah.Program, flags []string, image keptImage, into *pulled) error {
	if p.options.KeptImagesDir != "" {
		err := p.keep(ctx, program, flags, image, into)
		if err == nil || ctx.Err() != nil {
			return err
		}
		p.progress.Note("warning: %s is pulled for this build alone, not for the volume of kept images: %v", image.called, err)
	}
	return p.pullAnew(ctx, program, flags, image, into)
}

func (p *preparation) keep(ctx context.Context, program *buildah.Program, flags []string, image keptImage, into *pulled) error {
	if into.driver.Name != buildah.Overlay {
		return fmt.Errorf("storage driver %s cannot read images beside its own", into.driver)
	}
	store, err := imagestore.Open(p.options.KeptImagesDir, p.progress.Now, p.options.KeptImagesSpace, program.Remove)
	if err != nil {
		return err
	}
	key, err := keptKey(image, into.driver)
	if err != nil {
		return err
	}
	hold := p.options.KeptImagesHold
	if hold <= 0 {
		hold = unbound
	}
	dir, err := store.Use(ctx, key, hold)
	switch {
	case err != nil:
		return err
	case dir != "":
		p.progress.Note("%s, %s, is kept from an earlier build: nothing of it is pulled", image.called, image.opened.Digest)
	default:
		if dir, err = p.fill(ctx, store, key, hold, flags, image, into.driver); err != nil {
			return err
		}
		into.add(image.chosen)
		p.progress.Note("pulled %s: %s, %s, kept for later builds", image.called, image.opened.Digest, steplog.Size(imageBytes(image.chosen)))
	}
	if err := p.adopt(ctx, store, dir, image, into.driver); err != nil {
		return err
	}
	program.ReadAlso(dir)
	into.driver = program.Driver()
	return nil
}

// fill pulls an image onto the volume.
func (p *preparation) fill(ctx context.Context, store *imagestore.Store, key string, hold time.Duration, flags []string, image keptImage, driver buildah.Driver) (string, error) {
	dir, err := store.Begin(ctx, key, unpacked*imageBytes(image.chosen), hold)
	if err != nil {
		return "", err
	}
	driver.Stores = nil // it is whole by itself
	filler, err := buildah.New(dir, driver)
	if err == nil {
		defer filler.Close()
		filler.Proxy = p.clients.Proxy
		if err = p.mirror(filler, image.opened); err == nil {
			err = p.pull(ctx, filler, flags, image.name)
		}
	}
	if err == nil {
		var kept string
		if kept, err = store.Keep(ctx, dir, key, hold); err == nil {
			return kept, nil
		}
	}
	return "", errors.Join(err, store.Discard(ctx, dir))
}

// adopt makes sure that the build's own program can read a kept image. What else can go wrong
// is this build's, and no reason for others to do without.
func (p *preparation) adopt(ctx context.Context, store *imagestore.Store, dir string, image keptImage, driver buildah.Driver) error {
	program, err := buildah.New(p.options.StorageDir, driver)
	if err != nil {
		return err
	}
	defer program.Close()
	program.ReadAlso(dir)
	if err := program.Run(ctx, func(string) {}, "inspect", "--type", "image", "--format", "{{.FromImageID}}", image.name); err != nil {
		var exit *buildah.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			err = errors.Join(err, store.Distrust(dir))
		}
		return err
	}
	if !image.learn {
		return nil
	}
	return program.Learn(dir)
}

// keptKey names what is kept by all that decides how its files look on the volume. Which ids
// they have depends on the builder image.
func keptKey(image keptImage, driver buildah.Driver) (string, error) {
	parts := []string{image.name, image.chosen.Digest, driver.String(), fmt.Sprint(os.Getuid())}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("naming the kept image: %w", err)
		}
		parts = append(parts, string(content))
	}
	return names.Content([]byte(strings.Join(parts, "\x00"))), nil
}
