package spec2

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/ign-converter/translate/v24tov31"
	"github.com/coreos/ignition/config/v2_4"
	"github.com/coreos/ignition/config/validate/report"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// Convert is an ignition.Converter: it takes a config of spec 2.0 to 2.4 and
// returns it in spec 3.1.
//
// It refuses what spec 3 cannot express: duplicate entries, networkd units, paths
// through links of the config itself, filesystems without a path.
func Convert(raw []byte) (ignition.Converted, error) {
	old, rpt, err := v2_4.Parse(raw)
	found := findings(rpt)
	if err != nil {
		return ignition.Converted{}, fmt.Errorf("reading Ignition config of spec 2: %w: %s", err, strings.Join(found, "; "))
	}
	converted, err := v24tov31.Translate(old, nil)
	if err != nil {
		return ignition.Converted{}, fmt.Errorf("converting Ignition config from spec 2 to 3: %w", err)
	}
	text, err := json.Marshal(converted)
	if err != nil {
		return ignition.Converted{}, errors.New("converting Ignition config from spec 2 to 3: the result is no JSON")
	}
	return ignition.Converted{Config: text, Warnings: found}, nil
}

// findings lists a report's entries without what they highlight: that is the
// line of the text, which in JSON can be all of it, secrets included.
func findings(rpt report.Report) []string {
	var found []string
	for _, entry := range rpt.Entries {
		entry.Highlight = ""
		found = append(found, strings.ReplaceAll(entry.String(), "\n", ": "))
	}
	return ignition.Few(found)
}
