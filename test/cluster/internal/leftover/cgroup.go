package leftover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

// roots are the cluster's control groups, one in each hierarchy, whether they exist or not.
func roots(cgroup string) (v1, v2 []string, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	v1, v2 = Hierarchies(string(b))
	for _, list := range [][]string{v1, v2} {
		for i := range list {
			list[i] = filepath.Join(list[i], cgroup)
		}
	}
	return v1, v2, nil
}

// MakeCgroups makes the cluster's control group in every hierarchy, with the controllers that the kubelet wants.
func MakeCgroups(cgroup string) error {
	v1, v2, err := roots(cgroup)
	if err != nil {
		return err
	}
	for _, dir := range append(slices.Clone(v1), v2...) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// A new group of the cpuset controller is unusable until it has been given processors and memory nodes.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
			if err != nil || slices.Contains(v2, dir) {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
				return err
			}
		}
	}
	if len(v1) > 0 {
		return nil
	}
	for _, dir := range v2 {
		for _, parent := range []string{filepath.Dir(dir), dir} {
			for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} {
				// What the machine does not offer cannot be enabled; the kubelet says so if it matters.
				_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return nil
}

// Cgroups lists the cluster's control groups with all groups in them, the deepest first.
func Cgroups(cgroup string) ([]string, error) {
	v1, v2, err := roots(cgroup)
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, root := range append(v1, v2...) {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && e.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing control groups: %w", err)
		}
	}
	slices.Reverse(groups)
	return groups, nil
}

// members are the processes in any of the groups.
func members(groups []string) []process.Proc {
	var procs []process.Proc
	seen := map[int]bool{}
	for _, g := range groups {
		b, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil || seen[pid] {
				continue
			}
			seen[pid] = true
			if p, err := process.Read(pid); err == nil {
				procs = append(procs, p)
			}
		}
	}
	return procs
}

// RemoveCgroups removes the cluster's control groups. A group stays busy for a moment after its last process ended, so it is tried
// for up to two seconds.
func RemoveCgroups(cgroup string) error {
	groups, err := Cgroups(cgroup)
	if err != nil {
		return err
	}
	end := time.NewTimer(2 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(groups); {
		err := syscall.Rmdir(groups[i])
		if err == nil || errors.Is(err, syscall.ENOENT) {
			i++
			continue
		}
		select {
		case <-tick.C:
			if errors.Is(err, syscall.EBUSY) {
				continue
			}
		case <-end.C:
		}
		return fmt.Errorf("removing control group %s: %w", groups[i], err)
	}
	return nil
}
