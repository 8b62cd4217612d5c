package registriesconf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	configv1 "github.com/openshift/api/config/v1"
)

// MirrorSets are the objects of a cluster that say where mirrors are.
type MirrorSets struct {
	Digest []configv1.ImageDigestMirrorSet
	Tag    []configv1.ImageTagMirrorSet
}

// Add takes in mirror sets. Several rules for one source become one, in the
// order of the objects' names; a source that one of them must not contact is
// blocked for all. Where the configuration has a rule of its own, that counts.
func (c *Config) Add(sets MirrorSets) (*Config, error) {
	out := &Config{}
	own := map[string]bool{}
	if c != nil {
		out.Registries = slices.Clone(c.Registries)
	}
	for _, rule := range out.Registries {
		own[rule.Prefix] = true
	}
	a := adder{rules: map[string]*Registry{}}
	for _, set := range sorted(sets.Digest, func(s configv1.ImageDigestMirrorSet) string { return s.Name }) {
		for _, m := range set.Spec.ImageDigestMirrors {
			a.add("ImageDigestMirrorSet/"+set.Name, m.Source, m.Mirrors, m.MirrorSourcePolicy, PullDigest)
		}
	}
	for _, set := range sorted(sets.Tag, func(s configv1.ImageTagMirrorSet) string { return s.Name }) {
		for _, m := range set.Spec.ImageTagMirrors {
			a.add("ImageTagMirrorSet/"+set.Name, m.Source, m.Mirrors, m.MirrorSourcePolicy, PullTag)
		}
	}
	for _, source := range a.order {
		if !own[source] {
			out.Registries = append(out.Registries, *a.rules[source])
		}
	}
	return out, errors.Join(a.problems...)
}

func sorted[T any](sets []T, name func(T) string) []T {
	return slices.SortedFunc(slices.Values(sets), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}

type adder struct {
	rules    map[string]*Registry
	order    []string
	problems []error
}

func (a *adder) add(object, source string, mirrors []configv1.ImageMirror, policy configv1.MirrorSourcePolicy, pull Pull) {
	t := table{Prefix: source, Blocked: policy == configv1.NeverContactSource}
	for _, m := range mirrors {
		t.Mirrors = append(t.Mirrors, mirrorTable{Location: string(m), Pull: pull})
	}
	rule, err := t.rule()
	if err != nil {
		a.problems = append(a.problems, fmt.Errorf("%s, source %q: %w", object, source, err))
		return
	}
	if strings.HasPrefix(rule.Prefix, "*.") {
		rule.Location = ""
	}
	have := a.rules[rule.Prefix]
	if have == nil {
		a.rules[rule.Prefix] = &rule
		a.order = append(a.order, rule.Prefix)
		return
	}
	have.Blocked = have.Blocked || rule.Blocked
	for _, m := range rule.Mirrors {
		if !slices.Contains(have.Mirrors, m) {
			have.Mirrors = append(have.Mirrors, m)
		}
	}
}
