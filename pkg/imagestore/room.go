package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

const (
	// mostImages is how many are kept.
	mostImages = 10
	// freePercent of the volume stay free: it may be the disk of a node, where the kubelet
	// evicts pods when less than 15 % is for images, or 10 % for all else (kubernetes,
	// KubeletConfiguration.evictionHard).
	freePercent = 20
)

// makeRoom removes what is left over and, as long as it has to, the images whose last build
// is the longest ago.
func (s *Store) makeRoom(ctx context.Context, bytes int64) error {
	for {
		left, err := s.leftovers(ctx)
		if err != nil {
			return err
		}
		stuck := s.clean(ctx, left) // in nobody's way, unless its room is missing
		images, err := s.images()
		if err != nil {
			return err
		}
		size, free, err := s.free()
		if err != nil {
			return err
		}
		reserve := size / 100 * freePercent
		usable := size - reserve
		switch {
		case bytes > usable:
			return fmt.Errorf("%w: the volume may hold %s of images, and this one may take %s", ErrFull, steplog.Size(usable), steplog.Size(bytes))
		case len(images) < mostImages && bytes <= free-reserve:
			return nil
		case len(images) == 0 || images[0].until.After(s.now()):
			return errors.Join(fmt.Errorf("%w: %s of the volume's %s are free, of which %s stay so, and the image may take %s; %s kept, and each within the time of a build that uses it",
				ErrFull, steplog.Size(free), steplog.Size(size), steplog.Size(reserve), steplog.Size(bytes), steplog.Plural(len(images), "image")), stuck)
		}
		if err := s.giveUp(ctx, images[0].name); err != nil {
			return err
		}
	}
}

// giveUp takes an image out of use, unless it is held meanwhile.
func (s *Store) giveUp(ctx context.Context, name string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir := filepath.Join(s.dir, name)
	until, err := untilOf(dir)
	if err != nil || until.After(s.now()) {
		return err
	}
	err = s.discard(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another build has done it
	}
	return err
}

// clean removes what it can of what nobody uses any more.
func (s *Store) clean(ctx context.Context, left []string) error {
	var errs []error
	for _, dir := range left {
		if err := s.remove(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("removing %s, which is left of a kept image: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// leftovers are what is out of use. What is not complete is as soon as its maker, if it
// was not killed, cannot run any more.
func (s *Store) leftovers(ctx context.Context) ([]string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the volume: %w", err)
	}
	var left []string
	for _, entry := range entries {
		dir := filepath.Join(s.dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), gone):
			left = append(left, dir)
		case strings.HasPrefix(entry.Name(), filling):
			until, err := untilOf(dir)
			if err != nil {
				return nil, err
			}
			if until.Before(s.now()) {
				left = append(left, dir)
			}
		}
	}
	return left, nil
}

type held struct {
	name  string
	until time.Time
}

// images are those that are kept, the one first that was used the longest ago.
func (s *Store) images() ([]held, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the volume: %w", err)
	}
	var images []held
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || strings.HasPrefix(name, filling) || strings.HasPrefix(name, gone) {
			continue
		}
		until, err := untilOf(filepath.Join(s.dir, name))
		if err != nil {
			return nil, err
		}
		images = append(images, held{name, until})
	}
	slices.SortFunc(images, func(a, b held) int { return a.until.Compare(b.until) })
	return images, nil
}
