//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestWitnessFindsWhatIsShown lets a Dockerfile give a password away, which no
// Secret holds: one that is not found by this is not found at all.
func TestWitnessFindsWhatIsShown(t *testing.T) {
	s := newBuildsScenario(t)
	s.configure(map[string]string{api.KeyImageBuilderType: api.BuilderCustomPod})
	shown := live.NewCanary()
	other := cluster.Witness(s.ctx, shown)
	defer other.Stop()
	s.addPools(map[string]string{worker: strings.ReplaceAll(`FROM configs AS final
ENV PASSWORD=$SHOWN
RUN echo "$(echo $SHOWN | base64)" > /etc/in-base64; echo $SHOWN; sleep 2; exit 1
`, "$SHOWN", shown.Password)})
	s.settled(worker)
	s.dockerfiles(map[string]string{worker: strings.ReplaceAll(`FROM configs AS final
RUN echo "$(echo user:$SHOWN | base64)" > /etc/in-base64
`, "$SHOWN", shown.Password)})
	s.builtFor(worker)
	text := "FROM scratch\nLABEL password=" + shown.Password + "\n"
	s.must(cluster.AddBuild(s.ctx, &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{Name: "shown"},
		Spec:       buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{Source: buildv1.BuildSource{Dockerfile: &text}, Strategy: buildv1.BuildStrategy{DockerStrategy: &buildv1.DockerBuildStrategy{}}}},
	}))

	s.eventually("all of it is found", func() error {
		if err := other.Blobs(); err != nil {
			return err
		}
		found := other.Found()
		for _, kind := range []string{"configmaps/", "builds/", "pods/", "pools/", "events of pools/", "log of pod/", "command line of ", "environment of ", "blob "} {
			if !slices.ContainsFunc(found, func(where string) bool { return strings.HasPrefix(where, kind) }) {
				return fmt.Errorf("nothing that begins with %q is in %q", kind, found)
			}
		}
		return nil
	})
}
