package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A goPackage is what the checks know of one package: its path within the
// module, the import paths of its non-test files, and everything that it links.
type goPackage struct {
	path    string
	imports []string
	deps    []string
}

// layerViolations lists each import between the module's own packages that no
// layer allows, and each package under cmd and pkg that has no layer.
func layerViolations(layers []layer, packages []goPackage) []string {
	var found []string
	for _, pkg := range packages {
		if !strings.HasPrefix(pkg.path, "cmd/") && !strings.HasPrefix(pkg.path, "pkg/") {
			continue
		}
		i := slices.IndexFunc(layers, func(l layer) bool { return matchesAny(l.packages, pkg.path) })
		if i < 0 {
			found = append(found, fmt.Sprintf("%s has no layer: give it a place in the table", pkg.path))
			continue
		}
		for _, imported := range pkg.imports {
			own, isOwn := strings.CutPrefix(imported, module)
			if isOwn && !layers[i].allows(own) {
				found = append(found, fmt.Sprintf("%s must not import %s", pkg.path, own))
			}
		}
	}
	return found
}

func (l layer) allows(imported string) bool {
	if matchesAny(l.may, imported) {
		return true
	}
	return !l.alone && slices.Contains(foundations, imported)
}

// banViolations lists each import that a ban forbids, with its reason.
func banViolations(bans []ban, packages []goPackage) []string {
	var found []string
	for _, b := range bans {
		for _, pkg := range packages {
			if !matchesAny(b.packages, pkg.path) {
				continue
			}
			paths, verb := pkg.imports, "imports"
			if b.linked {
				paths, verb = pkg.deps, "links"
			}
			for _, imported := range paths {
				if b.forbids(imported) {
					found = append(found, fmt.Sprintf("%s %s %s: %s", pkg.path, verb, imported, b.why))
				}
			}
		}
	}
	return found
}

func (b ban) forbids(imported string) bool {
	return slices.ContainsFunc(b.imports, func(banned string) bool {
		if strings.HasSuffix(banned, "/") {
			return strings.HasPrefix(imported+"/", banned)
		}
		return imported == banned
	})
}

// matchesAny reports whether the package is named by one of the patterns.
func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		matched, err := path.Match(pattern, pkg)
		return err == nil && matched
	})
}
