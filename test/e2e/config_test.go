//go:build e2e

package e2e

import (
	"archive/tar"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

func TestOptedInPoolGetsAnImageThatHoldsItsMachineConfig(t *testing.T) {
	s := newScenario(t)
	s.baseImage(cluster.BaseImage)
	config, err := cluster.ExampleConfig()
	s.must(err)
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	image := s.built(config.Name)

	s.prove("files, owners, links and units are in the image", func(s *scenario) {
		compareFiles(s.t, s.files(image), exampleFiles)
	})
	s.prove("the MachineConfig itself is in the image", func(s *scenario) {
		var inside mcfgv1.MachineConfig
		s.must(json.Unmarshal([]byte(s.files(image)["etc/machine-config-daemon/currentconfig"].Content), &inside))
		if inside.Name != config.Name {
			s.t.Errorf("currentconfig is %q, not %q", inside.Name, config.Name)
		}
	})
	s.prove("labels and annotations tell where the image comes from", func(s *scenario) {
		s.checkOrigin(image, config.Name)
	})
	s.prove("build objects are gone, the record stays", func(s *scenario) {
		s.onlyLeft("configmap/digest-" + config.Name)
		record := s.record(config.Name)
		if record.Image != image.Pullspec || record.Attempts != 1 {
			s.t.Errorf("the record says %s after %d attempts, the pool names %s", record.Image, record.Attempts, image.Pullspec)
		}
	})
	s.prove("the build pod had no rights to lose", func(s *scenario) {
		pod, _ := s.builds.Last()
		checkNoToken(s.t, pod)
		meetsRestricted(s.t, pod)
	})
}

// exampleFiles is what the example MachineConfig puts into an image whose
// /usr/local is a link to /var/usrlocal and whose user core has the id 1000.
var exampleFiles = map[string]live.File{
	"etc/motd":                     file(0o644, 0, "This image was built for the pool worker.\n"),
	"etc/sysctl.d/90-inotify.conf": file(0o644, 0, "fs.inotify.max_user_watches = 65536\nfs.inotify.max_user_instances = 8192\n"),
	"etc/node-agent/token":         file(0o600, 1000, "not a secret\n"),
	"etc/node-agent/table":         file(0o644, 0, strings.Repeat("fine\n", 100)),
	"var/usrlocal/bin/node-agent":  file(0o755, 0, "#!/bin/sh\nexec sleep infinity\n"),
	"var/usrlocal/bin/agent":       link("node-agent"),
	"var/lib/agent":                {Header: &tar.Header{Typeflag: tar.TypeDir, Mode: 0o700, Uid: 1000, Gid: 1000}},
	"etc/systemd/system/node-agent.service": file(0o644, 0, `[Unit]
Description=Node agent
After=network-online.target

[Service]
ExecStart=/usr/local/bin/node-agent
Restart=always

[Install]
WantedBy=multi-user.target
`),
	"etc/systemd/system/multi-user.target.wants/node-agent.service": link("/etc/systemd/system/node-agent.service"),
	"etc/systemd/system/ssh.service.d/10-restart.conf":              file(0o644, 0, "[Service]\nRestartSec=5\n"),
	"etc/systemd/system/apt-daily.timer":                            link("/dev/null"),
}

func file(mode int64, owner int, content string) live.File {
	return live.File{Header: &tar.Header{Typeflag: tar.TypeReg, Mode: mode, Uid: owner, Gid: owner}, Content: content}
}

func link(target string) live.File {
	return live.File{Header: &tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func compareFiles(t *testing.T, have, want map[string]live.File) {
	t.Helper()
	for path, w := range want {
		h, ok := have[path]
		if !ok {
			t.Errorf("/%s is not in the image", path)
			continue
		}
		if h.Typeflag != w.Typeflag || h.Mode&0o7777 != w.Mode || h.Uid != w.Uid || h.Gid != w.Gid || h.Linkname != w.Linkname || h.Content != w.Content {
			t.Errorf("/%s is type %c, mode %o, owner %d:%d, link to %q, holding %q\nwant type %c, mode %o, owner %d:%d, link to %q, holding %q", path,
				h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, h.Content, w.Typeflag, w.Mode, w.Uid, w.Gid, w.Linkname, w.Content)
		}
	}
}

// checkOrigin compares an image's labels and annotations with the contract.
func (s *scenario) checkOrigin(image live.Image, config string) {
	s.t.Helper()
	labels, err := image.Labels()
	s.must(err)
	base, err := cluster.OpenImage(s.base)
	s.must(err)
	digest, err := base.Digest()
	s.must(err)
	manifest, err := image.Manifest()
	s.must(err)
	for _, check := range []struct{ what, have, want string }{
		{"label machineconfig", labels["machineconfig"], config},
		{"label machineconfigpool", labels["machineconfigpool"], worker},
		{"label releaseversion", labels["releaseversion"], release},
		{"label baseOSContainerImage", labels["baseOSContainerImage"], s.base},
		{"label machineosbuilder.io/inputs-hash", labels["machineosbuilder.io/inputs-hash"], s.record(config).InputsHash},
		{"annotation org.opencontainers.image.base.name", manifest.Annotations["org.opencontainers.image.base.name"], s.base},
		{"annotation org.opencontainers.image.base.digest", manifest.Annotations["org.opencontainers.image.base.digest"], digest.String()},
	} {
		if check.have != check.want {
			s.t.Errorf("%s is %q, want %q", check.what, check.have, check.want)
		}
	}
}

func checkNoToken(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if mount := pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		t.Error("the build pod asks for a ServiceAccount token")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken != nil {
				t.Errorf("volume %q holds a ServiceAccount token", v.Name)
			}
		}
	}
}

// meetsRestricted asks the API server: it checks the pod of a namespace that
// enforces the level restricted.
func meetsRestricted(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := cluster.AdmitRestricted(t.Context(), pod); err != nil {
		t.Errorf("the build pod does not meet the restricted level: %v", err)
	}
}

func TestNextConfigIsBuiltWithoutPullingTheBase(t *testing.T) {
	s := newScenario(t)
	s.baseImage(cluster.BaseImage)
	first, second := live.FileConfig("rendered-worker-first", "/etc/generation", "1"), live.FileConfig("rendered-worker-second", "/etc/generation", "2")
	s.must(cluster.SetMachineConfig(s.ctx, second))
	s.addWorkers(first)
	s.must(cluster.OptIn(s.ctx, worker))
	s.built(first.Name)

	traffic, err := cluster.WatchRegistry()
	s.must(err)
	s.must(cluster.Target(s.ctx, worker, second.Name))
	image := s.built(second.Name)

	read, err := traffic.BlobsRead()
	s.must(err)
	base, err := cluster.OpenImage(cluster.BaseImage)
	s.must(err)
	manifest, err := base.Manifest()
	s.must(err)
	for _, layer := range manifest.Layers {
		if slices.Contains(read, layer.Digest.String()) {
			t.Errorf("layer %s of the base image was pulled", layer.Digest)
		}
	}
	if got := s.files(image)["etc/generation"].Content; got != "2" {
		t.Errorf("/etc/generation holds %q", got)
	}
	layers, err := image.LayersAbove(base)
	s.must(err)
	if len(layers) != 1 {
		t.Errorf("the image has %d layers above its base, want the config layer alone", len(layers))
	}
	pod, _ := s.builds.Last()
	result := live.Results(pod)[api.ContainerBuild]
	if moved := result.BytesPulled + result.BytesPushed; moved > 1<<20 {
		t.Errorf("the builder moved %d bytes", moved)
	}
}

func TestRealWorkerConfigsAreRenderedAndBuilt(t *testing.T) {
	configs, err := cluster.RealConfigs()
	if err != nil {
		t.Fatal(err)
	}
	if configs == nil {
		t.Skip("MOB_TEST_DATA does not name a folder with aws-worker-machineconfigs.json")
	}
	s := newScenario(t)
	s.baseImage(cluster.BaseImage)
	for _, mc := range configs {
		s.must(cluster.SetMachineConfig(s.ctx, mc))
	}
	s.must(cluster.AddRenderedPool(s.ctx, worker))
	s.must(cluster.OptIn(s.ctx, worker))
	files := s.files(s.built(s.rendered("")))
	for path, mode := range map[string]int64{
		"var/usrlocal/bin/configure-ovs.sh":                             0o755,
		"etc/mco/internal-registry-pull-secret.json":                    0o600,
		"etc/systemd/system/kubelet.service.d/20-logging.conf":          0o644,
		"etc/systemd/system/multi-user.target.wants/kubelet.service":    0o777,
		"etc/NetworkManager/dispatcher.d/99-vsphere-disable-tx-udp-tnl": 0o744,
	} {
		if f, ok := files[path]; !ok || f.Mode&0o7777 != mode {
			t.Errorf("/%s: %+v, want mode %o", path, f.Header, mode)
		}
	}
}
