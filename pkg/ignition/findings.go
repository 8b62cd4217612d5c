package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// maxFindings is how many findings an error lists: whoever mends these looks again.
const maxFindings = 10

// parseError puts the report's fatal entries about a text into one error.
func parseError(rpt report.Report, text []byte, err error) error {
	if found := fatal(rpt, text); found != nil {
		return fmt.Errorf("reading Ignition config: %w: %w", err, found)
	}
	return fmt.Errorf("reading Ignition config: %w", err)
}

// fatal puts the report's fatal entries into one error; nil when it has none.
func fatal(rpt report.Report, text []byte) error {
	var found []string
	for _, entry := range rpt.Entries {
		if entry.Kind.IsFatal() {
			found = append(found, entry.String()+identity(text, entry.Context))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return errors.New(strings.Join(Few(found), "; "))
}

// Few keeps the first of a list of findings, and says how many more there are.
func Few(found []string) []string {
	if more := len(found) - maxFindings; more > 0 {
		return append(found[:maxFindings:maxFindings], fmt.Sprintf("and %d more", more))
	}
	return found
}

// warnings lists the report's other entries.
func warnings(rpt report.Report) []string {
	var out []string
	for _, entry := range rpt.Entries {
		if !entry.Kind.IsFatal() {
			out = append(out, entry.String())
		}
	}
	return Few(out)
}

// identity names the innermost part of a config around a place that has a path,
// name or device: nobody counts to the 40th of the files. Other values are not
// shown, they may be secret.
func identity(text []byte, place path.ContextPath) string {
	var at any
	if json.Unmarshal(text, &at) != nil {
		return ""
	}
	found := ""
	for _, step := range place.Path {
		switch part := at.(type) {
		case map[string]any:
			key, _ := step.(string)
			at = part[key]
		case []any:
			i, _ := step.(int)
			if i < 0 || i >= len(part) {
				return found
			}
			at = part[i]
		}
		if part, ok := at.(map[string]any); ok {
			for _, key := range []string{"path", "name", "device"} {
				if value, ok := part[key].(string); ok {
					found = fmt.Sprintf(" (%s %.200q)", key, value)
					break
				}
			}
		}
	}
	return found
}
