package imagebuilder

import (
	"context"
	"fmt"
	"os"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// drivers are the ways to keep layers, best first. vfs copies the whole file
// system for every layer, so it is for kernels that have nothing else.
func drivers() []storageDriver {
	list := []storageDriver{{Name: "overlay"}}
	if _, err := os.Stat(fuseOverlay); err == nil {
		list = append(list, storageDriver{Name: "overlay", Options: []string{"overlay.mount_program=" + fuseOverlay}})
	}
	return append(list, storageDriver{Name: "vfs"})
}

func (d storageDriver) String() string {
	if len(d.Options) > 0 {
		return d.Name + " by " + fuseOverlay
	}
	return d.Name
}

// chooseDriver tries the drivers in order on the real store, and says in the log
// why one was passed over.
func chooseDriver(ctx context.Context, storageDir string, progress *Progress) (storageDriver, error) {
	var last error
	for _, driver := range drivers() {
		program, err := newBuildah(storageDir, driver)
		if err != nil {
			return storageDriver{}, fail(api.ReasonBuildFailed, err)
		}
		err = program.run(ctx, func(string) {}, "images", "--quiet")
		program.close()
		if err == nil {
			return driver, nil
		}
		if ctx.Err() != nil {
			return storageDriver{}, err
		}
		progress.Note("warning: storage driver %s does not work here: %v", driver, err)
		last = err
	}
	return storageDriver{}, fail(api.ReasonBuildFailed, fmt.Errorf("finding a storage driver: %w", last))
}
