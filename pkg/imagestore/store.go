package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
	// lockPatience is how long the lock is waited for, which nobody holds for long.
	lockPatience = 10 * time.Second
	lockPause    = 50 * time.Millisecond
)

var (
	// ErrFull says that there is no room, and that none can be made.
	ErrFull = errors.New("no room")
	// ErrFilling says that another build has begun with the image.
	ErrFilling = errors.New("another build is unpacking the image there")
)

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

// Space says how many bytes the volume of a directory has, and how many of them are free.
type Space func(dir string) (size, free int64, err error)

// Open makes what is missing on the volume. A nil space is what the file system says.
func Open(volume string, now func() time.Time, space Space, remove func(ctx context.Context, dir string) error) (*Store, error) {
	if space == nil {
		space = fileSystem
	}
	s := &Store{dir: filepath.Join(volume, directory), now: now, remove: remove, patience: lockPatience}
	s.free = func() (int64, int64, error) { return space(s.dir) }
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

// Begin makes room for an image of so many bytes, and a directory to fill with it. One build
// at a time has that of a key: a second one would need the room twice.
func (s *Store) Begin(ctx context.Context, key string, bytes int64, hold time.Duration) (string, error) {
	dir, err := s.reserve(ctx, key, hold)
	if err != nil {
		return "", err
	}
	if err := s.makeRoom(ctx, bytes); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func (s *Store) reserve(ctx context.Context, key string, hold time.Duration) (string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	prefix := filling + key + "-"
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", fmt.Errorf("reading the volume: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		until, err := untilOf(filepath.Join(s.dir, entry.Name()))
		if err != nil {
			return "", err
		}
		if !until.Before(s.now()) {
			return "", fmt.Errorf("%w, and may be until %s", ErrFilling, until.UTC().Format(time.RFC3339))
		}
	}
	dir, err := os.MkdirTemp(s.dir, prefix)
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

// Discard removes the directory of an image that could not be completed. A build that is
// stopped leaves the files to the next one.
func (s *Store) Discard(ctx context.Context, dir string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	err = s.discard(dir)
	unlock()
	if ctx.Err() != nil {
		return err
	}
	left, leftErr := s.leftovers(ctx)
	return errors.Join(err, leftErr, s.clean(ctx, left))
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

func fileSystem(dir string) (size, free int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
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
