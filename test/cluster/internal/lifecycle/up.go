package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/component"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/debpkg"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/leftover"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/network"
)

// Up makes sure that a cluster runs and is ready. One that runs, whole and of the same inputs, is left as it is; anything else in
// the work directory is removed first.
func (c Cluster) Up(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	key, err := c.key()
	if err != nil {
		return err
	}
	state, err := c.Load()
	if err == nil && state.Key == key {
		if err = c.nodeReady(ctx); err == nil {
			fmt.Fprintln(c.Progress, "the cluster is up")
			return nil
		}
	}
	if err == nil {
		err = errors.New("it was made of other inputs")
	}
	if _, statErr := os.Stat(c.Dirs.Work); statErr == nil {
		fmt.Fprintf(c.Progress, "removing the old cluster: %v\n", err)
	}
	if err := debpkg.Ensure(ctx, c.Progress, debpkg.Cluster); err != nil {
		return err
	}
	// Images are mostly waited for on the network, programs on the processor: side by side.
	images := async(func() (layouts, error) { return c.baseLayouts(ctx) })
	bin, err := c.Binaries.Ensure(ctx)
	if err != nil {
		return err
	}
	bases, err := images()
	if err != nil {
		return err
	}
	if err := c.clean(ctx); err != nil {
		return err
	}
	return c.start(ctx, State{Key: key, Bin: bin}, bases)
}

// key is the hash of the programs' versions and of everything that they are started with.
func (c Cluster) key() (string, error) {
	programs, err := c.Binaries.Key()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, programs)
	daemons := component.Daemons(c.Dirs, "")
	for _, name := range component.Order() {
		fmt.Fprintln(h, daemons[name].Path, daemons[name].Args)
	}
	files := c.files()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintln(h, name, files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// start brings up a cluster where nothing is left of an earlier one.
func (c Cluster) start(ctx context.Context, state State, bases layouts) error {
	begin := time.Now()
	step := func(what string) {
		fmt.Fprintf(c.Progress, "%5.1fs %s\n", time.Since(begin).Seconds(), what)
	}
	var err error
	if state.User, state.Password, err = c.prepare(ctx); err != nil {
		return err
	}
	daemons := component.Daemons(c.Dirs, state.Bin)
	run := func(names ...string) error {
		for _, name := range names {
			if err := c.daemons().Start(daemons[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(component.Etcd, component.Containerd, component.Registry, component.AuthRegistry, component.APIServer); err != nil {
		return err
	}
	pushed := async(func() (struct{}, error) { return struct{}{}, c.pushBases(ctx, state, bases) })
	if err := c.loadPause(ctx, state); err != nil {
		return err
	}
	step("containerd is ready")
	if err := c.waitFor(ctx, "the API server", time.Minute, c.apiReady, component.Etcd, component.APIServer); err != nil {
		return err
	}
	step("API server is ready")
	if err := run(component.ControllerManager, component.Scheduler, component.Kubelet); err != nil {
		return err
	}
	if _, err := pushed(); err != nil {
		return err
	}
	step("registries hold the base images")
	if err := c.waitFor(ctx, "the node", 2*time.Minute, c.nodeReady, component.Order()...); err != nil {
		return err
	}
	step("node is ready")
	return c.save(state)
}

// prepare makes what the daemons need before they start: network, control groups, certificates and files.
func (c Cluster) prepare(ctx context.Context) (user, password string, err error) {
	if err := os.MkdirAll(c.Dirs.Work, 0o755); err != nil {
		return "", "", err
	}
	if err := (network.Net{Dirs: c.Dirs}).Setup(ctx); err != nil {
		return "", "", err
	}
	if err := leftover.MakeCgroups(c.Dirs.Cgroup()); err != nil {
		return "", "", fmt.Errorf("making control groups: %w", err)
	}
	if err := c.spreadPods(ctx); err != nil {
		return "", "", err
	}
	if err := c.writeFiles(); err != nil {
		return "", "", err
	}
	return c.writeSecrets(time.Now())
}

// async runs a function beside the caller and gives a function that waits for its result.
func async[T any](f func() (T, error)) func() (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	return func() (T, error) {
		r := <-done
		return r.value, r.err
	}
}
