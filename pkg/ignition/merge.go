package ignition

import (
	"encoding/json"
	"fmt"

	"github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/coreos/ignition/v2/config/validate"
)

// Merge lays configs over each other in order, as Ignition does: what a later
// one says of the same path, unit, user or disk counts. Without any it returns
// an empty config. The configs are left as they are, but the result shares
// memory with them: who changes it copies first.
//
// Valid configs can make an invalid one. The error is then a *MergeError, which
// says with which of them that begins.
func Merge(configs ...Config) (Config, error) {
	merged := mergeAll(configs)
	err := findings(merged)
	if err == nil {
		return merged, nil
	}
	for i := range configs {
		if early := findings(mergeAll(configs[:i+1])); early != nil {
			return Config{}, &MergeError{Index: i, Err: early}
		}
	}
	return Config{}, &MergeError{Index: len(configs) - 1, Err: err}
}

func mergeAll(configs []Config) Config {
	if len(configs) == 0 {
		return Config{Ignition: types.Ignition{Version: Newest}}
	}
	merged := configs[0]
	for _, cfg := range configs[1:] {
		merged = lay(merged, cfg)
	}
	return merged
}

// lay is v3_5.Merge in a fraction of its time: that accounts for every value of
// the result, so it is given only those entries of parent's long lists that child
// names too. All others keep their place.
func lay(parent, child Config) Config {
	nodes, units := map[string]bool{}, map[string]bool{}
	addKeys(nodes, child.Storage.Files)
	addKeys(nodes, child.Storage.Directories)
	addKeys(nodes, child.Storage.Links)
	addKeys(units, child.Systemd.Units)
	named := parent
	named.Storage.Files = only(parent.Storage.Files, nodes)
	named.Storage.Directories = only(parent.Storage.Directories, nodes)
	named.Storage.Links = only(parent.Storage.Links, nodes)
	named.Systemd.Units = only(parent.Systemd.Units, units)
	merged := v3_5.Merge(named, child)
	merged.Storage.Files = weave(parent.Storage.Files, merged.Storage.Files, nodes)
	merged.Storage.Directories = weave(parent.Storage.Directories, merged.Storage.Directories, nodes)
	merged.Storage.Links = weave(parent.Storage.Links, merged.Storage.Links, nodes)
	merged.Systemd.Units = weave(parent.Systemd.Units, merged.Systemd.Units, units)
	return merged
}

// keyed is an entry of a list that Ignition merges by key: path or name.
type keyed interface{ Key() string }

func addKeys[T keyed](keys map[string]bool, entries []T) {
	for _, e := range entries {
		keys[e.Key()] = true
	}
}

// only returns the entries with one of the keys.
func only[T keyed](entries []T, keys map[string]bool) []T {
	var found []T
	for _, e := range entries {
		if keys[e.Key()] {
			found = append(found, e)
		}
	}
	return found
}

// weave puts the merged entries where they stood among all, and new ones behind.
// One that is not merged any more became an entry of another list.
func weave[T keyed](all, merged []T, keys map[string]bool) []T {
	if len(all) == 0 {
		return merged
	}
	woven := make([]T, 0, len(all)+len(merged))
	for _, e := range all {
		switch {
		case !keys[e.Key()]:
			woven = append(woven, e)
		case len(merged) > 0 && merged[0].Key() == e.Key():
			woven, merged = append(woven, merged[0]), merged[1:]
		}
	}
	return append(woven, merged...)
}

// findings validates a config that was not read from a text.
func findings(cfg Config) error {
	rpt := validate.ValidateWithContext(cfg, nil)
	if !rpt.IsFatal() {
		return nil
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("encoding Ignition config: %w", err)
	}
	return fatal(rpt, text)
}

// MergeError says that configs that are valid by themselves do not go together.
type MergeError struct {
	// Index of the first config that does not go with those before it.
	Index int
	// Err lists each fatal finding with its place in the merged config.
	Err error
}

// Error names the place and the findings.
func (e *MergeError) Error() string {
	return fmt.Sprintf("merging Ignition config %d over those before it: %v", e.Index, e.Err)
}

// Unwrap returns the findings.
func (e *MergeError) Unwrap() error { return e.Err }

// Encode writes a config as JSON, the same bytes for the same config. Parts
// that say nothing are left out, where encoding the types alone would write
// empty objects: people read these configs.
func Encode(cfg Config) ([]byte, error) {
	full, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("encoding Ignition config: %w", err)
	}
	return dropEmpty(full), nil
}

// dropEmpty takes the members that are empty objects out of compact JSON, and
// then those that became empty by it. Entries of lists stay. In a config of the
// newest spec no part means something else when it is empty than when it is absent.
func dropEmpty(full []byte) []byte {
	out := make([]byte, 0, len(full))
	var starts []int // of each open object: where the member that holds it begins; -1 in a list
	member := -1
	for i := 0; i < len(full); i++ {
		last := byte(0)
		if len(out) > 0 {
			last = out[len(out)-1]
		}
		switch c := full[i]; {
		case c == '"':
			if last == '{' || last == ',' {
				member = len(out)
			}
			end := stringEnd(full, i)
			out = append(out, full[i:end]...)
			i = end - 1
		case c == '{' && last == ':':
			starts, out = append(starts, member), append(out, c)
		case c == '{':
			starts, out = append(starts, -1), append(out, c)
		case c == '}':
			out = closeObject(out, starts[len(starts)-1])
			starts = starts[:len(starts)-1]
		case c == ',' && (last == '{' || last == ','):
		default:
			out = append(out, c)
		}
	}
	return out
}

// closeObject ends an object, or takes an empty one away with the member that
// holds it.
func closeObject(out []byte, start int) []byte {
	if out[len(out)-1] == ',' {
		out = out[:len(out)-1]
	}
	if out[len(out)-1] == '{' && start >= 0 {
		return out[:start]
	}
	return append(out, '}')
}

// stringEnd returns where a JSON string that begins at i is over.
func stringEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}
