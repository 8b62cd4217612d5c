package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// TakenError says that a MachineConfig that has a rendered config's name cannot
// be used as that.
type TakenError struct {
	Name string
	// Passing is true when waiting is enough.
	Passing bool
	// Found says what is the matter with it, and what to do.
	Found string
}

// Error names the MachineConfig, what was found and what to do.
func (e *TakenError) Error() string { return fmt.Sprintf("MachineConfig %q %s", e.Name, e.Found) }

// Refusal is the error as it is told of the pool.
func (e *TakenError) Refusal() *Refusal { return &Refusal{api.ReasonRenderedConfigTaken, e.Error()} }

// Verify returns nil when an existing MachineConfig is the rendered one: it has
// the same spec, is controlled by the same pool and stays. How its JSON is laid
// out does not matter: the API server sorts it.
//
// Errors: a *TakenError that says which of that is not so. A pool that was
// deleted and made again finds those of the first one, which are about to go.
func Verify(existing, rendered *mcfgv1.MachineConfig) error {
	taken := &TakenError{Name: existing.Name}
	owner, want := metav1.GetControllerOfNoCopy(existing), metav1.GetControllerOfNoCopy(rendered)
	switch {
	case existing.DeletionTimestamp != nil:
		taken.Passing, taken.Found = true, "is being deleted; it is rendered again when it is gone"
	case owner == nil:
		taken.Found = fmt.Sprintf("has the name of a rendered config, and pool %q does not control it: delete it, and it is rendered again", want.Name)
	case owner.Kind == want.Kind && owner.Name == want.Name && owner.UID != want.UID:
		taken.Passing, taken.Found = true, fmt.Sprintf("was rendered for an earlier pool %q and goes with that; it is rendered again when it is gone", owner.Name)
	case owner.UID != want.UID:
		taken.Found = fmt.Sprintf("has the name of a rendered config of pool %q and is controlled by %s %q: delete it, and it is rendered again", want.Name, owner.Kind, owner.Name)
	default:
		same, err := sameSpec(existing.Spec, rendered.Spec)
		if err != nil {
			return fmt.Errorf("comparing MachineConfig %q with what is rendered: %w", existing.Name, err)
		}
		if same {
			return nil
		}
		taken.Found = "is a rendered config whose spec was edited: delete it, and it is rendered again; change the MachineConfigs that it is made of"
	}
	return taken
}

func sameSpec(a, b mcfgv1.MachineConfigSpec) (bool, error) {
	aJSON, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	bJSON, err := json.Marshal(b)
	if err != nil || bytes.Equal(aJSON, bJSON) {
		return err == nil, err
	}
	aContent, err := content(aJSON)
	if err != nil {
		return false, err
	}
	bContent, err := content(bJSON)
	return err == nil && reflect.DeepEqual(aContent, bContent), err
}

// content decodes a spec; a list that is absent is an empty one.
func content(spec []byte) (map[string]any, error) {
	var decoded map[string]any
	if err := json.Unmarshal(spec, &decoded); err != nil {
		return nil, err
	}
	for key, value := range decoded {
		if value == nil {
			delete(decoded, key)
		} else if list, ok := value.([]any); ok && len(list) == 0 {
			delete(decoded, key)
		}
	}
	return decoded, nil
}
