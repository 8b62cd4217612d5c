package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/workload"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// Dockerfile is the custom one with one RUN.
const Dockerfile = "FROM configs AS final\nRUN grep PRETTY_NAME /etc/os-release > /etc/built-on\n"

// Session is one run of the bench. Every config, pool and repository of it is
// new, so that no build finds an image that an earlier one made.
type Session struct {
	*live.Cluster
	// BaseBytes is the compressed size of the base image.
	BaseBytes int64

	id         string
	base       live.Image
	baseLayers []string
	syncs      func(context.Context) (float64, error)
	builds     uint64
}

// Begin installs the product and empties the cluster of pools. The id is part
// of all names.
func Begin(ctx context.Context, c *live.Cluster, id string) (*Session, error) {
	s := &Session{Cluster: c, id: id}
	s.syncs = s.deployedSyncs
	var err error
	if s.base, err = c.OpenImage(c.BaseImage); err != nil {
		return nil, err
	}
	manifest, err := s.base.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading the base image: %w", err)
	}
	for _, layer := range manifest.Layers {
		s.baseLayers = append(s.baseLayers, layer.Digest.String())
		s.BaseBytes += layer.Size
	}
	if err := c.Deploy(ctx); err != nil {
		return nil, err
	}
	if err := c.Reset(ctx); err != nil {
		return nil, err
	}
	err = errors.Join(
		c.TrustRegistries(ctx),
		c.SetConfigMap(ctx, api.ConfigMapOSImageURL, map[string]string{
			api.KeyBaseOSContainerImage: c.BaseImage, api.KeyReleaseVersion: "bench",
		}),
	)
	return s, err
}

// End removes what the session made and leaves the product installed.
func (s *Session) End(ctx context.Context) error {
	return errors.Join(s.Scale(ctx, 1), s.Reset(ctx), s.removeConfigs(ctx), s.removeNamespace(ctx))
}

// PushTo makes a repository of the session the target; the pools of dockerfiles
// get the custom Dockerfile.
func (s *Session) PushTo(ctx context.Context, repository string, dockerfiles ...string) error {
	custom := map[string]string{}
	for _, pool := range dockerfiles {
		custom[pool] = Dockerfile
	}
	return errors.Join(
		s.SetConfigMap(ctx, api.ConfigMapBuildConfig, map[string]string{
			api.KeyFinalImagePullspec: s.Registry + "/bench-" + s.id + "/" + repository,
			api.KeyImageBuilderType:   api.BuilderCustomPod,
		}),
		s.SetConfigMap(ctx, api.ConfigMapCustomDockerfile, custom),
	)
}

// newConfig makes a rendered config that no other build of the session has.
func (s *Session) newConfig(ctx context.Context, pool string) (string, error) {
	s.builds++
	name := fmt.Sprintf("rendered-%s-%s-%d", pool, s.id, s.builds)
	seed, err := strconv.ParseUint(s.id, 36, 64)
	if err != nil {
		return "", fmt.Errorf("reading the session's id: %w", err)
	}
	mc, err := workload.Config(name, rand.New(rand.NewPCG(seed, s.builds)))
	if err != nil {
		return "", err
	}
	mc.Labels = map[string]string{sessionLabel: s.id}
	return name, s.SetMachineConfig(ctx, mc)
}

// sessionLabel marks the MachineConfigs of a session.
const sessionLabel = "machineosbuilder.io/bench"

func (s *Session) removeConfigs(ctx context.Context) error {
	err := s.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().DeleteCollection(ctx,
		metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: sessionLabel + "=" + s.id})
	if err != nil {
		return fmt.Errorf("deleting MachineConfigs of the bench: %w", err)
	}
	return nil
}

// Remove deletes a pool and waits until nothing is left of its builds.
func (s *Session) Remove(ctx context.Context, pool string) error {
	err := s.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Delete(ctx, pool, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("deleting pool %q: %w", pool, err)
	}
	return live.Eventually(ctx, "the objects of pool "+pool+" are gone", func(ctx context.Context) error {
		left, err := s.BuildObjects(ctx, pool)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("still there: %s", strings.Join(left, ", "))
		}
		return err
	})
}
