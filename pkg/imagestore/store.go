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

	"golang.org/x/sys/unix"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

const (
	// directory is the volume's that is ours. Its number is that of what lies in it:
	// another version does not know what this one has written.
	directory = "machine-os-builder-1"
	lockName  = "lock"
	untilName = "until"
	filling   = "filling-"
	gone      = "gone-"
	// mode is what directories must have. One that has another was changed by somebody:
	// a kubelet that gives a volume to a group changes all files in it.
	mode       = fs.ModeDir | 0o700
	distrusted = 0o500
)

const (
	// mostImages is how many are kept.
	mostImages = 10
	// freeShare is the part of the volume, one in so many, that stays free; of a large
	// one, which may be the disk of a node, freeMost.
	freeShare = 10
	freeMost  = 5 << 30
	// lockPatience is how long the lock is waited for, which nobody holds for long.
	lockPatience = 10 * time.Second
	lockPause    = 50 * time.Millisecond
)

// ErrFull says that there is no room, and that none can be made.
var ErrFull = errors.New("no room")

// Store is the images of a volume.
type Store struct {
	dir string
	now func() time.Time
	// remove removes a directory with files of other users in it.
	remove func(ctx context.Context, dir string) error
	// free says how many bytes the volume has, and how many of them are free.
	free func() (size, free int64, err error)
	// patience is how long the lock is waited for.
	patience time.Duration
}

// Open makes what is missing on the volume.
func Open(volume string, now func() time.Time, remove func(ctx context.Context, dir string) error) (*Store, error) {
	s := &Store{dir: filepath.Join(volume, directory), now: now, remove: remove, patience: lockPatience}
	s.free = s.statfs
	if err := os.Mkdir(s.dir, mode.Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("opening the volume: %w", err)
	}
	// Directories would inherit the bit by which a volume's group is that of its files.
	if err := os.Chmod(s.dir, mode.Perm()); err != nil {
		return nil, fmt.Errorf("opening the volume: %w", err)
	}
	return s, nil
}

// Use returns the directory of a kept image, held for as long as is said; empty where there is none.
func (s *Store) Use(ctx context.Context, key string, hold time.Duration) (string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(s.dir, key)
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for the kept image: %w", err)
	case info.Mode() != mode:
		return "", s.changed(dir, info.Mode())
	}
	return dir, s.hold(dir, hold)
}

// changed takes an image out of use that is not as it was made, once no build has it.
func (s *Store) changed(dir string, found fs.FileMode) error {
	until, err := untilOf(dir)
	if err == nil && until.After(s.now()) {
		err = fmt.Errorf("looking for the kept image: %s is not as it was made, its mode is %v and not %v; it is removed after %s, when no build can have it any more",
			dir, found, mode, until.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return err
	}
	return s.discard(dir)
}

// Begin makes room for an image of so many bytes, and a directory to fill with it.
func (s *Store) Begin(ctx context.Context, bytes int64, hold time.Duration) (string, error) {
	if err := s.makeRoom(ctx, bytes); err != nil {
		return "", err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	dir, err := os.MkdirTemp(s.dir, filling)
	if err != nil {
		return "", fmt.Errorf("making a directory on the volume: %w", err)
	}
	return dir, s.hold(dir, hold)
}

// Keep gives what was filled its name, and returns where it is then. Where another build was
// faster, that is the other one's.
func (s *Store) Keep(ctx context.Context, filled, key string, hold time.Duration) (string, error) {
	if err := writeOut(filled); err != nil {
		return "", err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, key)
	err = os.Rename(filled, dir)
	unlock()
	if err == nil {
		return dir, nil
	}
	there, useErr := s.Use(ctx, key, hold)
	if useErr != nil || there == "" {
		return "", errors.Join(fmt.Errorf("keeping the image: %w", err), useErr)
	}
	// What cannot be removed now is when its time is over.
	_ = s.remove(ctx, filled)
	return there, nil
}

// Discard removes the directory of an image that could not be completed.
func (s *Store) Discard(ctx context.Context, dir string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	err = s.discard(dir)
	unlock()
	return errors.Join(err, s.clean(ctx))
}

// Distrust lets nobody use an image from now on, but those who do.
func (s *Store) Distrust(dir string) error {
	if err := os.Chmod(dir, distrusted); err != nil {
		return fmt.Errorf("giving up a kept image: %w", err)
	}
	return nil
}

// discard is done under the lock.
func (s *Store) discard(dir string) error {
	to := fmt.Sprintf("%s%s-%d", gone, filepath.Base(dir), s.now().UnixNano())
	if err := os.Rename(dir, filepath.Join(s.dir, to)); err != nil {
		return fmt.Errorf("removing a kept image: %w", err)
	}
	return nil
}

// hold keeps a directory from being removed; what others hold stays held.
func (s *Store) hold(dir string, hold time.Duration) error {
	file, until := filepath.Join(dir, untilName), s.now().Add(hold)
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return fmt.Errorf("holding a kept image: %w", err)
		}
	case err != nil:
		return fmt.Errorf("holding a kept image: %w", err)
	case info.ModTime().After(until):
		return nil
	}
	if err := os.Chtimes(file, until, until); err != nil {
		return fmt.Errorf("holding a kept image: %w", err)
	}
	return nil
}

// makeRoom removes what is left over and, as long as it has to, the images whose last build
// is the longest ago.
func (s *Store) makeRoom(ctx context.Context, bytes int64) error {
	for {
		if err := s.clean(ctx); err != nil {
			return err
		}
		images, err := s.images()
		if err != nil {
			return err
		}
		size, free, err := s.free()
		if err != nil {
			return err
		}
		reserve := min(size/freeShare, freeMost)
		usable := size - reserve
		switch {
		case bytes > usable:
			return fmt.Errorf("%w: the volume may hold %s of images, and this one may take %s", ErrFull, steplog.Size(usable), steplog.Size(bytes))
		case len(images) < mostImages && bytes <= free-reserve:
			return nil
		case len(images) == 0 || images[0].until.After(s.now()):
			return fmt.Errorf("%w: %s of the volume's %s are free, of which %s stay so, and the image may take %s; %s kept, and each within the time of a build that uses it",
				ErrFull, steplog.Size(free), steplog.Size(size), steplog.Size(reserve), steplog.Size(bytes), steplog.Plural(len(images), "image"))
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

// clean removes what nobody uses any more.
func (s *Store) clean(ctx context.Context) error {
	left, err := s.leftovers(ctx)
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := s.remove(ctx, dir); err != nil {
			return fmt.Errorf("removing what is left of a kept image: %w", err)
		}
	}
	return nil
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

// untilOf is long ago for a directory that says nothing.
func untilOf(dir string) (time.Time, error) {
	info, err := os.Stat(filepath.Join(dir, untilName))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading until when an image is held: %w", err)
	}
	return info.ModTime(), nil
}

// lock waits for whoever has it. The kernel takes it from one that is killed.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the volume: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	for {
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { _ = file.Close() }, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			select {
			case <-time.After(lockPause):
				continue
			case <-ctx.Done():
			}
		}
		_ = file.Close()
		return nil, fmt.Errorf("locking the volume: %w", err)
	}
}

func (s *Store) statfs() (size, free int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(s.dir, &stat); err != nil {
		return 0, 0, fmt.Errorf("reading the volume's size: %w", err)
	}
	return int64(stat.Blocks) * stat.Bsize, int64(stat.Bavail) * stat.Bsize, nil //nolint:gosec // no volume is that large
}

// writeOut writes what a directory's file system still holds back: a name must not be there
// before the content is, whatever happens to the node.
func writeOut(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing out the image: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("writing out the image: %w", err)
	}
	return nil
}
