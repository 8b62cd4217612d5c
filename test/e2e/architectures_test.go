//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	containertypes "github.com/google/go-containerregistry/pkg/v1/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// nodeLabel begins the labels by which the one node stands for nodes of several
// architectures.
const nodeLabel = "e2e.machineosbuilder.io/"

// copying runs nothing, so that a node of any architecture can build it.
const copying = `FROM configs AS final
COPY --from=$TOOLS /of /etc/of
COPY <<EOF /etc/copied
made of nothing
EOF
`

// TestSeveralArchitectures builds for two architectures, in a pod for each on
// the nodes that a label chooses, and joins what they push.
func TestSeveralArchitectures(t *testing.T) {
	s := newScenario(t)
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	index := twoPlatforms(t, plain)
	repository := cluster.Registry + "/e2e/architectures:"
	s.must(cluster.PushIndex(repository+"base", index))
	var architectures []string
	for _, m := range must(index.IndexManifest())(t).Manifests {
		architectures = append(architectures, m.Platform.Architecture)
	}
	slices.Sort(architectures)
	s.must(cluster.PushIndex(repository+"tools", toolsFor(t, architectures)))

	selectors := map[string]map[string]string{}
	for _, architecture := range architectures {
		s.labelNode(nodeLabel + architecture)
		selectors[architecture] = map[string]string{nodeLabel + architecture: "here"}
	}
	s.configure(map[string]string{
		api.KeyArchitectures: strings.Join(architectures, ", "), api.KeyArchitectureSelectors: string(must(json.Marshal(selectors))(t)),
	})
	s.baseImage(repository + "base")
	s.customDockerfile(strings.ReplaceAll(copying, "$TOOLS", repository+"tools"))
	config := live.FileConfig("rendered-worker-architectures", "/etc/generation", "1")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	image := s.built(config.Name)

	s.prove("a pod for each architecture, on its nodes", func(s *scenario) {
		pods := s.builds.Pods()
		if len(pods) != len(architectures) {
			s.t.Fatalf("%d pods were made", len(pods))
		}
		for _, pod := range pods {
			architecture := pod.Annotations[api.AnnotationArchitecture]
			if pod.Name != names.BuildFor(config.Name, architecture) || pod.Spec.NodeSelector[nodeLabel+architecture] != "here" {
				s.t.Errorf("pod %s for %q goes to nodes of %v", pod.Name, architecture, pod.Spec.NodeSelector)
			}
		}
	})
	s.prove("the image is an index of both, each with base, config and copied files", func(s *scenario) {
		below, above := s.byArchitecture(repository+"base"), s.byArchitecture(image.Pullspec)
		if len(above) != len(architectures) {
			s.t.Fatalf("the index has %d images", len(above))
		}
		for _, architecture := range architectures {
			files, err := above[architecture].FilesAbove(below[architecture])
			s.must(err)
			compareFiles(s.t, files, map[string]live.File{
				"etc/generation": file(0o644, 0, "1"), "etc/of": file(0o644, 0, architecture), "etc/copied": file(0o644, 0, "made of nothing\n"),
			})
			if labels, err := above[architecture].Labels(); err != nil || labels[api.ImageLabelMachineConfig] != config.Name {
				s.t.Errorf("image for %s has the labels %v, %v", architecture, labels, err)
			}
		}
	})
	s.prove("the record names the images, and nothing but it is left", func(s *scenario) {
		if r := s.record(config.Name); len(r.Members) != len(architectures) || r.Image != image.Pullspec {
			s.t.Errorf("record %+v", r)
		}
		s.onlyLeft("configmap/digest-" + config.Name)
	})
}

// TestArchitectureThatTheBaseDoesNotHave fails with what to do.
func TestArchitectureThatTheBaseDoesNotHave(t *testing.T) {
	s := newScenario(t)
	s.labelNode(nodeLabel + "s390x")
	s.configure(map[string]string{
		api.KeyArchitectures: "s390x", api.KeyArchitectureSelectors: fmt.Sprintf("s390x: {%ss390x: here}", nodeLabel),
	})
	s.customDockerfile("FROM configs AS final\nCOPY <<EOF /etc/copied\nEOF\n")
	config := live.FileConfig("rendered-worker-s390x", "/etc/generation", "1")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("s390x: choosing the image of "+s.base, api.KeyArchitectures, "oc logs pod/"+names.BuildFor(config.Name, "s390x"))
}

// labelNode gives the nodes a label until the test ends.
func (s *scenario) labelNode(label string) {
	s.t.Helper()
	set := func(ctx context.Context, value any) error {
		client := cluster.Clients.Core.CoreV1().Nodes()
		nodes, err := client.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{label: value}}})
		for i := 0; i < len(nodes.Items) && err == nil; i++ {
			_, err = client.Patch(ctx, nodes.Items[i].Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
		return err
	}
	s.must(set(s.ctx, "here"))
	s.t.Cleanup(func() {
		if err := set(context.WithoutCancel(s.ctx), nil); err != nil {
			s.t.Error(err)
		}
	})
}

// byArchitecture are the images of an index.
func (s *scenario) byArchitecture(pullspec string) map[string]live.Image {
	s.t.Helper()
	images, err := cluster.OpenPlatforms(pullspec)
	s.must(err)
	found := map[string]live.Image{}
	for _, image := range images {
		found[must(image.ConfigFile())(s.t).Architecture] = image
	}
	return found
}

// toolsFor is an index of images that hold the name of their architecture.
func toolsFor(t *testing.T, architectures []string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, architecture := range architectures {
		image := must(mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: architecture, RootFS: v1.RootFS{Type: "layers"}}))(t)
		image = must(mutate.AppendLayers(image, layerOf(t, containertypes.DockerLayer, entry{"of", 0, architecture})))(t)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	return index
}
