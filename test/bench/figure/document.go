package figure

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// end closes the place of each command's results.
const end = "<!-- end of results -->"

// begin opens the place of the results that a command writes.
func begin(command string) string { return "<!-- results: written by " + command + " -->" }

// ErrMarkers is returned for a document that does not have a command's markers,
// once each and in order.
var ErrMarkers = errors.New("the document has no place for results")

// Write puts the results of a command into a document: when and on what they
// were taken, and the tables.
func Write(path, command string, taken time.Time, machine string, tables []Table) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Taken on %s.\n\n%s", taken.UTC().Format(time.DateOnly), machine)
	for _, t := range tables {
		fmt.Fprintf(&text, "\n%s", t.Markdown())
	}
	document, err := splice(string(old), command, text.String())
	if err != nil {
		return fmt.Errorf("writing results to %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

// splice puts a text between the markers of a command in the place of what was
// there.
func splice(document, command, text string) (string, error) {
	before, rest, found := strings.Cut(document, begin(command))
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended || strings.Contains(rest, begin(command)) {
		return "", ErrMarkers
	}
	return before + begin(command) + "\n\n" + strings.TrimSpace(text) + "\n\n" + end + after, nil
}
