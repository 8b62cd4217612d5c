package dockerfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// ErrOpenEnd is returned for a text whose last instruction goes on on the next line.
var ErrOpenEnd = errors.New("the last line ends with the escape character, so that what follows would belong to it; take it away")

// WithLabel returns a Dockerfile with one more instruction, a label of the last stage.
// Name and value are words that need no quotes.
func WithLabel(text, name, value string) (string, error) {
	labelled := strings.TrimSuffix(text, "\n") + "\nLABEL " + name + "=" + value + "\n"
	before, err := instructions(text)
	if err != nil {
		return "", err
	}
	if after, err := instructions(labelled); err != nil || after != before+1 {
		return "", fmt.Errorf("labelling a Dockerfile: %w", ErrOpenEnd)
	}
	return labelled, nil
}

func instructions(text string) (int, error) {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("labelling a Dockerfile: %w", err)
	}
	return len(result.AST.Children), nil
}
