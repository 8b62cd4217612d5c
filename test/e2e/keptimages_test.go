//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// trespassing tries to write to the volume of kept images, wherever a step may find it, and
// leaves what shows how directories of the image's root are made.
const trespassing = `FROM configs AS final
RUN for root in "" /proc/[0-9]*/root; do mkdir "$root/var/lib/os-image-builder/kept-images/trespassed"; done; mkdir /made && echo done > /made/file
`

// TestKeptImages: with a claim, the base is pulled once; builds with it give what builds
// without it do, and no step changes what is kept there.
func TestKeptImages(t *testing.T) {
	const claim, config = "e2e-base-images", "rendered-worker-kept"
	s := newScenario(t)
	dir, err := os.MkdirTemp("", "e2e-base-images-") // root's own, as a new volume is
	s.must(err)
	// A part of a volume stays free, which the disk of this machine may not have.
	s.must(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8g,mode=0755"))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(s.ctx)
		s.must(cluster.Reset(ctx))
		s.must(cluster.RemoveClaim(ctx, claim))
		s.must(syscall.Unmount(dir, 0))
		s.must(os.RemoveAll(dir))
	})
	s.configure(map[string]string{api.KeyBuildStoragePVC: claim})
	s.customDockerfile("# " + time.Now().String() + "\n" + trespassing)
	s.addWorkers(live.FileConfig(config, "/etc/generation", "one"))
	s.must(cluster.OptIn(s.ctx, worker))
	s.prove("a claim that is missing is told", func(s *scenario) {
		s.is(mcfgv1.MachineConfigPoolBuildPending, `persistentvolumeclaim "`+claim+`" not found`, api.KeyBuildStoragePVC, "pod/build-"+config)
	})

	s.must(cluster.AddClaim(s.ctx, claim, dir))
	first := s.built(config)
	s.prove("the build starts when it appears, and keeps the base", func(s *scenario) {
		if pulled := s.results()[api.ContainerPrepare].BytesPulled; pulled < 1<<20 {
			s.t.Errorf("%d bytes were pulled", pulled)
		}
		if len(keptFiles(s.t, dir)) < 100 {
			s.t.Errorf("kept are %v", keptFiles(s.t, dir))
		}
	})

	was := keptFiles(t, dir)
	traffic, err := cluster.WatchRegistry()
	s.must(err)
	second := s.rebuilt(config, "with what is kept")
	s.prove("the next build reads no layer of the base", func(s *scenario) {
		if read := s.layersRead(traffic); len(read) > 0 {
			s.t.Errorf("layers %v of the base were read", read)
		}
		if pulled := s.results()[api.ContainerPrepare].BytesPulled; pulled > 1<<20 {
			s.t.Errorf("%d bytes were pulled", pulled)
		}
	})
	s.prove("no step changes what is kept", func(s *scenario) {
		if is := keptFiles(s.t, dir); !slices.Equal(is, was) {
			s.t.Errorf("%d files were kept, now these %d:\n%v", len(was), len(is), is)
		}
	})

	s.configure(map[string]string{api.KeyBuildStoragePVC: ""})
	traffic, err = cluster.WatchRegistry()
	s.must(err)
	third := s.rebuilt(config, "without a claim")
	s.prove("the image is the same with and without", func(s *scenario) {
		if len(s.layersRead(traffic)) == 0 {
			s.t.Error("without a claim no layer of the base was read")
		}
		if first.Pullspec != second.Image || first.Pullspec != third.Image {
			s.t.Errorf("images are %s, %s and %s", first.Pullspec, second.Image, third.Image)
		}
	})

	s.configure(map[string]string{api.KeyBuildStoragePVC: claim, api.KeyBuildCache: api.BuildCacheRegistry, api.KeyConfigLayerOrder: api.ConfigLayerLast})
	unique := time.Now().String()
	s.customDockerfile(cachedFile(unique, "one"))
	before := s.files(s.built(config))
	traffic, err = cluster.WatchRegistry()
	s.must(err)
	s.customDockerfile(cachedFile(unique, "two"))
	after := s.files(s.built(config))
	s.prove("what single steps left is laid on a base that is kept", func(s *scenario) {
		for _, name := range []string{"etc/first", "etc/second", "etc/tool"} {
			if after[name].Content != before[name].Content || len(after[name].Content) < 8 {
				s.t.Errorf("/%s was %q and is %q", name, before[name].Content, after[name].Content)
			}
		}
		if after["etc/last"].Content != "two\n" || after["etc/generation"].Content != "one" {
			s.t.Errorf("/etc/last is %q, /etc/generation %q", after["etc/last"].Content, after["etc/generation"].Content)
		}
		if read := s.layersRead(traffic); len(read) > 0 {
			s.t.Errorf("layers %v of the base were read", read)
		}
	})
}

// rebuilt asks for a rebuild and returns its record.
func (s *scenario) rebuilt(config, token string) osbuild.Record {
	s.t.Helper()
	_, err := cluster.Kubectl(s.ctx, "annotate", "--overwrite", "machineconfigpool/"+worker, api.AnnotationRebuild+"="+token)
	s.must(err)
	var record osbuild.Record
	s.eventually("the image of "+config+" is rebuilt", func() error {
		record, err = cluster.Record(s.ctx, config)
		if err == nil && (record.RebuildToken != token || record.Outcome != osbuild.Succeeded) {
			err = fmt.Errorf("the record is %+v", record)
		}
		return err
	})
	return record
}

// layersRead are the layers of the base that were read from the registry.
func (s *scenario) layersRead(traffic live.Traffic) []string {
	s.t.Helper()
	read, err := traffic.BlobsRead()
	s.must(err)
	base, err := cluster.OpenImage(s.base)
	s.must(err)
	manifest, err := base.Manifest()
	s.must(err)
	var layers []string
	for _, layer := range manifest.Layers {
		if slices.Contains(read, layer.Digest.String()) {
			layers = append(layers, layer.Digest.String())
		}
	}
	return layers
}

// keptFiles are the files of the volume: where, what kind, whose, how large and how old. Of
// the file until, a later build changes the time.
func keptFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.Name() == "until" {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no owner", path)
		}
		files = append(files, fmt.Sprint(path, info.Mode(), owner.Uid, owner.Gid, info.Size(), info.ModTime()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
