//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestWitnessFindsWhatIsShown lets a Dockerfile give a password away, which no
// Secret holds: one that is not found by this is not found at all.
func TestWitnessFindsWhatIsShown(t *testing.T) {
	s := newScenario(t)
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

	s.eventually("all of it is found", func() error {
		if err := other.Blobs(); err != nil {
			return err
		}
		found := other.Found()
		for _, kind := range []string{"configmaps/", "pods/", "pools/", "events of pools/", "log of pod/", "command line of ", "environment of ", "blob "} {
			if !slices.ContainsFunc(found, func(where string) bool { return strings.HasPrefix(where, kind) }) {
				return fmt.Errorf("nothing that begins with %q is in %q", kind, found)
			}
		}
		return nil
	})
}
