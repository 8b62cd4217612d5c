package arch

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const root = "../.."

func TestImports(t *testing.T) {
	packages := listPackages(t)
	report(t, layerViolations(layers, packages))
	report(t, banViolations(bans, packages))
}

func TestFiles(t *testing.T) {
	tree := os.DirFS(root)
	files, err := goFiles(tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	report(t, nameViolations(files))
	for name, check := range map[string]func() ([]string, error){
		"size":  func() ([]string, error) { return sizeViolations(tree, files) },
		"doc":   func() ([]string, error) { return docViolations(tree, files) },
		"clock": func() ([]string, error) { return clockViolations(tree, files, pure) },
	} {
		t.Run(name, func(t *testing.T) {
			found, err := check()
			if err != nil {
				t.Fatal(err)
			}
			report(t, found)
		})
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := fs.ReadDir(os.DirFS(root), ".")
	if err != nil {
		t.Fatal(err)
	}
	report(t, topLevelViolations(entries))
}

func report(t *testing.T, violations []string) {
	t.Helper()
	for _, violation := range violations {
		t.Error(violation)
	}
}

// listPackages asks the go command for the module's packages.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(goCommand(t, "list", "-json=ImportPath,Imports,Deps", "./...")))
	var packages []goPackage
	for {
		var listed struct {
			ImportPath    string
			Imports, Deps []string
		}
		err := decoder.Decode(&listed)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("decoding package list: %v", err)
		}
		packages = append(packages, goPackage{strings.TrimPrefix(listed.ImportPath, module), listed.Imports, listed.Deps})
	}
}

func directDependencies(t *testing.T) []string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(goCommand(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatalf("decoding go.mod: %v", err)
	}
	var direct []string
	for _, required := range mod.Require {
		if !required.Indirect {
			direct = append(direct, required.Path)
		}
	}
	return direct
}

func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = root
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
