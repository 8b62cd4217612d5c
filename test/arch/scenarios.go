package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// scenarioCount is how many scenarios there are; they are numbered from 1.
const scenarioCount = 39

var (
	scenarioRow  = regexp.MustCompile(`^\| (S\d\d) \|(.*)\|$`)
	scenarioTest = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)(?:/([^`]+))?`")
)

// scenarioViolations lists the scenarios without a row in the document, and the
// rows that name a test which does not exist or does not carry the number.
func scenarioViolations(tree fs.FS, document string) ([]string, error) {
	rows, found := map[string]string{}, []string(nil)
	for line := range strings.Lines(document) {
		if match := scenarioRow.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
			if _, twice := rows[match[1]]; twice {
				found = append(found, match[1]+" has two rows")
			}
			rows[match[1]] = match[2]
		}
	}
	for i := range scenarioCount {
		number := fmt.Sprintf("S%02d", i+1)
		row, ok := rows[number]
		if !ok {
			found = append(found, number+" has no row")
			continue
		}
		wrong, err := rowViolations(tree, number, row)
		if err != nil {
			return nil, err
		}
		found = append(found, wrong...)
	}
	return found, nil
}

func rowViolations(tree fs.FS, number, row string) ([]string, error) {
	var found []string
	tests := scenarioTest.FindAllStringSubmatch(row, -1)
	if len(tests) == 0 {
		found = append(found, number+" names no test")
	}
	for _, test := range tests {
		folder, name, part := test[1], test[2], test[3]
		texts, err := testTexts(tree, folder, name)
		switch {
		case err != nil:
			return nil, err
		case texts == nil:
			found = append(found, fmt.Sprintf("%s: there is no %s in %s", number, name, folder))
		case part != "" && !slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(s, part) }):
			found = append(found, fmt.Sprintf("%s: %s in %s has no row %s", number, name, folder, part))
		case !strings.Contains(name, number) && !strings.HasPrefix(part, number):
			found = append(found, fmt.Sprintf("%s: %s in %s does not carry the number", number, name, folder))
		}
	}
	return found, nil
}

// testTexts returns the string literals of a test function; nil when there is none.
func testTexts(tree fs.FS, folder, name string) ([]string, error) {
	files, err := fs.Glob(tree, path.Join(folder, "*_test.go"))
	if err != nil {
		return nil, fmt.Errorf("listing tests: %w", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			return nil, fmt.Errorf("reading test: %w", err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parsing test: %w", err)
		}
		for _, declared := range parsed.Decls {
			if function, ok := declared.(*ast.FuncDecl); ok && function.Name.Name == name {
				return literals(function), nil
			}
		}
	}
	return nil, nil
}

func literals(node ast.Node) []string {
	texts := []string{}
	ast.Inspect(node, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if text, err := strconv.Unquote(l.Value); err == nil {
				texts = append(texts, text)
			}
		}
		return true
	})
	return texts
}
