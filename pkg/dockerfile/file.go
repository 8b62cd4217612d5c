package dockerfile

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Names that custom Dockerfiles and their users rely on.
const (
	// StageConfigs is the base image with the MachineConfig laid in.
	StageConfigs = "configs"
	// StageFinal is the stage that becomes the image.
	StageFinal = "final"
	// stageBuilder is the stage in which a build that no container of ours prepares
	// makes the config layer.
	stageBuilder = "os-image-builder"
	// ConfigLayerFile is the config layer's file in the build context.
	ConfigLayerFile = "machine-config.tar"
)

const byteOrderMark = "\xef\xbb\xbf"

// File is a Dockerfile that was parsed and found good.
type File struct {
	text    string  // the custom text
	configs Configs // of a rendered file
	stages  []stage
	// numbered are the lines that name a stage by its number.
	numbered []int
}

// stage is one FROM and what follows it.
type stage struct {
	name  string // as written after AS
	from  string // as written after FROM, variables replaced
	steps []step // the FROM is the first
}

// step is one instruction as builders number them.
type step struct {
	text string // continuation lines joined
	line int    // where it begins
}

// Parse reads a custom Dockerfile and checks it. The error is a *LintError with
// every problem found. An empty text is good: it asks for nothing.
func Parse(custom string) (*File, error) {
	file := &File{text: custom}
	if isBlank(custom) {
		// A bad directive would spoil what is rendered behind it.
		if _, err := parser.Parse(strings.NewReader(custom + "\nFROM scratch\n")); err != nil {
			return nil, syntaxError(custom, err)
		}
		return file, nil
	}
	linter, err := lint(custom, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	file.stages, file.numbered = linter.stages, linter.numbered
	return file, nil
}

// lint checks a custom Dockerfile that is built for an architecture.
func lint(custom, architecture string) (*linter, error) {
	result, err := parser.Parse(strings.NewReader(custom))
	if err != nil {
		return nil, syntaxError(custom, err)
	}
	linter := newLinter(result.EscapeToken, architecture)
	for _, node := range result.AST.Children {
		linter.instruction(node)
	}
	linter.finish()
	return linter, linter.problems.err()
}

// isBlank says whether a text has no instruction: only white space and comments.
func isBlank(text string) bool {
	for line := range strings.Lines(strings.TrimPrefix(text, byteOrderMark)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func syntaxError(text string, err error) error {
	line := 0
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 {
		line = located.Locations[0][0].Start.Line
	}
	// The parser places a bad directive on the line before it; no instruction begins with #.
	if lines := strings.Split(strings.TrimPrefix(text, byteOrderMark), "\n"); line == 0 || strings.HasPrefix(strings.TrimSpace(lines[line-1]), "#") {
		line++
	}
	var found problems
	found.addf(line, "does not parse: %v", err)
	return found.err()
}

// HasContent says whether the text has any instruction at all.
func (f *File) HasContent() bool { return len(f.stages) > 0 }

// NeedsBuild says whether something has to run or be copied. A bare
// "FROM configs AS final" asks for nothing beyond the config layer.
func (f *File) NeedsBuild() bool {
	return len(f.stages) > 1 || len(f.stages) == 1 && len(f.stages[0].steps) > 1
}

// Images returns the images, other than stages, that the custom text names in
// FROM, COPY --from and RUN --mount, each once, in order of appearance. Default
// values of ARG are applied, and what builders predefine where they build for an
// architecture, which is named as Go does. The error is a *LintError: a name may be
// good for one architecture only.
func (f *File) Images(architecture string) ([]string, error) {
	if !f.HasContent() {
		return nil, nil
	}
	linter, err := lint(f.text, architecture)
	if err != nil {
		return nil, err
	}
	return linter.externalImages(), nil
}

// FitsContext returns nil for a text that means the same behind a further stage
// before configs, as Configs.InContext makes one: where it does not, the line.
func (f *File) FitsContext() error {
	for _, line := range f.numbered {
		return fmt.Errorf("line %d names a stage by its number; use its name", line)
	}
	for _, s := range f.stages {
		if strings.EqualFold(s.name, stageBuilder) {
			return fmt.Errorf("line %d: the stage name %q is taken; use another", s.steps[0].line, s.name)
		}
	}
	return nil
}

// Configs returns what the configs stage is made of; zero for a file that was not
// rendered.
func (f *File) Configs() Configs { return f.configs }

// InstallsPackages says whether a builder's step, counted as in Find, is the one
// that installs packages in the configs stage.
func (f *File) InstallsPackages(stageNumber, number int) bool {
	return !f.configs.Packages.IsZero() && stageNumber == 1 && number == f.configs.stepOfPackages()
}

// Custom returns the custom text, as it was given.
func (f *File) Custom() string { return f.text }

// Steps returns how many instructions the custom text has, FROM included.
func (f *File) Steps() int {
	count := 0
	for _, s := range f.stages {
		count += len(s.steps)
	}
	return count
}

// Position is where a step stands in the custom text.
type Position struct {
	Stage  string // as written after AS; empty for a stage without a name
	Number int    // within the stage, whose FROM is 1
	Line   int    // where it begins, from 1
}

// Find says where a builder's step stands. Stage counts from 1 in the rendered
// Dockerfile, so that configs is 1; number counts from 1 within the stage; text
// is the instruction as the builder printed it, which decides when the numbers
// do not fit. It returns false for a step that is not the custom text's.
func (f *File) Find(stageNumber, number int, text string) (Position, bool) {
	want := squeeze(text)
	matches := func(s step) bool {
		have := squeeze(s.text)
		return have == want || want != "" && strings.HasPrefix(have, want) || have != "" && strings.HasPrefix(want, have)
	}
	if index := stageNumber - 2; index >= 0 && index < len(f.stages) {
		if steps := f.stages[index].steps; number >= 1 && number <= len(steps) && matches(steps[number-1]) {
			return f.stages[index].position(number), true
		}
	}
	for _, s := range f.stages {
		for i, candidate := range s.steps {
			if squeeze(candidate.text) == want {
				return s.position(i + 1), true
			}
		}
	}
	return Position{}, false
}

func (s stage) position(number int) Position {
	return Position{Stage: s.name, Number: number, Line: s.steps[number-1].line}
}

// squeeze makes texts comparable that differ in white space only.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// isKnown says whether an instruction is one of the language.
func isKnown(name string) bool {
	_, known := command.Commands[name]
	return known
}
