package retention

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

const (
	// askAgain is for how long a registry that forbade a deletion is not asked for
	// another one: its rights are not watched.
	askAgain = time.Hour
	// hope is for how long images of such a registry stay in their records. Whoever
	// reads the warning has that long to grant the right.
	hope = 24 * time.Hour
)

// refusals are the repositories whose registries forbade the last deletion, which was
// told, and until when that is taken as their word.
type refusals map[string]time.Time

// doubtAfter makes what was refused be asked for anew when settings have changed: the
// login may be another one.
func (c *Controller) doubtAfter(settings buildconfig.Settings) {
	if reflect.DeepEqual(c.settings, settings) {
		return
	}
	c.settings = settings
	for repository := range c.refusals {
		c.refusals[repository] = time.Time{}
	}
	for _, held := range c.holds {
		held.doubt()
	}
}

// keepOrForget holds an image that its registry does not let be deleted, and in the end
// takes it out of its record: those of a registry that never allows it would pile up.
func (c *Controller) keepOrForget(ctx context.Context, pool string, image retention.Image, now time.Time) error {
	if c.hold(pool).refused(image.Pullspec, now, c.refusals[image.Repository()]) < hope {
		return nil
	}
	return c.gone(ctx, pool, image)
}

// delete deletes an image; its error may go into events and logs. A registry may quote
// what it was asked with.
func (c *Controller) delete(ctx context.Context, image string, a kube.RegistryAccess) error {
	err := c.Delete(ctx, image, a)
	if err == nil {
		return nil
	}
	return &redactedError{redact.New(a.Secrets()...).Text(err.Error()), err}
}

// redactedError is of the classes of another error, whose text it hides.
type redactedError struct {
	text   string
	hidden error
}

func (e *redactedError) Error() string { return e.text }

// Is implements errors.Is; nothing unwraps to the text.
func (e *redactedError) Is(class error) bool { return errors.Is(e.hidden, class) }
