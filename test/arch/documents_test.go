package arch

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// internalNames are constants of pkg/api that no user meets under that name.
var internalNames = map[string]bool{"prefix": true, "ownPrefix": true}

// TestDependenciesAreExplained wants each module that go.mod requires directly
// to be named in docs/dev/dependencies.md with what it is for.
func TestDependenciesAreExplained(t *testing.T) {
	text := readDocument(t, "docs/dev/dependencies.md")
	for _, path := range directDependencies(t) {
		if !strings.Contains(text, "`"+path+"`") {
			t.Errorf("docs/dev/dependencies.md does not say what %s is for", path)
		}
	}
}

// TestNamesAreDocumented wants every name in pkg/api to stand in the user's reference.
func TestNamesAreDocumented(t *testing.T) {
	text := readDocument(t, "docs/user/reference.md") + readDocument(t, "docs/user/when-a-build-fails.md") + readDocument(t, "docs/user/logs-and-objects.md") + readDocument(t, "docs/user/builds.md")
	names := apiNames(t)
	if len(names) == 0 {
		t.Fatal("found no names in pkg/api")
	}
	for name, value := range names {
		short := strings.Replace(value, "machineconfiguration.openshift.io/", "mc/", 1)
		if !internalNames[name] && !strings.Contains(text, "`"+short+"`") && !strings.Contains(text, "`"+value+"`") {
			t.Errorf("the user's reference does not mention %s, api.%s", value, name)
		}
	}
}

// TestScenariosAreTested wants docs/dev/scenarios.md to name, for each scenario,
// tests that exist and carry its number.
func TestScenariosAreTested(t *testing.T) {
	found, err := scenarioViolations(os.DirFS(root), readDocument(t, "docs/dev/scenarios.md"))
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}

// apiNames returns the string constants of pkg/api by their Go names.
func apiNames(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "pkg/api/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	positions := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	// Imports stay unresolved: the constants need none, so errors about types say nothing here.
	config := types.Config{Error: func(error) {}}
	pkg, _ := config.Check("api", positions, files, nil)
	names := map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() == constant.String {
			names[name] = constant.StringVal(c.Val())
		}
	}
	return names
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
