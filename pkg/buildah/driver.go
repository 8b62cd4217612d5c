package buildah

import (
	"context"
	"fmt"
	"os"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// Overlay is the driver that stacks layers, and reads those of other stores.
const Overlay = "overlay"

// drivers are the ways to keep layers, best first. vfs copies the whole file
// system for every layer, so it is for kernels that have nothing else.
func drivers() []Driver {
	list := []Driver{{Name: Overlay}}
	if _, err := os.Stat(fuseOverlay); err == nil {
		list = append(list, Driver{Name: Overlay, Options: []string{"overlay.mount_program=" + fuseOverlay}})
	}
	return append(list, Driver{Name: "vfs"})
}

// String names it in the log.
func (d Driver) String() string {
	if len(d.Options) > 0 {
		return d.Name + " by " + fuseOverlay
	}
	return d.Name
}

// ChooseDriver tries the drivers in order on the real store, and says in the log
// why one was passed over.
func ChooseDriver(ctx context.Context, storageDir string, progress *steplog.Progress) (Driver, error) {
	var last error
	for _, driver := range drivers() {
		program, err := New(storageDir, driver)
		if err != nil {
			return Driver{}, err
		}
		err = program.Run(ctx, func(string) {}, "images", "--quiet")
		program.Close()
		if err == nil {
			return driver, nil
		}
		if ctx.Err() != nil {
			return Driver{}, err
		}
		progress.Note("warning: storage driver %s does not work here: %v", driver, err)
		last = err
	}
	return Driver{}, fmt.Errorf("finding a storage driver: %w", last)
}
