package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// anywhere asks the mirrors of an image in their order, then the place that its
// name says, until one answers. It fails with what the last one said.
func (c *Client) anywhere(ctx context.Context, op, pullspec string, ask func(registriesconf.Source, *remote.Puller) error) error {
	if c.mirrors.IsZero() {
		return ask(registriesconf.Source{Pullspec: pullspec}, c.puller)
	}
	sources, err := c.mirrors.Sources(pullspec)
	if err != nil {
		return &Error{Class: ErrInvalidReference, Op: op, Reference: pullspec, Detail: err.Error(), cause: err}
	}
	var mirrors []string
	for i, source := range sources {
		puller := c.glance
		if i == len(sources)-1 {
			puller = c.puller
		}
		if source.Blocked {
			err = &Error{Class: ErrBlocked, Op: op, Reference: source.Pullspec, Detail: "the configuration of mirrors says not to ask it"}
		} else if err = ask(source, puller); err == nil {
			return nil
		}
		if errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return err
		}
		if source.Mirror {
			mirrors = append(mirrors, err.Error())
		}
	}
	if len(mirrors) > 0 {
		err = fmt.Errorf("%w; before that, from its mirrors: %s", err, strings.Join(mirrors, "; "))
	}
	return err
}
