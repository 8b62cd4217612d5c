package imagestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const hour = time.Hour

// volume is a store with a clock that is set and a size that is told.
type volume struct {
	*Store
	t    *testing.T
	time time.Time
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	v := &volume{t: t, time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	// As root of a user namespace, which the one of builds is, it gets into every directory.
	remove := func(_ context.Context, dir string) error {
		return errors.Join(os.Chmod(dir, 0o700), os.RemoveAll(dir))
	}
	store, err := Open(t.TempDir(), func() time.Time { return v.time }, nil, remove)
	if err != nil {
		t.Fatal(err)
	}
	store.free = func() (int64, int64, error) { return 1 << 30, 1 << 30, nil }
	v.Store = store
	return v
}

// add keeps an image.
func (v *volume) add(key string) string {
	v.t.Helper()
	dir, err := v.fill(key)
	if err != nil {
		v.t.Fatal(err)
	}
	return dir
}

func (v *volume) fill(key string) (string, error) {
	dir, err := v.Begin(v.t.Context(), key, 1, hour)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "content"), []byte(key), 0o600); err != nil {
		return "", err
	}
	return v.Keep(v.t.Context(), dir, key, hour)
}

// use returns what is found of an image.
func (v *volume) use(key string) string {
	v.t.Helper()
	dir, err := v.Use(v.t.Context(), key, hour)
	if err != nil {
		v.t.Fatal(err)
	}
	if dir == "" {
		return ""
	}
	content, err := os.ReadFile(filepath.Join(dir, "content"))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(content)
}

// left are the names of what lies on the volume, beside the lock.
func (v *volume) left() []string {
	v.t.Helper()
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestOnlyWholeImagesAreFound(t *testing.T) {
	v := newVolume(t)
	if got := v.use("a"); got != "" {
		t.Errorf("an image that was never kept has %q", got)
	}
	dir, err := v.Begin(t.Context(), "d", 1, hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.use("d"); got != "" {
		t.Errorf("an image that is being filled has %q", got)
	}
	if v.add("a"); v.use("a") != "a" {
		t.Errorf("the kept image has %q", v.use("a"))
	}
	// Its maker was killed: it stays until that could not run any more.
	v.add("b")
	if names := v.left(); !slices.Contains(names, filepath.Base(dir)) {
		t.Errorf("%s is gone while its maker may run: %v", dir, names)
	}
	v.time = v.time.Add(hour + time.Second)
	v.add("c")
	if names := v.left(); !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("left is %v", names)
	}
}

// TestOneOfSeveralMakersIsKept: all go on with the same directory, or without.
func TestOneOfSeveralMakersIsKept(t *testing.T) {
	v, dirs := newVolume(t), make([]string, 8)
	var group sync.WaitGroup
	for i := range dirs {
		group.Go(func() {
			var err error
			if dirs[i], err = v.fill("a"); err != nil && !errors.Is(err, ErrFilling) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.Sort(dirs)
	dirs = slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return dir == "" })
	if !slices.Equal(dirs, []string{v.add("a")}) || !slices.Equal(v.left(), []string{"a"}) {
		t.Errorf("directories are %v, left is %v", dirs, v.left())
	}
}

// TestOneFillsAnImage: two would take twice the room.
func TestOneFillsAnImage(t *testing.T) {
	for name, row := range map[string]struct {
		key     string
		later   time.Duration
		discard bool
		size    int64
		want    error
	}{
		"the same":                            {key: "a", want: ErrFilling},
		"the same, at the end of its time":    {key: "a", later: hour, want: ErrFilling},
		"whose maker cannot run any more":     {key: "a", later: hour + time.Second},
		"whose maker gave it up":              {key: "a", discard: true},
		"another":                             {key: "b"},
		"another whose name begins as its":    {key: "aa"},
		"another, for which there is no room": {key: "b", size: 1, want: ErrFull},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			filled, err := v.Begin(t.Context(), "a", 1, hour)
			if err != nil {
				t.Fatal(err)
			}
			if row.discard {
				stopped, cancel := context.WithCancel(t.Context())
				cancel() // as it is where the build has ended
				if err := v.Discard(stopped, filled); err != nil {
					t.Fatal(err)
				}
			}
			if row.size > 0 {
				v.free = func() (int64, int64, error) { return row.size, row.size, nil }
			}
			v.time = v.time.Add(row.later)
			before := v.left()
			dir, err := v.Begin(t.Context(), row.key, 100, hour)
			if !errors.Is(err, row.want) || (dir == "") != (row.want != nil) {
				t.Errorf("directory %q, error = %v, want %v", dir, err, row.want)
			}
			if row.want != nil && !slices.Equal(v.left(), before) {
				t.Errorf("left was %v and is %v", before, v.left())
			}
		})
	}
}

// TestWhatCannotBeRemovedIsInNobodysWay, as long as there is room.
func TestWhatCannotBeRemovedIsInNobodysWay(t *testing.T) {
	v := newVolume(t)
	for _, name := range []string{"gone-1", "gone-2", "gone-3"} {
		if err := os.Mkdir(filepath.Join(v.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stuck := errors.New("owned by others")
	v.remove = func(_ context.Context, dir string) error {
		if filepath.Base(dir) == "gone-2" {
			return stuck
		}
		return os.RemoveAll(dir)
	}
	if v.add("a"); !slices.Equal(v.left(), []string{"a", "gone-2"}) {
		t.Errorf("left is %v", v.left())
	}
	v.free = func() (int64, int64, error) { return 100, 20, nil }
	if _, err := v.Begin(t.Context(), "b", 50, hour); !errors.Is(err, ErrFull) || !errors.Is(err, stuck) {
		t.Errorf("error = %v", err)
	}
}

func TestRoomIsMade(t *testing.T) {
	for name, row := range map[string]struct {
		images, bytes int
		size          int // of the volume, of which each image takes 10
		used          []string
		later         time.Duration
		gone          []string
		full          bool
	}{
		"there is room":                             {images: 3, bytes: 40, size: 100, later: 2 * hour},
		"the oldest goes":                           {images: 6, bytes: 30, size: 100, later: 2 * hour, gone: []string{"0"}},
		"as many as have to":                        {images: 6, bytes: 50, size: 100, later: 2 * hour, gone: []string{"0", "1", "2"}},
		"not one that was used":                     {images: 6, bytes: 30, size: 100, used: []string{"0", "1"}, later: 2 * hour, gone: []string{"2"}},
		"none while a build may have it":            {images: 6, bytes: 40, size: 100, full: true},
		"none for what never fits":                  {images: 6, bytes: 86, size: 100, later: 2 * hour, full: true},
		"20 % stay free":                            {images: 1, bytes: 80, size: 100, later: 2 * hour, gone: []string{"0"}},
		"of a large one, too":                       {images: 1, bytes: 86 << 30, size: 100 << 30, later: 2 * hour, full: true},
		"the oldest of the most that are kept":      {images: mostImages, bytes: 1, size: 1000, later: 2 * hour, gone: []string{"0"}},
		"not more than the most while all are held": {images: mostImages, bytes: 1, size: 1000, full: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			for i := range row.images {
				v.add(fmt.Sprint(i))
				v.time = v.time.Add(time.Minute)
			}
			v.time = v.time.Add(row.later)
			for _, key := range row.used {
				v.use(key)
			}
			v.free = func() (int64, int64, error) {
				images, err := v.images()
				return int64(row.size), int64(row.size - 10*len(images)), err
			}
			want := slices.DeleteFunc(v.left(), func(name string) bool { return slices.Contains(row.gone, name) })
			_, err := v.Begin(t.Context(), "new", int64(row.bytes), hour)
			if errors.Is(err, ErrFull) != row.full || !row.full && err != nil {
				t.Errorf("error = %v", err)
			}
			got := slices.DeleteFunc(v.left(), func(name string) bool { return strings.HasPrefix(name, filling) })
			if !slices.Equal(got, want) {
				t.Errorf("left is %v, want %v", got, want)
			}
		})
	}
}

// TestHoldIsNotShortened: a build that may take long keeps its image from others that may not.
func TestHoldIsNotShortened(t *testing.T) {
	v := newVolume(t)
	v.add("a")
	if _, err := v.Use(t.Context(), "a", 5*hour); err != nil {
		t.Fatal(err)
	}
	v.use("a")
	v.time = v.time.Add(4 * hour)
	v.free = func() (int64, int64, error) { return 100, 20, nil }
	if _, err := v.Begin(t.Context(), "b", 50, hour); !errors.Is(err, ErrFull) || v.use("a") != "a" {
		t.Errorf("error = %v, the image has %q", err, v.use("a"))
	}
}

// TestChangedImagesAreNotUsed: a kubelet that gives the volume to a group changes them, and
// a build that could not read one says so.
func TestChangedImagesAreNotUsed(t *testing.T) {
	for name, change := range map[string]func(*volume, string) error{
		"given to a group": func(_ *volume, dir string) error { return os.Chmod(dir, os.ModeSetgid|0o770) },
		"distrusted":       func(v *volume, dir string) error { return v.Distrust(dir) },
	} {
		v := newVolume(t)
		dir := v.add("a")
		if err := change(v, dir); err != nil {
			t.Fatal(err)
		}
		if dir, err := v.Use(t.Context(), "a", hour); err == nil || dir != "" {
			t.Errorf("%s: it is used: %q", name, dir)
		}
		if !slices.Equal(v.left(), []string{"a"}) {
			t.Errorf("%s: it is removed while a build may have it: %v", name, v.left())
		}
		v.time = v.time.Add(hour + time.Second)
		if got := v.use("a"); got != "" {
			t.Errorf("%s: it is used: %q", name, got)
		}
		if v.add("a"); v.use("a") != "a" || !slices.Equal(v.left(), []string{"a"}) {
			t.Errorf("%s: it is not made anew: %v", name, v.left())
		}
	}
}

// TestNobodyWaitsForeverForTheLock, as for one whose holder hangs.
func TestNobodyWaitsForeverForTheLock(t *testing.T) {
	v := newVolume(t)
	v.add("a")
	v.patience = 2 * lockPause
	file, err := os.Open(filepath.Join(v.dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if dir, err := v.Use(t.Context(), "a", hour); err == nil {
		t.Errorf("it is used: %q", dir)
	}
	_ = file.Close()
	if v.use("a") != "a" {
		t.Error("it is not used after that")
	}
}

func TestDiscard(t *testing.T) {
	v := newVolume(t)
	dir, err := v.Begin(t.Context(), "a", 1, hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Discard(t.Context(), dir); err != nil || len(v.left()) > 0 {
		t.Errorf("error = %v, left is %v", err, v.left())
	}
}

// TestOpenTakesTheGroupsBitAway: what is made below must not inherit it.
func TestOpenTakesTheGroupsBitAway(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, os.ModeSetgid|0o770); err != nil {
		t.Fatal(err)
	}
	store, err := Open(dir, time.Now, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if size, free, err := store.free(); err != nil || size <= 0 || free > size {
		t.Errorf("the volume has %d bytes, %d of them free, %v", size, free, err)
	}
	store.free = func() (int64, int64, error) { return 1, 1, nil }
	made, err := store.Begin(t.Context(), "a", 0, hour)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(made); err != nil || info.Mode() != mode {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if _, err := Open(filepath.Join(made, untilName), time.Now, nil, nil); err == nil {
		t.Error("a file was taken for a volume")
	}
}
