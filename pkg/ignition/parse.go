package ignition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coreos/go-semver/semver"
	"github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
)

// Names of the parts of a parsed config, so that other packages need not import
// the module they come from.
type (
	// Config is a parsed, validated config in the newest stable spec.
	Config = types.Config
	// Node is what files, directories and links have in common.
	Node = types.Node
	// File is one of storage.files.
	File = types.File
	// Directory is one of storage.directories.
	Directory = types.Directory
	// Link is one of storage.links.
	Link = types.Link
	// Resource is where contents come from: URL, compression, hash, headers.
	Resource = types.Resource
	// Unit is one of systemd.units.
	Unit = types.Unit
	// Dropin is one of a unit's drop-ins.
	Dropin = types.Dropin
)

// Newest is the newest spec version that Parse takes.
var Newest = types.MaxVersion.String()

// Converter turns a config of spec 2 into one of spec 3. Its error lists what
// spec 2 forbids or spec 3 cannot express, and holds no content; or it wraps
// ErrNoConverter.
type Converter func(spec2 []byte) (Converted, error)

// ErrNoConverter says that a config of spec 2 was not looked at, which is not its
// fault.
var ErrNoConverter = errors.New("no converter of Ignition configs of spec 2")

// Converted is a config that was of spec 2.
type Converted struct {
	// Config is of spec 3, valid or not.
	Config json.RawMessage `json:"config"`
	// Warnings of the validation by spec 2, one line each.
	Warnings []string `json:"warnings,omitempty"`
}

// Parse reads a config of spec 2.0 to Newest and returns it in the shape of the
// newest spec, with the validation's warnings, one line each. One of spec 2 goes
// through the converter.
//
// No bytes at all or a JSON null are an empty config: a MachineConfig need not
// carry one. Errors: one of the spec version when that is missing, unknown,
// experimental, too old or too new; otherwise one that lists each fatal
// finding with its place in the config, or that of the converter.
func Parse(raw []byte, convert Converter) (Config, []string, error) {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return Config{Ignition: types.Ignition{Version: Newest}}, nil, nil
	}
	version, err := specVersion(trimmed)
	if err != nil {
		return Config{}, nil, err
	}
	if version.Major == 2 {
		return parse2(trimmed, convert)
	}
	return parse3(trimmed)
}

func parse2(raw []byte, convert Converter) (Config, []string, error) {
	converted, err := convert(raw)
	if err != nil {
		return Config{}, nil, err
	}
	cfg, warned, err := parse3(converted.Config)
	return cfg, append(converted.Warnings, warned...), err
}

// Check is Parse for a program that has no use for the config: of a spec 2
// config it checks the JSON and the version only.
func Check(raw []byte) error {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return nil
	}
	version, err := specVersion(trimmed)
	if err != nil || version.Major == 2 {
		return err
	}
	_, _, err = parse3(trimmed)
	return err
}

func parse3(raw []byte) (Config, []string, error) {
	cfg, rpt, err := v3_5.ParseCompatibleVersion(raw)
	if err != nil {
		return Config{}, nil, parseError(rpt, raw, err)
	}
	dropSpecialBits(&cfg)
	return cfg, warnings(rpt), nil
}

// specVersion finds and judges ignition.version.
func specVersion(raw []byte) (semver.Version, error) {
	var stub struct {
		Ignition struct {
			Version *string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal(raw, &stub); err != nil {
		return semver.Version{}, fmt.Errorf("reading Ignition config as JSON: %w", err)
	}
	if stub.Ignition.Version == nil {
		return semver.Version{}, &versionError{Reason: versionMissing}
	}
	text := *stub.Ignition.Version
	version, err := semver.NewVersion(text)
	if err != nil {
		return semver.Version{}, &versionError{Version: text, Reason: versionUnreadable}
	}
	if reason := judge(*version); reason != "" {
		return semver.Version{}, &versionError{Version: text, Reason: reason}
	}
	return *version, nil
}

// judge says why a version cannot be read; "" when it can.
func judge(v semver.Version) versionReason {
	newest2 := semver.Version{Major: 2, Minor: 4}
	switch {
	case v.PreRelease != "":
		return versionExperimental
	case v.Major < 2:
		return versionTooOld
	case v.Major == 2 && newest2.LessThan(v):
		return versionUnknown
	case v.Major == 2 && v.Patch != 0, v.Major == 3 && v.Patch != 0:
		return versionUnknown
	case types.MaxVersion.LessThan(v):
		return versionTooNew
	}
	return ""
}

// dropSpecialBits takes setuid, setgid and sticky out of every mode. Ignition
// does so for every stable spec: they only count from 3.6.0 on, which is still
// experimental. The validation's warning names each such mode.
func dropSpecialBits(cfg *Config) {
	plain := func(mode *int) *int {
		if mode == nil {
			return nil
		}
		bits := *mode &^ 0o7000
		return &bits
	}
	for i := range cfg.Storage.Files {
		cfg.Storage.Files[i].Mode = plain(cfg.Storage.Files[i].Mode)
	}
	for i := range cfg.Storage.Directories {
		cfg.Storage.Directories[i].Mode = plain(cfg.Storage.Directories[i].Mode)
	}
}
