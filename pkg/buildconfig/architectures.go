package buildconfig

import (
	"slices"
	"strings"
	"unicode"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// Architectures are those that an operating system image can be for, by Go's names.
var Architectures = []string{"amd64", "arm64", "ppc64le", "s390x"}

// architectureList reads a list whose order and repetitions say nothing.
func (r *reader) architectureList(key string) []string {
	if r.get(key) == "" {
		return nil
	}
	list := strings.FieldsFunc(r.get(key), func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
	for _, architecture := range list {
		if !slices.Contains(Architectures, architecture) {
			r.fail(key, "%q is no architecture that images are built for; use some of %s, separated by commas or spaces, or leave the key out",
				architecture, strings.Join(Architectures, ", "))
			return nil
		}
	}
	if len(list) == 0 {
		r.fail(key, "%q names no architecture; use some of %s, separated by commas or spaces, or leave the key out", r.get(key), strings.Join(Architectures, ", "))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// architectureSelectors reads the labels of the nodes of each architecture.
func (r *reader) architectureSelectors() map[string]map[string]string {
	const key = api.KeyArchitectureSelectors
	var selectors map[string]map[string]string
	r.yaml(key, &selectors)
	for architecture := range selectors {
		if !slices.Contains(Architectures, architecture) {
			r.fail(key, "%q is no architecture that images are built for; valid are %s", architecture, strings.Join(Architectures, ", "))
			return nil
		}
	}
	return selectors
}
