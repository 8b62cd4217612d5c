package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/ign-converter/translate/v24tov31"
	"github.com/coreos/ignition/config/v2_4"
	"github.com/coreos/ignition/v2/config/v3_5"
)

// parse2 reads a config of spec 2.0 to 2.4, converts it to 3.1 and reads that.
//
// The converter refuses what spec 3 cannot express: duplicate entries, networkd
// units, paths through links of the config itself, filesystems without a path.
func parse2(raw []byte) (Config, []string, error) {
	old, rpt, err := v2_4.Parse(raw)
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading Ignition config of spec 2: %w: %s", err, rpt.String())
	}
	var warned []string
	for _, entry := range rpt.Entries {
		warned = append(warned, strings.ReplaceAll(entry.String(), "\n", ": "))
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
	return cfg, append(warned, warnings(rpt3)...), nil
}
