package retention

import (
	"context"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// sync does one round for one pool.
func (c *Controller) sync(ctx context.Context, name string) (time.Duration, error) {
	d, deleting := c.deletions.of(name)
	if deleting && !d.done {
		// Nothing of the pool changes under a request that nobody can take back.
		return 0, nil
	}
	l, err := c.look(ctx, name, false)
	if l == nil || err != nil {
		return 0, c.leave(name, err)
	}
	if deleting {
		if err := c.ended(ctx, l, d); err != nil {
			return 0, err
		}
		c.deletions.forget(name)
		l.images.NotBefore = c.holds[name].times()
	}
	next := l.plan(c.Grace)
	if err := c.mark(ctx, next.Unmark, time.Time{}); err != nil || !next.Removes() {
		return next.Again, err
	}
	// What is gone does not come back: decide again from a live read.
	live, err := c.look(ctx, name, true)
	if live == nil || err != nil {
		return 0, c.leave(name, err)
	}
	sure := live.plan(c.Grace)
	for _, i := range sure.Named {
		c.hold(name).named(i.Pullspec, live.now)
	}
	after, err := c.apply(ctx, live, sure)
	if after > 0 && (sure.Again == 0 || sure.Again > after) {
		return after, err
	}
	return sure.Again, err
}

// leave drops what was remembered of a pool that has no images to think of.
func (c *Controller) leave(name string, err error) error {
	if err == nil {
		c.deletions.forget(name)
		delete(c.holds, name)
	}
	return err
}

func (c *Controller) hold(pool string) holds {
	if c.holds[pool] == nil {
		c.holds[pool] = holds{}
	}
	return c.holds[pool]
}

// apply carries out what was decided from a live read, and returns when to look
// again at what it left; 0 for not by itself.
func (c *Controller) apply(ctx context.Context, l *look, s retention.Steps) (time.Duration, error) {
	if err := errors.Join(c.mark(ctx, s.Unmark, time.Time{}), c.mark(ctx, s.Mark, l.now)); err != nil {
		return 0, err
	}
	for _, config := range s.Drop {
		if err := c.drop(ctx, config); err != nil {
			return 0, err
		}
	}
	return c.deleteOne(ctx, l, s.Delete)
}

// deleteOne begins the deletion of the first image whose registry may allow it; the
// end of that wakes the pool for the next.
func (c *Controller) deleteOne(ctx context.Context, l *look, images []retention.Image) (time.Duration, error) {
	var after time.Duration
	for _, image := range images {
		if forbidden := c.refusals[image.Repository()].Sub(l.now); forbidden > 0 {
			if err := c.keepOrForget(ctx, l.pool.Name, image, l.now); err != nil {
				return 0, err
			}
			after = forbidden
			continue
		}
		if !c.request(ctx, l, image) {
			after = deletionPoll
		}
		break
	}
	return after, nil
}

// request begins the deletion of an image; it returns false when there is no room.
func (c *Controller) request(ctx context.Context, l *look, image retention.Image) bool {
	return c.deletions.start(ctx, l.pool.Name, image, func(ctx context.Context) error {
		klog.FromContext(ctx).Info("Deleting image", "image", image.Pullspec, "config", image.RenderedConfig)
		err := c.deleteImage(ctx, l, image)
		c.Metrics.Ended(became(err))
		return err
	})
}

func (c *Controller) deleteImage(ctx context.Context, l *look, image retention.Image) error {
	a, problems, err := kube.ReadRegistryAccess(ctx, c.Clients, c.Namespace, l.settings)
	if err == nil && len(problems) > 0 {
		err = errors.New(problems.String())
	}
	if err != nil {
		return err
	}
	// What steps left goes first, and its index before it: the record that names it
	// goes with the image.
	for _, kept := range keptSteps(image) {
		if err := c.delete(ctx, kept, a); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return c.deleteAll(ctx, image, a)
}

// deleteAll deletes an image, and then those that it was an index of, in that
// order: some registries keep what an index still names. What was deleted by a
// try before this one is no failure.
func (c *Controller) deleteAll(ctx context.Context, image retention.Image, a kube.RegistryAccess) error {
	err := c.delete(ctx, image.Pullspec, a)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	for _, digest := range image.Members {
		if err := c.delete(ctx, image.Repository()+"@"+digest, a); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return err
}

// keptSteps are what is kept of the steps that an image was made of, if it goes too.
func keptSteps(image retention.Image) []string {
	if image.Steps == "" {
		return nil
	}
	repository, digest, _ := strings.Cut(image.Steps, "@")
	if tag, err := names.IndexTag(digest); err == nil {
		return []string{repository + ":" + tag, image.Steps}
	}
	return []string{image.Steps}
}

// became tells the metrics how a deletion ended.
func became(err error) metrics.Deletion {
	switch {
	case err == nil:
		return metrics.Deleted
	case errors.Is(err, registry.ErrNotFound):
		return metrics.AlreadyGone
	case errors.Is(err, registry.ErrUnsupported), errors.Is(err, registry.ErrDenied):
		return metrics.Forbidden
	default:
		return metrics.NotDeleted
	}
}

// deleteOnce deletes what a tag or digest names, by digest. It leaves repeating to
// whoever asks again.
func deleteOnce(ctx context.Context, image string, a kube.RegistryAccess) error {
	client, err := registry.NewClient(registry.Options{Credentials: a.Credentials, CAs: a.Authorities, Proxy: a.Proxy, Retry: registry.Retry{Tries: 1}})
	if err != nil {
		return err
	}
	defer client.Close()
	if repository, _, byDigest := strings.Cut(image, "@"); !byDigest {
		digest, err := client.Resolve(ctx, image)
		if err != nil {
			return err
		}
		image = repository[:strings.LastIndexByte(repository, ':')] + "@" + digest
	}
	return client.Delete(ctx, image)
}

// ended takes up the result of a deletion.
func (c *Controller) ended(ctx context.Context, l *look, d deletion) error {
	log := klog.FromContext(ctx).WithValues("image", d.image.Pullspec)
	repository := d.image.Repository()
	switch {
	case d.err == nil:
		log.Info("Deleted image")
		delete(c.refusals, repository)
	case errors.Is(d.err, registry.ErrNotFound):
		log.Info("Image was gone already")
	case errors.Is(d.err, registry.ErrUnsupported), errors.Is(d.err, registry.ErrDenied):
		log.Info("The registry forbids deletions; images stay there", "cause", d.err.Error())
		if _, told := c.refusals[repository]; !told {
			c.Recorder.Eventf(l.pool, corev1.EventTypeWarning, api.EventDeletionForbidden,
				"old images of %s stay in the registry, which forbids their deletion: %v; let the login of %s delete, or remove old images by the registry's own means",
				repository, d.err, api.KeyFinalImagePushSecretName)
		}
		c.refusals[repository] = l.now.Add(askAgain)
		return c.keepOrForget(ctx, l.pool.Name, d.image, l.now)
	default:
		log.Error(d.err, "Image was not deleted, it will be tried again")
		c.hold(l.pool.Name).failed(d.image.Pullspec, l.now)
		return nil
	}
	return c.gone(ctx, l.pool.Name, d.image)
}
