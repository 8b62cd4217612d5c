package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/ign-converter/translate/v24tov31"
	"github.com/coreos/ignition/config/v2_4"
	"github.com/coreos/ignition/config/validate/report"
	"github.com/coreos/ignition/v2/config/v3_5"
)

// parse2 reads a config of spec 2.0 to 2.4, converts it to 3.1 and reads that.
//
// The converter refuses what spec 3 cannot express: duplicate entries, networkd
// units, paths through links of the config itself, filesystems without a path.
func parse2(raw []byte) (Config, []string, error) {
	old, rpt, err := v2_4.Parse(raw)
	found := findings2(rpt)
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading Ignition config of spec 2: %w: %s", err, strings.Join(found, "; "))
	}
	converted, err := v24tov31.Translate(old, nil)
	if err != nil {
		return Config{}, nil, fmt.Errorf("converting Ignition config from spec 2 to 3: %w", err)
	}
	text, err := json.Marshal(converted)
	if err != nil {
		return Config{}, nil, errors.New("converting Ignition config from spec 2 to 3: the result is no JSON")
	}
	cfg, rpt3, err := v3_5.ParseCompatibleVersion(text)
	if err != nil {
		return Config{}, nil, parseError(rpt3, text, err)
	}
	dropSpecialBits(&cfg)
	return cfg, append(found, warnings(rpt3)...), nil
}

// findings2 lists a report's entries without what they highlight: that is the
// line of the text, which in JSON can be all of it, secrets included.
func findings2(rpt report.Report) []string {
	var found []string
	for _, entry := range rpt.Entries {
		entry.Highlight = ""
		found = append(found, strings.ReplaceAll(entry.String(), "\n", ": "))
	}
	return few(found)
}
