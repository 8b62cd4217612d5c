package imagebuilder

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// storing is a buildah that leaves a file in the store that it pulls into.
const storing = `root=$(tail -n 1 "$(dirname "$0")/calls" | sed 's/--root \([^ ]*\) .*/\1/')
if [ "$1" = pull ]; then echo image > "$root/image"; mkdir -p "$XDG_DATA_HOME/cache" && echo known > "$XDG_DATA_HOME/cache/blobs"; fi
`

const keptCustom = "FROM HOST/tools/one:7 AS tools\nFROM configs AS final\nRUN true\n"

// roomy is a volume with room, whatever there is on the disk of the tests.
func roomy(string) (size, free int64, err error) { return 1 << 40, 1 << 40, nil }

// keeping prepares a build with a volume of kept images, and returns where each image that
// was pulled went.
func keeping(t *testing.T, in *inputs, volume, script string) (dirs volumes, pulls map[string]string) {
	t.Helper()
	calls := buildahtest.Fake(t, storing+script)
	extensions := in.server.Push(t, "os/extensions:1", registrytest.Index(t, osImage(t, "amd64"), osImage(t, "arm64")))
	configs := dockerfile.Configs{Extensions: extensions, Packages: ospackages.New([]string{"usbguard"}, "")}
	dirs, err := preparedWith(t, in, configs, keptCustom, func(o *PrepareOptions) {
		o.KeptImagesDir, o.KeptImagesHold, o.KeptImagesSpace, o.Architecture = volume, time.Hour, roomy, "amd64"
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	pulls = map[string]string{}
	for _, call := range calls() {
		fields := strings.Fields(call)
		if !slices.Contains(fields, "pull") {
			continue
		}
		image, _, _ := strings.Cut(strings.TrimPrefix(fields[len(fields)-1], "docker://"+in.server.Host), "@")
		pulls[image] = fields[slices.Index(fields, "--root")+1]
	}
	return dirs, pulls
}

// TestBasesAreKept: the base and the extensions image are pulled once, what a Dockerfile
// names each time.
func TestBasesAreKept(t *testing.T) {
	in, volume := newInputs(t, ignition), t.TempDir()
	dirs, pulls := keeping(t, in, volume, "")
	for image, onVolume := range map[string]bool{"/os/base": true, "/os/extensions": true, "/tools/one": false} {
		if where := pulls[image]; where == "" || strings.HasPrefix(where, volume) != onVolume {
			t.Errorf("%s was pulled into %q", image, where)
		}
	}
	first, err := dirs.work.readPlan()
	if err != nil || len(first.Driver.Stores) != 2 {
		t.Fatalf("plan = %+v, %v", first, err)
	}
	in.log.Reset()
	dirs, pulls = keeping(t, in, volume, "")
	if len(pulls) != 1 || pulls["/tools/one"] != filepath.Join(dirs.storage, "root") {
		t.Errorf("pulled again: %v", pulls)
	}
	second, err := dirs.work.readPlan()
	if err != nil || !slices.Equal(first.Driver.Stores, second.Driver.Stores) {
		t.Errorf("stores were %v and are %v, %v", first.Driver.Stores, second.Driver.Stores, err)
	}
	for _, store := range second.Driver.Stores {
		if content, err := os.ReadFile(filepath.Join(store, "image")); err != nil || string(content) != "image\n" {
			t.Errorf("store %s has %q, %v", store, content, err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(dirs.storage, "data", "cache", "blobs")); err != nil || string(content) != "known\n" {
		t.Errorf("of the base's blobs is known %q, %v", content, err)
	}
	if strings.Count(in.log.String(), "is kept from an earlier build: nothing of it is pulled") != 2 {
		t.Errorf("log:\n%s", in.log.String())
	}
}

// TestKeptImagesFailNoBuild: whatever is wrong with the volume, the base is pulled as if
// there were none, and the log says why.
func TestKeptImagesFailNoBuild(t *testing.T) {
	const unreadable = `[ "$1" = inspect ] && echo "layer not known" && exit 125` + "\nexit 0"
	for name, row := range map[string]struct {
		spoil  func(volume string) error
		script string
		says   string
	}{
		"no directory":        {spoil: os.Remove, says: "opening the volume"},
		"it cannot be filled": {script: `[ "$1" = pull ] && [ -e "$root/../until" ] && echo "no space left on device" && exit 125` + "\nexit 0", says: "no space left on device"},
		"it cannot be read":   {script: unreadable, says: "layer not known"},
		"vfs":                 {script: `grep -q "driver vfs" "$(dirname "$0")/calls" || exit 125` + "\nexit 0", says: "storage driver vfs cannot read images beside its own"},
	} {
		t.Run(name, func(t *testing.T) {
			volume := newVolume(t)
			if row.spoil != nil {
				if err := row.spoil(volume); err != nil {
					t.Fatal(err)
				}
			}
			in := newInputs(t, ignition)
			dirs, pulls := keeping(t, in, volume, row.script)
			plan, err := dirs.work.readPlan()
			if err != nil {
				t.Fatal(err)
			}
			if pulls["/os/base"] != filepath.Join(dirs.storage, "root") || len(plan.Driver.Stores) > 0 {
				t.Errorf("pulls = %v, stores = %v", pulls, plan.Driver.Stores)
			}
			if !strings.Contains(in.log.String(), "warning: ") || !strings.Contains(in.log.String(), row.says) {
				t.Errorf("log:\n%s", in.log.String())
			}
		})
	}
}

// TestOneBuildDoesNotSpoilAnothers: what stops a build takes a kept image from nobody else,
// unless it is the image.
func TestOneBuildDoesNotSpoilAnothers(t *testing.T) {
	image := keptImage{called: "base:1", name: "example.com/base@sha256:1", opened: &registry.Base{}, chosen: &registry.BaseImage{}, learn: true}
	keep := func(t *testing.T, ctx context.Context, volume string, spoil func(storage string) error) error {
		t.Helper()
		storage, driver := t.TempDir(), buildah.Driver{Name: buildah.Overlay}
		program, err := buildah.New(storage, driver)
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		if spoil != nil {
			if err := spoil(storage); err != nil {
				t.Fatal(err)
			}
		}
		p := &preparation{options: PrepareOptions{StorageDir: storage, KeptImagesDir: volume, KeptImagesSpace: roomy}, clients: &registryaccess.Clients{}, progress: steplog.NewProgress(io.Discard, 1, time.Now)}
		return p.keep(ctx, program, nil, image, &pulled{driver: driver, layers: map[string]bool{}})
	}
	for name, row := range map[string]struct {
		first     bool // nothing is kept before
		script    string
		cancelled bool
		spoil     func(storage string) error
		says      string // of the next build
	}{
		"it cannot be read":           {script: `[ "$1" = inspect ] && exit 125`, says: "is not as it was made"},
		"cancelled":                   {cancelled: true},
		"cancelled before it is kept": {cancelled: true, first: true},
		"no storage": {spoil: func(storage string) error {
			return errors.Join(os.Remove(filepath.Join(storage, "tmp")), os.WriteFile(filepath.Join(storage, "tmp"), nil, 0o600))
		}},
		"data that is not empty": {spoil: func(storage string) error {
			return os.MkdirAll(filepath.Join(storage, "data", "cache", "blobs"), 0o700)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			volume := newVolume(t)
			buildahtest.Fake(t, storing)
			if !row.first {
				if err := keep(t, t.Context(), volume, nil); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if row.cancelled {
				cancel()
			}
			if row.script != "" {
				buildahtest.Fake(t, row.script)
			}
			if err := keep(t, ctx, volume, row.spoil); err == nil {
				t.Error("nothing stopped the build")
			}
			buildahtest.Fake(t, storing)
			if err := keep(t, t.Context(), volume, nil); row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("the next build's error = %v, want %q", err, row.says)
			}
		})
	}
}

// newVolume is one from which a distrusted image, which nobody may change, goes with it.
func newVolume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		images, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		for _, image := range images {
			err = errors.Join(err, os.Chmod(image, 0o700))
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}
