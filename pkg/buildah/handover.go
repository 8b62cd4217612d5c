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
	return b.PushTo(ctx, receiver, image, receiver.Pullspec())
}

// PushTo pushes an image of the store to a registry of our own.
func (b *Program) PushTo(ctx context.Context, receiver *handover.Receiver, image, to string) error {
	err := b.Run(ctx, func(string) {}, "push", "--tls-verify=false", "--format", "oci", image, "docker://"+to)
	if cause := receiver.Err(); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("handing the image over: %w", err)
	}
	return nil
}
