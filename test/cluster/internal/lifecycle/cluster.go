package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/binaries"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/component"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/image"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/leftover"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/network"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

// Cluster is the one cluster of a work directory.
type Cluster struct {
	Dirs     layout.Dirs
	Binaries binaries.Cache
	Progress io.Writer
}

// State is what is remembered of a running cluster.
type State struct {
	// Key is the hash of all inputs that the cluster was started from.
	Key string `json:"key"`
	// Bin is the directory of the programs.
	Bin string `json:"bin"`
	// User and Password open the second registry.
	User     string `json:"user"`
	Password string `json:"password"`
	// ControllerImage, BuilderImage and GitImage are the product's images on the node, once they were loaded.
	ControllerImage string `json:"controllerImage,omitempty"`
	BuilderImage    string `json:"builderImage,omitempty"`
	GitImage        string `json:"gitImage,omitempty"`
}

// ErrDown says that no cluster runs.
var ErrDown = errors.New("the cluster is not up")

func (c Cluster) daemons() process.Set {
	return process.Set{Dir: c.Dirs.Path("run"), LogDir: c.Dirs.Path("logs")}
}

func (c Cluster) images() image.Maker {
	return image.Maker{Dirs: c.Dirs, Progress: c.Progress}
}

func (c Cluster) statePath() string { return c.Dirs.Path("state.json") }

// Load reads the state of a cluster that is up. It gives ErrDown when there is none, or when one of its daemons does not run.
func (c Cluster) Load() (State, error) {
	b, err := os.ReadFile(c.statePath())
	if errors.Is(err, os.ErrNotExist) {
		return State{}, ErrDown
	}
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("reading %s: %w", c.statePath(), err)
	}
	for _, name := range component.Order() {
		if _, ok := c.daemons().Alive(name); !ok {
			return State{}, fmt.Errorf("%w: %s does not run", ErrDown, name)
		}
	}
	return s, nil
}

func (c Cluster) save(s State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := c.statePath() + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.statePath())
}

// lock keeps two commands from changing the cluster at the same time; it waits for the other one.
func (c Cluster) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.Dirs.Work), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.Dirs.Work+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// errNotRoot says that a command needs root.
var errNotRoot = errors.New("a cluster needs root: network interfaces, mounts and control groups (run the command through sudo -E)")

// Down stops the cluster and removes everything of it: processes, mounts, network, control groups and the work directory. Caches
// stay. A cluster that is not there is no error.
func (c Cluster) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = c.clean(ctx)
	if errors.Is(err, network.ErrForeign) {
		return nil
	}
	return err
}

// clean removes whatever is left of a cluster in this work directory, running or dead.
func (c Cluster) clean(ctx context.Context) error {
	if err := os.Remove(c.statePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// The kubelet first, else it would start again what is stopped below; then the rest of the recorded daemons in reverse.
	order := component.Order()
	for i := len(order) - 1; i >= 0; i-- {
		if order[i] == component.Containerd {
			continue // needed until its containers are gone
		}
		if err := c.daemons().Stop(order[i], stopGrace); err != nil {
			return err
		}
	}
	if err := leftover.Kill(c.Dirs.Work, c.Dirs.Cgroup(), stopGrace); err != nil {
		return err
	}
	if err := leftover.Unmount(c.Dirs.Work); err != nil {
		return err
	}
	if err := leftover.RemoveCgroups(c.Dirs.Cgroup()); err != nil {
		return err
	}
	netErr := (network.Net{Dirs: c.Dirs}).Teardown(ctx)
	if netErr != nil && !errors.Is(netErr, network.ErrForeign) {
		return netErr
	}
	if err := leftover.Files(c.Dirs.Work, c.Dirs.Path("containerd", "state")); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Dirs.Work); err != nil {
		return fmt.Errorf("removing work directory: %w", err)
	}
	return netErr
}

// stopGrace is how long a daemon may take to end by itself.
const stopGrace = 5 * time.Second
