package figure

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

var header = []string{"", "median", "range", "n", "at most", ""}

// Table is a set of rows under a title.
type Table struct {
	Title string
	Rows  []Row
	// Notes stand below the rows, a paragraph each.
	Notes []string
}

func (t Table) cells() [][]string {
	cells := [][]string{header}
	for _, r := range t.Rows {
		cells = append(cells, r.cells())
	}
	return cells
}

// Text is the table for a terminal.
func (t Table) Text() string {
	cells := t.cells()
	widths := make([]int, len(header))
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", t.Title)
	for _, row := range cells {
		line := " "
		for i, cell := range row {
			line += " " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1)
		}
		fmt.Fprintln(&out, strings.TrimRight(line, " "))
	}
	for _, note := range t.Notes {
		fmt.Fprintf(&out, "  %s\n", note)
	}
	return out.String()
}

// Markdown is the table for a document.
func (t Table) Markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "### %s\n\n", t.Title)
	for i, row := range t.cells() {
		fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&out, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	for _, note := range t.Notes {
		fmt.Fprintf(&out, "\n%s\n", note)
	}
	return out.String()
}
