package registriesconf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/google/go-containerregistry/pkg/name"
)

// file is the part of containers-registries.conf(5) that counts.
type file struct {
	Registries []table `toml:"registry"`
	// V1 is of a version of the format that no program reads any more.
	V1 any `toml:"registries,omitempty"`
}

type table struct {
	Prefix           string        `toml:"prefix,omitempty"`
	Location         string        `toml:"location,omitempty"`
	Insecure         bool          `toml:"insecure,omitempty"`
	Blocked          bool          `toml:"blocked,omitempty"`
	MirrorDigestOnly bool          `toml:"mirror-by-digest-only,omitempty"`
	Mirrors          []mirrorTable `toml:"mirror,omitempty"`
}

type mirrorTable struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure,omitempty"`
	Pull     Pull   `toml:"pull-from-mirror,omitempty"`
}

var (
	errVersion  = errors.New("is in version 1 of the format ([registries.search] and the like); use [[registry]] tables")
	errInsecure = errors.New("insecure = true is refused, since every registry is verified; trust the authority of its certificate instead")
)

// Parse reads a containers-registries.conf(5). Everything that is wrong is
// reported at once.
func Parse(text string) (*Config, error) {
	var f file
	meta, err := toml.Decode(text, &f)
	if err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("is no TOML: line %d: %s", at.Position.Line, at.Message)
		}
		return nil, fmt.Errorf("is no TOML of this format: %w", err)
	}
	if f.V1 != nil {
		return nil, errVersion
	}
	var problems []error
	for _, key := range meta.Undecoded() {
		if key[0] == "registry" {
			problems = append(problems, fmt.Errorf("key %s is not known", key))
		}
	}
	config := &Config{}
	seen := map[string]bool{}
	for i, t := range f.Registries {
		rule, err := t.rule()
		if err == nil && seen[rule.Prefix] {
			err = fmt.Errorf("prefix %q has a table already", rule.Prefix)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("[[registry]] %d: %w", i+1, err))
			continue
		}
		seen[rule.Prefix] = true
		config.Registries = append(config.Registries, rule)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return config, nil
}

func (t table) rule() (Registry, error) {
	rule := Registry{Prefix: place(t.Prefix), Location: place(t.Location), Blocked: t.Blocked}
	if rule.Prefix == "" {
		rule.Prefix = rule.Location
	}
	wild := strings.HasPrefix(rule.Prefix, "*.")
	switch {
	case rule.Prefix == "":
		return rule, errors.New("has neither prefix nor location")
	case rule.Location == "" && !wild:
		rule.Location = rule.Prefix
	}
	if err := check(strings.TrimPrefix(rule.Prefix, "*.")); err != nil {
		return rule, err
	}
	if wild && strings.Contains(rule.Prefix, "/") {
		return rule, fmt.Errorf("prefix %q: behind *. stands a domain alone", rule.Prefix)
	}
	if rule.Location != "" {
		if err := check(rule.Location); err != nil {
			return rule, err
		}
	}
	if t.Insecure {
		return rule, errInsecure
	}
	for _, m := range t.Mirrors {
		mirror, err := t.mirror(m)
		if err != nil {
			return rule, fmt.Errorf("mirror %q: %w", m.Location, err)
		}
		rule.Mirrors = append(rule.Mirrors, mirror)
	}
	return rule, nil
}

func (t table) mirror(m mirrorTable) (Mirror, error) {
	mirror := Mirror{Location: place(m.Location), Pull: m.Pull}
	if m.Insecure {
		return mirror, errInsecure
	}
	if t.MirrorDigestOnly {
		if m.Pull != "" {
			return mirror, errors.New("has pull-from-mirror, and its registry mirror-by-digest-only; use one of them")
		}
		mirror.Pull = PullDigest
	}
	switch mirror.Pull {
	case "":
		mirror.Pull = PullAll
	case PullAll, PullDigest, PullTag:
	default:
		return mirror, fmt.Errorf("pull-from-mirror %q is not known; use %s, %s or %s", m.Pull, PullAll, PullDigest, PullTag)
	}
	return mirror, check(mirror.Location)
}

// place is a location as it is compared.
func place(text string) string { return strings.TrimRight(text, "/") }

// check wants host[:port][/path…], possibly with a tag or digest.
func check(location string) error {
	host, path, deeper := strings.Cut(location, "/")
	switch {
	case location == "":
		return errors.New("has an empty location")
	case strings.Contains(location, "://"):
		return fmt.Errorf("%q has a scheme; use host[:port]/path", location)
	case host == "":
		return fmt.Errorf("%q names no host", location)
	}
	if _, err := name.NewRegistry(host, name.StrictValidation); err != nil {
		return fmt.Errorf("%q names no registry: %w", location, err)
	}
	if !deeper {
		return nil
	}
	// One part is a namespace, which is shorter than a repository may be.
	if _, err := name.ParseReference("registry.example.com/x/" + path); err != nil {
		return fmt.Errorf("%q is no place for images; use host[:port]/path", location)
	}
	return nil
}

// String is the configuration in the format that Parse reads. Everything is
// spelled out, so that buildah reads the same in it.
func (c *Config) String() string {
	var f file
	if c != nil {
		for _, rule := range c.Registries {
			t := table{Prefix: rule.Prefix, Location: rule.Location, Blocked: rule.Blocked}
			for _, m := range rule.Mirrors {
				t.Mirrors = append(t.Mirrors, mirrorTable{Location: m.Location, Pull: m.Pull})
			}
			f.Registries = append(f.Registries, t)
		}
	}
	var text bytes.Buffer
	encoder := toml.NewEncoder(&text)
	encoder.Indent = ""
	if err := encoder.Encode(f); err != nil {
		return "" // strings and booleans can be encoded
	}
	return text.String()
}
