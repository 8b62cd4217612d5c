package leftover

import (
	"slices"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

const mountinfo = `21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
23 21 0:21 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
24 21 0:22 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
30 21 0:40 / /w/containerd/state/io.containerd.grpc.v1.cri/sandboxes/a/shm rw - tmpfs shm rw
31 21 0:41 / /w/containerd/state/io.containerd.runtime.v2.task/k8s.io/a/rootfs rw - overlay overlay rw
32 21 0:42 / /w/kubelet/pods/a\040b/volumes rw - tmpfs tmpfs rw
33 21 0:43 / /w2/kubelet rw - tmpfs tmpfs rw
34 21 0:44 / /mnt/w/x rw - tmpfs tmpfs rw
`

func TestMounts(t *testing.T) {
	got := Mounts(mountinfo, "/w")
	want := []string{
		"/w/kubelet/pods/a b/volumes",
		"/w/containerd/state/io.containerd.runtime.v2.task/k8s.io/a/rootfs",
		"/w/containerd/state/io.containerd.grpc.v1.cri/sandboxes/a/shm",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Mounts(mountinfo, "/elsewhere"); got != nil {
		t.Errorf("another directory: got %q", got)
	}
}

func TestHierarchies(t *testing.T) {
	v1, v2 := Hierarchies(mountinfo)
	if !slices.Equal(v1, []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"}) || !slices.Equal(v2, []string{"/sys/fs/cgroup/unified"}) {
		t.Errorf("got %q, %q", v1, v2)
	}
}

func TestProcesses(t *testing.T) {
	rows := []struct {
		name string
		argv []string
		own  bool
	}{
		{"daemon with flag", []string{"/cache/bin/k/kubelet", "--config=/w/kubelet.yaml"}, true},
		{"daemon with argument", []string{"/usr/bin/containerd", "--config", "/w/containerd.toml"}, true},
		{"shim", []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", "/w/containerd.sock"}, true},
		{"the machine's own containerd", []string{"/usr/bin/containerd"}, false},
		{"the machine's own shim", []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-address", "/run/containerd/containerd.sock"}, false},
		{"a cluster beside this one", []string{"/cache/bin/k/kubelet", "--config=/w2/kubelet.yaml"}, false},
		{"somebody reading a log", []string{"tail", "-f", "/w/logs/kubelet.log"}, false},
		{"an etcd of another test", []string{"/cache/bin/k/etcd", "--data-dir=/tmp/x"}, false},
		{"kernel thread", nil, false},
	}
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := Processes([]process.Proc{{PID: 100 + i, Argv: r.argv}}, "/w")
			if (len(got) == 1) != r.own {
				t.Errorf("own: %v, want %v", len(got) == 1, r.own)
			}
		})
	}
}
