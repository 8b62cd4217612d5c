package leftover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

// Kill ends the cluster's remaining processes: first its containers, that is, whatever is in its control group, then its programs,
// which get grace to end by themselves.
func Kill(work, cgroup string, grace time.Duration) error {
	groups, err := Cgroups(cgroup)
	if err != nil {
		return err
	}
	// A container may start processes while it is being ended, hence more than one round.
	for round := 0; ; round++ {
		inside := members(groups)
		if len(inside) == 0 {
			break
		}
		if round == 10 {
			return errors.New("ending the cluster's containers: they start processes faster than these can be ended")
		}
		if err := process.Terminate(inside, 0); err != nil {
			return fmt.Errorf("ending the cluster's containers: %w", err)
		}
	}
	all, err := process.List()
	if err != nil {
		return err
	}
	if err := process.Terminate(Processes(all, work), grace); err != nil {
		return fmt.Errorf("ending the cluster's programs: %w", err)
	}
	return nil
}

// Unmount removes every mount below the work directory. A mount that is in use is detached.
func Unmount(work string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var failed []error
	for _, point := range Mounts(string(b), work) {
		err := syscall.Unmount(point, 0)
		if errors.Is(err, syscall.EBUSY) {
			err = syscall.Unmount(point, syscall.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			failed = append(failed, fmt.Errorf("unmounting %s: %w", point, err))
		}
	}
	return errors.Join(failed...)
}

// Files removes what lies outside the work directory and points into it: the sockets of containerd's shims, whose paths the
// shims note below state, and the links that the kubelet makes in /var/log/containers. To be called before the work directory
// is removed.
func Files(work, state string) error {
	notes, err := filepath.Glob(filepath.Join(state, "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return err
	}
	for _, note := range notes {
		b, err := os.ReadFile(note)
		if err != nil {
			continue
		}
		socket := strings.TrimPrefix(strings.TrimSpace(string(b)), "unix://")
		if err := removeBelow(socket, "/run/containerd/s"); err != nil {
			return err
		}
	}
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return err
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && below(to, work) {
			if err := removeBelow(l, "/var/log/containers"); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeBelow(path, dir string) error {
	if path == dir || !below(filepath.Clean(path), dir) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
