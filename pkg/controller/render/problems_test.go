package render

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

// TestSortOut: whose turn it is, and what is said.
func TestSortOut(t *testing.T) {
	configs := mcfgv1.GroupVersion.WithResource("machineconfigs").GroupResource()
	forbidden := apierrors.NewForbidden(configs, "50-x", errors.New(`User "u" cannot get resource`))
	creating := func(err error) error { return fmt.Errorf("%w of pool %q: %w", errCreating, "worker", err) }
	for name, row := range map[string]struct {
		err    error
		reason string // empty: nobody is told
		says   []string
		not    string
		after  time.Duration
		again  bool
	}{
		"nothing":  {err: nil},
		"a fault":  {err: errors.New("timeout"), again: true},
		"conflict": {err: apierrors.NewConflict(configs, "x", errors.New("changed")), again: true},
		"refusal":  {err: &render.Refusal{Reason: api.ReasonInvalidSelector, Message: "m"}, reason: api.ReasonInvalidSelector},
		"taken":    {err: &render.TakenError{Name: "x", Found: "is edited"}, reason: api.ReasonRenderedConfigTaken},
		"going":    {err: &render.TakenError{Name: "x", Passing: true}, reason: api.ReasonRenderedConfigTaken, after: goingPoll},
		"no converter": {
			err:    fmt.Errorf("reading MachineConfig %q: %w", "50-x", fmt.Errorf("%w: killed", ignition.ErrNoConverter)),
			reason: api.ReasonCannotConvertMachineConfig, says: []string{"50-x", "killed", "tried again"}, again: true,
		},
		"too large": {
			err: creating(apierrors.NewRequestEntityTooLargeError("limit is 3145728")), reason: api.ReasonCannotCreateRenderedConfig,
			says: []string{`rendered config of pool "worker"`, "make the MachineConfigs of the pool smaller"}, after: refusedPoll,
		},
		"too large for etcd": {
			err: creating(apierrors.NewInternalError(errors.New("etcdserver: request is too large"))), reason: api.ReasonCannotCreateRenderedConfig,
			says: []string{"make the MachineConfigs of the pool smaller"}, after: refusedPoll,
		},
		"creation is forbidden": {
			err: creating(forbidden), reason: api.ReasonCannotCreateRenderedConfig, says: []string{"creating", "allow"}, not: "smaller", after: refusedPoll,
		},
		"a webhook refuses": {
			err: creating(apierrors.NewBadRequest("admission webhook denied the request")), reason: api.ReasonCannotCreateRenderedConfig,
			says: []string{"admission webhook"}, not: "smaller", after: refusedPoll,
		},
		"reading is forbidden": {
			err: fmt.Errorf("reading MachineConfig %q: %w", "50-x", forbidden), reason: api.ReasonRequestRefused,
			says: []string{`reading MachineConfig "50-x"`, "cannot get", "grant the right"}, not: "smaller", after: refusedPoll,
		},
		"the pool is refused": {
			err:    fmt.Errorf("setting the configuration of pool %q: %w", "worker", apierrors.NewInvalid(mcfgv1.GroupVersion.WithKind("MachineConfigPool").GroupKind(), "worker", nil)),
			reason: api.ReasonRequestRefused, says: []string{`setting the configuration of pool "worker"`}, not: "smaller", after: refusedPoll,
		},
	} {
		t.Run(name, func(t *testing.T) {
			problem, after, again := sortOut(row.err)
			if after != row.after || (again != nil) != row.again {
				t.Errorf("after %s, again %v", after, again)
			}
			if row.reason == "" {
				if problem != nil {
					t.Errorf("told: %+v", problem)
				}
				return
			}
			if problem == nil || problem.Reason != row.reason {
				t.Fatalf("told: %+v, want %s", problem, row.reason)
			}
			for _, text := range row.says {
				if !strings.Contains(problem.Message, text) {
					t.Errorf("%q does not say %q", problem.Message, text)
				}
			}
			if row.not != "" && strings.Contains(problem.Message, row.not) {
				t.Errorf("%q says %q", problem.Message, row.not)
			}
		})
	}
}
