package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	buildv1 "github.com/openshift/api/build/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/bench/workload"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// Dockerfile is the custom one with one RUN.
const Dockerfile = "FROM configs AS final\nRUN grep PRETTY_NAME /etc/os-release > /etc/built-on\n"

// Session is one run of the bench. Every config, pool and repository of it is
// new, so that no build finds an image that an earlier one made.
type Session struct {
	*live.Cluster
	// ConfigLayerOrder is what PushTo sets; empty for the product's default.
	ConfigLayerOrder string
	// BuildCache is what PushTo sets; empty for the product's default.
	BuildCache string
	// Builder is what PushTo and UseBuilder set; empty for pods.
	Builder string
	// MakeConfig makes the rendered configs of the builds.
	MakeConfig func(name string, random *rand.Rand) (*mcfgv1.MachineConfig, error)
	// BaseBytes is the compressed size of the base image.
	BaseBytes int64

	id         string
	repository string
	base       live.Image
	baseLayers []string
	syncs      func(context.Context) (float64, error)
	builds     uint64
}

// Begin installs the product and empties the cluster of pools. The id is part
// of all names.
func Begin(ctx context.Context, c *live.Cluster, id string) (*Session, error) {
	s := &Session{Cluster: c, MakeConfig: workload.Config, id: id}
	s.syncs = s.deployedSyncs
	if err := c.Deploy(ctx); err != nil {
		return nil, err
	}
	if err := c.Reset(ctx); err != nil {
		return nil, err
	}
	if err := c.RemoveBuilds(ctx); err != nil {
		return nil, err
	}
	return s, errors.Join(c.TrustRegistries(ctx), s.UseBase(ctx, c.BaseImage))
}

// UseBase has the next builds made on a base image.
func (s *Session) UseBase(ctx context.Context, pullspec string) error {
	base, err := s.OpenImage(pullspec)
	if err != nil {
		return err
	}
	manifest, err := base.Manifest()
	if err != nil {
		return fmt.Errorf("reading the base image: %w", err)
	}
	s.base, s.baseLayers, s.BaseBytes = base, nil, 0
	for _, layer := range manifest.Layers {
		s.baseLayers = append(s.baseLayers, layer.Digest.String())
		s.BaseBytes += layer.Size
	}
	return s.SetConfigMap(ctx, api.ConfigMapOSImageURL, map[string]string{
		api.KeyBaseOSContainerImage: pullspec, api.KeyReleaseVersion: "bench",
	})
}

// PushLargeBase pushes the base image with more layers of bytes that do not
// compress, until it has so many layers and bytes, and returns its pullspec.
func (s *Session) PushLargeBase(layers int, bytes int64) (string, error) {
	manifest, err := s.base.Manifest()
	if err != nil {
		return "", fmt.Errorf("reading the base image: %w", err)
	}
	var image v1.Image = s.base
	more := layers - len(manifest.Layers)
	for n := range more {
		layer, err := workload.Layer(fmt.Sprintf("usr/lib/bench/%d", n), (bytes-s.BaseBytes)/int64(more))
		if err != nil {
			return "", err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return "", fmt.Errorf("making a large base image: %w", err)
		}
	}
	pullspec := s.Registry + "/bench-" + s.id + "/base:large"
	return pullspec, s.PushImage(pullspec, image)
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
	s.repository = repository
	return errors.Join(s.configure(ctx), s.SetConfigMap(ctx, api.ConfigMapCustomDockerfile, custom))
}

// UseBuilder has what is built from now on built in another way.
func (s *Session) UseBuilder(ctx context.Context, builder string) error {
	s.Builder = builder
	return s.configure(ctx)
}

// pods selects the pods of a pool's build by the way that it is built.
func (s *Session) pods(pool, config string) string {
	if s.Builder == api.BuilderOpenShift {
		return buildv1.BuildLabel + "=" + names.BuildLabel(names.Build(config))
	}
	return api.LabelBuildPod + "," + api.LabelTargetPool + "=" + pool
}

func (s *Session) configure(ctx context.Context) error {
	settings := map[string]string{
		api.KeyFinalImagePullspec: s.Registry + "/bench-" + s.id + "/" + s.repository,
		api.KeyImageBuilderType:   cmp.Or(s.Builder, api.BuilderCustomPod),
	}
	if s.ConfigLayerOrder != "" {
		settings[api.KeyConfigLayerOrder] = s.ConfigLayerOrder
	}
	if s.BuildCache != "" {
		settings[api.KeyBuildCache] = s.BuildCache
	}
	return s.SetConfigMap(ctx, api.ConfigMapBuildConfig, settings)
}

// SetDockerfile gives one pool a custom Dockerfile, and all others none.
func (s *Session) SetDockerfile(ctx context.Context, pool, text string) error {
	return s.SetConfigMap(ctx, api.ConfigMapCustomDockerfile, map[string]string{pool: text})
}

// newConfig makes a rendered config that no other build of the session has.
func (s *Session) newConfig(ctx context.Context, pool string) (string, error) {
	s.builds++
	name := fmt.Sprintf("rendered-%s-%s-%d", pool, s.id, s.builds)
	seed, err := strconv.ParseUint(s.id, 36, 64)
	if err != nil {
		return "", fmt.Errorf("reading the session's id: %w", err)
	}
	mc, err := s.MakeConfig(name, rand.New(rand.NewPCG(seed, s.builds)))
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

// Rebuild asks for another build of a pool's config and returns its image once
// that is recorded.
func (s *Session) Rebuild(ctx context.Context, pool, config, token string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if _, err := s.Kubectl(ctx, "annotate", "--overwrite", "machineconfigpool/"+pool, api.AnnotationRebuild+"="+token); err != nil {
		return "", err
	}
	image := ""
	err := live.Eventually(ctx, "the rebuild of pool "+pool+" is recorded", func(ctx context.Context) error {
		record, err := s.Record(ctx, config)
		if err != nil {
			return err
		}
		if image = record.Image; record.RebuildToken != token || image == "" {
			return fmt.Errorf("the record is of rebuild %q", record.RebuildToken)
		}
		return nil
	})
	return image, err
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
