package leftover

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

// below says whether a path is the directory or lies in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// unescape undoes the octal escapes of /proc/self/mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Mounts finds the mount points below the work directory in the text of /proc/self/mountinfo, the newest first: the order in
// which they can be unmounted.
func Mounts(mountinfo, work string) []string {
	var points []string
	for _, line := range strings.Split(mountinfo, "\n") {
		f := strings.Fields(line)
		const point = 4 // field 5 of proc(5)
		if len(f) <= point {
			continue
		}
		if p := unescape(f[point]); below(p, work) {
			points = append(points, p)
		}
	}
	slices.Reverse(points)
	return points
}

// Hierarchies finds the mounted control group hierarchies in the text of /proc/self/mountinfo: the mount points of version 1
// controllers, or the one of version 2 when there is no version 1.
func Hierarchies(mountinfo string) (v1, v2 []string) {
	for _, line := range strings.Split(mountinfo, "\n") {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 {
			continue
		}
		switch kind, _, _ := strings.Cut(after, " "); kind {
		case "cgroup":
			v1 = append(v1, unescape(f[4]))
		case "cgroup2":
			v2 = append(v2, unescape(f[4]))
		}
	}
	return v1, v2
}

// programs are the names under which a cluster's processes run.
var programs = []string{
	"containerd", "containerd-shim-runc-v2", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "registry",
}

// Processes picks the cluster's own: one of its programs, with an argument that names a path below the work directory. Everybody
// else who names such a path (an editor, a shell that follows a log) is left alone.
func Processes(all []process.Proc, work string) []process.Proc {
	var own []process.Proc
	for _, p := range all {
		if len(p.Argv) == 0 || !slices.Contains(programs, filepath.Base(p.Argv[0])) {
			continue
		}
		for _, arg := range p.Argv[1:] {
			if _, value, ok := strings.Cut(arg, "="); ok {
				arg = value
			}
			if below(arg, work) {
				own = append(own, p)
				break
			}
		}
	}
	return own
}
