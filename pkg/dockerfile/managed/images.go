package managed

import (
	"encoding/csv"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Images returns the images that a Dockerfile names in FROM, COPY --from and RUN
// --mount, each once, in order of appearance: no stages, and not scratch. Arguments
// are the build's, by name; defaults of ARG count where there is none.
func Images(text string, arguments map[string]string) ([]string, error) {
	w, err := walkThrough(text, arguments)
	if err != nil {
		return nil, err
	}
	return w.images, nil
}

// Stages returns how many stages a Dockerfile has.
func Stages(text string) (int, error) {
	d, err := parse(text)
	if err != nil {
		return 0, err
	}
	return len(d.stages), nil
}

type walk struct {
	lexer           *shell.Lex
	given           map[string]string
	globals, locals variables
	stages          map[string]string // the image of each, by lower-case name
	base            string            // the image of the last one
	count           int
	images          []string
}

func walkThrough(text string, arguments map[string]string) (*walk, error) {
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	w := newWalk(d, arguments)
	for _, node := range d.nodes {
		if err := w.instruction(node); err != nil {
			return nil, fmt.Errorf("reading Dockerfile: line %d: %w", node.StartLine, err)
		}
	}
	return w, nil
}

func newWalk(d *document, arguments map[string]string) *walk {
	platform := "linux/" + runtime.GOARCH
	return &walk{lexer: shell.NewLex(d.escape), given: arguments, stages: map[string]string{}, globals: variables{
		"TARGETPLATFORM": platform, "TARGETOS": "linux", "TARGETARCH": runtime.GOARCH, "TARGETVARIANT": "",
		"BUILDPLATFORM": platform, "BUILDOS": "linux", "BUILDARCH": runtime.GOARCH, "BUILDVARIANT": "",
	}}
}

// variables implements shell.EnvGetter.
type variables map[string]string

// Get implements shell.EnvGetter.
func (v variables) Get(name string) (string, bool) { value, found := v[name]; return value, found }

// Keys implements shell.EnvGetter.
func (v variables) Keys() []string { return slices.Collect(maps.Keys(v)) }

func (w *walk) instruction(node *parser.Node) error {
	switch strings.ToLower(node.Value) {
	case command.From:
		return w.from(node)
	case command.Arg:
		w.arg(node)
	case command.Env:
		// The parser gives triples: name, value, separator.
		words := arguments(node)
		for i := 0; i+1 < len(words) && w.count > 0; i += 3 {
			w.locals[words[i]] = w.try(words[i+1], w.locals)
		}
	case command.Copy:
		if from, found := flag(node, "--from="); found {
			_, err := w.refer("COPY --from", from, w.locals)
			return err
		}
	case command.Run:
		return w.mounts(node)
	}
	return nil
}

func (w *walk) from(node *parser.Node) error {
	s, err := stageOf(node)
	if err != nil {
		return err
	}
	image, err := w.refer("FROM", s.image, w.globals)
	if err != nil {
		return err
	}
	if of, found := w.stages[strings.ToLower(image)]; found {
		image = of
	}
	if image == "scratch" {
		image = ""
	}
	w.base = image
	if s.alias != "" {
		w.stages[strings.ToLower(s.alias)] = image
	}
	w.count++
	w.locals = variables{}
	return nil
}

func (w *walk) arg(node *parser.Node) {
	for _, word := range arguments(node) {
		name, value, hasValue := strings.Cut(word, "=")
		into := w.locals
		if w.count == 0 {
			into = w.globals
		}
		global, isGlobal := w.globals[name]
		given, isGiven := w.given[name]
		switch {
		case isGiven:
			into[name] = given
		case hasValue:
			into[name] = w.try(value, into)
		case isGlobal:
			into[name] = global
		}
	}
}

func (w *walk) mounts(node *parser.Node) error {
	for _, given := range node.Flags {
		mount, found := strings.CutPrefix(given, "--mount=")
		if !found {
			continue
		}
		fields, err := csv.NewReader(strings.NewReader(mount)).Read()
		if err != nil {
			return fmt.Errorf("RUN %s does not parse: %w", given, err)
		}
		for _, field := range fields {
			key, from, _ := strings.Cut(field, "=")
			if strings.EqualFold(strings.TrimSpace(key), "from") && from != "" {
				if _, err := w.refer("RUN --mount from", from, w.locals); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// refer notes the use of a stage or an image, and returns its name.
func (w *walk) refer(verb, word string, from variables) (string, error) {
	name, _, err := w.lexer.ProcessWord(word, from)
	if err != nil {
		return "", fmt.Errorf("%s %s: its variables do not parse: %w", verb, word, err)
	}
	if name == "" {
		return "", fmt.Errorf("%s %s is empty; give its variables a value in an ARG above, or in spec.strategy.dockerStrategy.buildArgs", verb, word)
	}
	_, isStage := w.stages[strings.ToLower(name)]
	_, err = strconv.Atoi(name)
	isNumber := err == nil && verb != "FROM"
	if !isStage && !isNumber && name != "scratch" && !slices.Contains(w.images, name) {
		w.images = append(w.images, name)
	}
	return name, nil
}

func (w *walk) try(word string, from variables) string {
	value, _, err := w.lexer.ProcessWord(word, from)
	if err != nil {
		return word
	}
	return value
}

// Base returns the image that the last stage begins with, through the stages that it
// is made from; empty for scratch.
func Base(text string, arguments map[string]string) (string, error) {
	w, err := walkThrough(text, arguments)
	if err != nil {
		return "", err
	}
	return w.base, nil
}
