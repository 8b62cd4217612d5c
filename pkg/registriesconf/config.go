package registriesconf

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Config is a set of rules, of which one counts for an image.
type Config struct {
	Registries []Registry
}

// Registry is the rule for the images whose names begin with a prefix.
type Registry struct {
	// Prefix is host[:port][/path…][:tag|@digest] or *.domain.
	Prefix string
	// Location stands in the prefix's place; empty only for *.domain, whose
	// images are where their names say.
	Location string
	// Blocked: the location itself is never asked.
	Blocked bool
	// Mirrors are asked before the location, in this order.
	Mirrors []Mirror
}

// Mirror is another place for the same images.
type Mirror struct {
	Location string
	Pull     Pull
}

// Pull says which images are pulled from a mirror.
type Pull string

// The values of Pull are those of pull-from-mirror.
const (
	PullAll    Pull = "all"
	PullDigest Pull = "digest-only"
	PullTag    Pull = "tag-only"
)

// Source is one place to pull an image from.
type Source struct {
	Pullspec string
	Mirror   bool
	// Blocked: it must not be asked.
	Blocked bool
}

// dockerHub is what the format calls the default registry; the library has
// another name for it.
const dockerHub = "docker.io"

// Name is the full name of an image as the format writes it.
func Name(pullspec string) (string, error) {
	reference, err := name.ParseReference(pullspec)
	if err != nil {
		return "", fmt.Errorf("reading image name: %w", err)
	}
	return hub(reference.Name()), nil
}

// Repository is the full name of an image's repository as the format writes it.
func Repository(pullspec string) (string, error) {
	reference, err := name.ParseReference(pullspec)
	if err != nil {
		return "", fmt.Errorf("reading image name: %w", err)
	}
	return hub(reference.Context().Name()), nil
}

func hub(full string) string {
	if rest, found := strings.CutPrefix(full, name.DefaultRegistry+"/"); found {
		return dockerHub + "/" + rest
	}
	return full
}

// IsZero is true when no rule says anything.
func (c *Config) IsZero() bool { return c == nil || len(c.Registries) == 0 }

// Sources returns where to pull an image from, in order; the last one is the
// place that its name says, unless a rule moves it. There is at least one.
func (c *Config) Sources(pullspec string) ([]Source, error) {
	full, err := Name(pullspec)
	if err != nil {
		return nil, err
	}
	rule, length := c.find(full)
	if rule == nil {
		return []Source{{Pullspec: pullspec}}, nil
	}
	digested := strings.Contains(full, "@")
	var sources []Source
	for _, mirror := range rule.Mirrors {
		if mirror.Pull == PullDigest && !digested || mirror.Pull == PullTag && digested {
			continue
		}
		place := mirror.Location + full[length:]
		if _, err := name.ParseReference(place); err != nil {
			continue // behind *.domain there was a port
		}
		sources = append(sources, Source{Pullspec: place, Mirror: true, Blocked: c.blocks(place)})
	}
	place := full
	if rule.Location != "" {
		place = rule.Location + full[length:]
	}
	if _, err := name.ParseReference(place); err != nil {
		return nil, fmt.Errorf("finding %s in %s: %w", full, rule.Location, err)
	}
	return append(sources, Source{Pullspec: place, Blocked: rule.Blocked || c.blocks(place)}), nil
}

// blocks is true of a place that a rule of its own blocks.
func (c *Config) blocks(pullspec string) bool {
	full, err := Name(pullspec)
	if err != nil {
		return false
	}
	rule, _ := c.find(full)
	return rule != nil && rule.Blocked
}

// find returns the rule with the longest prefix of a full name, and how much of
// the name that is.
func (c *Config) find(full string) (*Registry, int) {
	if c == nil {
		return nil, 0
	}
	var found *Registry
	length := 0
	for i := range c.Registries {
		rule := &c.Registries[i]
		n := match(full, rule.Prefix)
		if n > 0 && (found == nil || len(rule.Prefix) > len(found.Prefix)) {
			found, length = rule, n
		}
	}
	return found, length
}

// match returns how much of a full name a prefix stands for; 0 for nothing. It
// ends where a part of the name ends.
func match(full, prefix string) int {
	if domain, wild := strings.CutPrefix(prefix, "*"); wild {
		host, _, _ := strings.Cut(full, "/")
		host, _, _ = strings.Cut(host, ":")
		if len(host) > len(domain) && strings.HasSuffix(host, domain) {
			return len(host)
		}
		return 0
	}
	rest, found := strings.CutPrefix(full, prefix)
	switch {
	case !found:
		return 0
	case rest == "", rest[0] == '/', rest[0] == '@':
		return len(prefix)
	case rest[0] == ':' && strings.Contains(prefix, "/"):
		// Behind a host alone it would be the port of another one.
		return len(prefix)
	}
	return 0
}
