package buildah

import (
	"context"
	"fmt"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

// HandOver lets buildah push to a registry of our own, which writes files.
func (b *Program) HandOver(ctx context.Context, image, dir string, present []handover.Layer) error {
	receiver, err := handover.Receive(dir, present)
	if err != nil {
		return err
	}
	defer receiver.Close()
	err = b.Run(ctx, func(string) {}, "push", "--tls-verify=false", "--format", "oci", image, "docker://"+receiver.Pullspec())
	if cause := receiver.Err(); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("handing the image over: %w", err)
	}
	return nil
}
