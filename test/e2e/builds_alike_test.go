//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// alikeConfig asks for what is easily made in one way by a builder of containers and in
// another by us: files that builders mount over, owners, modes, links, directories that
// the base has already, and units of the base that it takes away.
const alikeConfig = `{"ignition":{"version":"3.4.0"},
"storage":{
 "directories":[{"path":"/etc/agent","mode":448,"user":{"id":33},"group":{"id":33}}],
 "files":[
  {"path":"/etc/hosts","mode":420,"overwrite":true,"contents":{"source":"data:,127.0.0.1%20of-the-config%0A"}},
  {"path":"/etc/resolv.conf","mode":420,"overwrite":true,"contents":{"source":"data:,nameserver%20192.0.2.1%0A"}},
  {"path":"/etc/hostname","mode":420,"overwrite":true,"contents":{"source":"data:,of-the-config%0A"}},
  {"path":"/etc/agent/token","mode":384,"user":{"id":33},"group":{"id":8},"contents":{"source":"data:,theirs"}},
  {"path":"/usr/bin/agent","mode":3565,"contents":{"source":"data:,%23!/bin/sh%0A"}},
  {"path":"/etc/private/inner/key","mode":416,"contents":{"source":"data:,key"}},
  {"path":"/etc/agent/a%20name","mode":420,"contents":{"source":"data:,spaced"}}],
 "links":[{"path":"/etc/agent/latest","target":"token"}]},
"systemd":{"units":[
  {"name":"old.service","enabled":false},
  {"name":"masked.service","mask":true},
  {"name":"new.service","enabled":true,"contents":"[Service]\nExecStart=/usr/bin/agent\n[Install]\nWantedBy=multi-user.target\n"}]}}`

// oldUnit is where the base enables a unit that alikeConfig disables.
const oldUnit = "etc/systemd/system/multi-user.target.wants/old.service"

// withUnits is an image with units, and directories with owners and modes of their own.
func withUnits(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	unit := "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "etc/private/", Mode: 0o700, Uid: 33, Gid: 33},
		{Typeflag: tar.TypeDir, Name: "etc/private/inner/", Mode: 0o1770, Uid: 33, Gid: 8},
		{Typeflag: tar.TypeDir, Name: "etc/systemd/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "etc/systemd/system/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "etc/systemd/system/multi-user.target.wants/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "etc/systemd/system/old.service", Mode: 0o644, Size: int64(len(unit))},
		{Typeflag: tar.TypeReg, Name: "etc/systemd/system/masked.service", Mode: 0o644, Size: int64(len(unit))},
		{Typeflag: tar.TypeSymlink, Name: oldUnit, Linkname: "/etc/systemd/system/old.service", Mode: 0o777},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, unit); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }
	kind := must(must(image.Layers())(t)[0].MediaType())(t)
	return must(mutate.AppendLayers(image, must(tarball.LayerFromOpener(open, tarball.WithMediaType(kind)))(t)))(t)
}

// alikeSteps fails where a step does not see what the config took away.
const alikeSteps = `FROM configs AS final
RUN set -e; cd /etc/systemd/system/multi-user.target.wants; ls -la; test ! -L old.service; test ! -e .wh.old.service; test -L new.service; stat -c '%a %u %g' /etc/private /etc/private/inner /etc/agent > /etc/seen
`

// TestS10SameImageOfBuildAndPod: who builds shows in nothing that nodes boot.
func TestS10SameImageOfBuildAndPod(t *testing.T) {
	s := newBuildsScenario(t)
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	base := cluster.Registry + "/e2e/bases:units"
	s.must(cluster.PushImage(base, withUnits(t, plain)))
	s.baseImage(base)
	pools := map[string]string{"alike": "", "alike-steps": alikeSteps}
	images := map[string]map[string]live.Image{}
	for _, builder := range []string{api.BuilderOpenShift, api.BuilderCustomPod} {
		repository := cluster.Registry + "/e2e/of-" + builder
		s.configure(map[string]string{api.KeyImageBuilderType: builder, api.KeyFinalImagePullspec: repository, api.KeyMaxConcurrentBuilds: "2"})
		images[builder] = map[string]live.Image{}
		for pool := range pools {
			if builder == api.BuilderOpenShift {
				s.dockerfiles(pools)
				s.must(cluster.SetMachineConfig(s.ctx, &mcfgv1.MachineConfig{
					ObjectMeta: metav1.ObjectMeta{Name: configOf(pool)},
					Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: []byte(alikeConfig)}},
				}))
				s.must(cluster.AddPool(s.ctx, pool, configOf(pool)))
				s.must(cluster.OptIn(s.ctx, pool))
			}
		}
		for pool := range pools {
			images[builder][pool] = s.builtIn(pool, repository)
		}
	}
	for pool := range pools {
		s.prove(pool, func(s *scenario) {
			byBuild, byPod := images[api.BuilderOpenShift][pool], images[api.BuilderCustomPod][pool]
			if labels := must(byBuild.Labels())(s.t); labels["io.openshift.build.name"] == "" {
				s.t.Errorf("no Build made it: labels %v", labels)
			}
			s.alike(byBuild, byPod)
			files := s.files(byPod)
			compareFiles(s.t, files, map[string]live.File{"etc/hosts": file(0o644, 0, "127.0.0.1 of-the-config\n")})
			if below := must(cluster.OpenImage(s.base))(s.t); !slices.Contains(must(byPod.RemovedFrom(below))(s.t), oldUnit) {
				s.t.Errorf("the pod's image still has %s", oldUnit)
			}
		})
	}
}

// builtIn is builtFor, of an image in a repository.
func (s *scenario) builtIn(pool, repository string) live.Image {
	s.t.Helper()
	var image live.Image
	s.eventually("the image of "+pool+" is in "+repository, func() error {
		p, err := cluster.Pool(s.ctx, pool)
		if err != nil {
			return err
		}
		pullspec, err := live.Built(p, configOf(pool))
		if err == nil && !strings.HasPrefix(pullspec, repository+"@") {
			err = fmt.Errorf("it is %s", pullspec)
		}
		if err == nil {
			image, err = cluster.OpenImage(pullspec)
		}
		return err
	})
	return image
}

// alike compares what two images of one base have and take away. A directory that one
// of them only repeats has to be as it is in the base.
func (s *scenario) alike(one, other live.Image) {
	s.t.Helper()
	below := must(cluster.OpenImage(s.base))(s.t)
	whole := must(below.Files())(s.t)
	all, others := s.files(one), s.files(other)
	for path, f := range all {
		if _, found := others[path]; found {
			continue
		}
		was, found := whole[path]
		if !found || f.Typeflag != tar.TypeDir || was.Typeflag != tar.TypeDir || f.Mode&0o7777 != was.Mode&0o7777 || f.Uid != was.Uid || f.Gid != was.Gid {
			s.t.Errorf("/%s is only in %s: %+v; the base: %+v", path, one.Pullspec, f.Header, was.Header)
		}
	}
	want := map[string]live.File{}
	for path, f := range others {
		_, found := all[path]
		if was, below := whole[path]; found || f.Typeflag != tar.TypeDir || !below || was.Typeflag != tar.TypeDir {
			f.Mode &= 0o7777
			want[path] = f
		}
	}
	compareFiles(s.t, all, want)
	if a, b := must(one.RemovedFrom(below))(s.t), must(other.RemovedFrom(below))(s.t); !slices.Equal(a, b) {
		s.t.Errorf("removed are %q, and %q in the other", a, b)
	}
}
