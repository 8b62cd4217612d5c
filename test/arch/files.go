package arch

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// goFiles returns the paths of all Go files that belong to the repository, the
// vendored ones, test data and build output aside.
func goFiles(tree fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." {
			base := entry.Name()
			if name == "vendor" || name == "bin" || base == "testdata" || strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
		}
		if !entry.IsDir() && path.Ext(name) == ".go" {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing Go files: %w", err)
	}
	return files, nil
}

// sizeViolations lists the files of more than maxLines lines that no program generated.
func sizeViolations(tree fs.FS, files []string) ([]string, error) {
	var found []string
	for _, name := range files {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, fmt.Errorf("measuring source file: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			return nil, fmt.Errorf("parsing source file: %w", err)
		}
		lines := bytes.Count(text, []byte("\n"))
		if lines > maxLines && !ast.IsGenerated(file) {
			found = append(found, fmt.Sprintf("%s has %d lines, more than %d: split it", name, lines, maxLines))
		}
	}
	return found, nil
}

// docViolations lists the folders with Go files whose doc.go is missing or has no package comment.
func docViolations(tree fs.FS, files []string) ([]string, error) {
	var folders, found []string
	for _, name := range files {
		folders = append(folders, path.Dir(name))
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		text, err := fs.ReadFile(tree, path.Join(folder, "doc.go"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found = append(found, fmt.Sprintf("%s has no doc.go", folder))
			continue
		case err != nil:
			return nil, fmt.Errorf("reading package documentation: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), folder+"/doc.go", text, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parsing package documentation: %w", err)
		}
		want := "Package " + file.Name.Name + " "
		if file.Name.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(file.Doc.Text(), want) {
			found = append(found, fmt.Sprintf("%s/doc.go has no package comment that starts with %q", folder, want))
		}
	}
	return found, nil
}

// nameViolations lists folders and files with names that fit anything.
func nameViolations(files []string) []string {
	var found []string
	for _, name := range files {
		for _, part := range strings.Split(strings.TrimSuffix(name, ".go"), "/") {
			if slices.Contains(vagueNames, strings.TrimSuffix(part, "_test")) {
				found = append(found, fmt.Sprintf("%s: the name %q does not say what it is for", name, part))
			}
		}
	}
	return found
}

// clockViolations lists each use of the clock in the non-test files of the packages.
func clockViolations(tree fs.FS, files, packages []string) ([]string, error) {
	var found []string
	for _, name := range files {
		if !slices.Contains(packages, path.Dir(name)) || strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, fmt.Errorf("reading source file: %w", err)
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parsing source file: %w", err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if use, ok := node.(*ast.SelectorExpr); ok && isClock(file, use) {
				found = append(found, fmt.Sprintf("%s uses time.%s: pass the time in", positions.Position(use.Pos()), use.Sel.Name))
			}
			return true
		})
	}
	return found, nil
}

// isClock reports whether the expression names one of clock in package time, under whatever name the file imports it.
func isClock(file *ast.File, use *ast.SelectorExpr) bool {
	qualifier, ok := use.X.(*ast.Ident)
	if !ok || !slices.Contains(clock, use.Sel.Name) {
		return false
	}
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
		name := "time"
		if spec.Name != nil {
			name = spec.Name.Name
		}
		return spec.Path.Value == `"time"` && qualifier.Name == name
	})
}

// topLevelViolations lists what lies at the top of the tree and does not belong there.
func topLevelViolations(entries []fs.DirEntry) []string {
	var found []string
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			found = append(found, fmt.Sprintf("%s does not belong at the top of the repository", name))
		}
	}
	return found
}
