package dockerfile

import (
	"encoding/csv"
	"runtime"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// linter walks over the instructions of a custom Dockerfile once.
type linter struct {
	problems problems
	stages   []stage
	lexer    *shell.Lex
	globals  environment // ARGs before the first FROM
	locals   environment // ARGs and ENVs of the current stage
	images   []string
	forward  []reference // names used before any stage had them
	numbered []int       // lines that name a stage by its number
}

// reference is a use of a name, kept until all stages are known.
type reference struct {
	line int
	name string
	verb string
}

// environment implements shell.EnvGetter.
type environment map[string]string

func (e environment) Get(name string) (string, bool) { value, found := e[name]; return value, found }

func (e environment) Keys() []string {
	keys := make([]string, 0, len(e))
	for key := range e {
		keys = append(keys, key)
	}
	return keys
}

func newLinter(escape rune, architecture string) *linter {
	// The values that every builder predefines for use in FROM.
	return &linter{
		lexer: shell.NewLex(escape),
		globals: environment{
			"TARGETPLATFORM": "linux/" + architecture, "TARGETOS": "linux", "TARGETARCH": architecture, "TARGETVARIANT": "",
			"BUILDPLATFORM": "linux/" + runtime.GOARCH, "BUILDOS": "linux", "BUILDARCH": runtime.GOARCH, "BUILDVARIANT": "",
		},
	}
}

func (l *linter) instruction(node *parser.Node) {
	name := strings.ToLower(node.Value)
	switch {
	case !isKnown(name):
		l.problems.addf(node.StartLine, "unknown instruction %q", node.Value)
		return
	case name == command.From:
		l.from(node)
		return
	case len(l.stages) == 0 && name != command.Arg:
		l.problems.addf(node.StartLine, "%s stands before the first FROM; only ARG may", strings.ToUpper(name))
		return
	case node.Next == nil && len(node.Heredocs) == 0:
		l.problems.addf(node.StartLine, "%s has no arguments", strings.ToUpper(name))
		return
	}
	switch name {
	case command.Arg:
		l.arg(node)
	case command.Env:
		l.env(node)
	case command.Copy, command.Add:
		l.copy(node)
	case command.Run:
		l.mounts(node)
	}
	if len(l.stages) > 0 {
		current := &l.stages[len(l.stages)-1]
		current.steps = append(current.steps, step{text: node.Original, line: node.StartLine})
	}
}

func (l *linter) from(node *parser.Node) {
	words := arguments(node)
	next := stage{steps: []step{{text: node.Original, line: node.StartLine}}}
	switch {
	case len(words) == 1:
	case len(words) == 3 && strings.EqualFold(words[1], "as"):
		next.name = words[2]
	default:
		l.problems.addf(node.StartLine, "FROM takes an image or stage and, optionally, AS and a name")
		words = nil
	}
	if len(words) > 0 {
		next.from = l.expand(node.StartLine, "FROM", words[0], l.globals)
		l.refer(node.StartLine, "FROM", next.from)
	}
	if strings.EqualFold(next.name, StageConfigs) {
		l.problems.addf(node.StartLine, "the stage name %q is taken: it is the base image with the MachineConfig", StageConfigs)
	} else if next.name != "" && l.stageNamed(next.name) {
		l.problems.addf(node.StartLine, "a stage named %q exists already", next.name)
	}
	l.locals = environment{}
	l.stages = append(l.stages, next)
}

func (l *linter) arg(node *parser.Node) {
	for _, word := range arguments(node) {
		name, value, hasValue := strings.Cut(word, "=")
		if len(l.stages) == 0 {
			if hasValue {
				l.globals[name] = l.expand(node.StartLine, "ARG", value, l.globals)
			}
			continue
		}
		if hasValue {
			l.locals[name] = l.tryExpand(value)
		} else if global, found := l.globals[name]; found {
			l.locals[name] = global
		}
	}
}

func (l *linter) env(node *parser.Node) {
	// The parser gives triples: name, value, separator.
	words := arguments(node)
	for i := 0; i+1 < len(words); i += 3 {
		l.locals[words[i]] = l.tryExpand(words[i+1])
	}
}

func (l *linter) copy(node *parser.Node) {
	verb := strings.ToUpper(node.Value)
	if count := len(arguments(node)); count < 2 {
		l.problems.addf(node.StartLine, "%s needs at least one source and a destination", verb)
	}
	for _, flag := range node.Flags {
		if from, found := strings.CutPrefix(flag, "--from="); found && verb == "COPY" {
			l.refer(node.StartLine, "COPY --from", l.expand(node.StartLine, "COPY --from", from, l.locals))
		}
	}
}

func (l *linter) mounts(node *parser.Node) {
	for _, flag := range node.Flags {
		mount, found := strings.CutPrefix(flag, "--mount=")
		if !found {
			continue
		}
		fields, err := csv.NewReader(strings.NewReader(mount)).Read()
		if err != nil {
			l.problems.addf(node.StartLine, "RUN --mount does not parse")
			continue
		}
		for _, field := range fields {
			key, from, _ := strings.Cut(field, "=")
			if strings.EqualFold(strings.TrimSpace(key), "from") && from != "" {
				l.refer(node.StartLine, "RUN --mount from", l.expand(node.StartLine, "RUN --mount", from, l.locals))
			}
		}
	}
}

// expand replaces variables; an image or stage that remains unknown is a problem.
func (l *linter) expand(line int, verb, word string, env environment) string {
	expanded, unset, err := l.lexer.ProcessWord(word, env)
	if err != nil {
		l.problems.addf(line, "%s: variables in %q do not parse: %v", verb, word, err)
		return ""
	}
	if expanded == "" && word != "" && verb != "ARG" {
		names := environment{}
		for name := range unset {
			names[name] = ""
		}
		if len(names) > 0 {
			l.problems.addf(line, "%s %s is empty: give %s a default value in an ARG before it", verb, word, strings.Join(names.Keys(), ", "))
		} else {
			l.problems.addf(line, "%s %s is empty", verb, word)
		}
	}
	return expanded
}

// tryExpand is expand for values that may never be used as a name.
func (l *linter) tryExpand(word string) string {
	expanded, _, err := l.lexer.ProcessWord(word, l.locals)
	if err != nil {
		return word
	}
	return expanded
}

// refer notes the use of a stage or an image.
func (l *linter) refer(line int, verb, name string) {
	switch {
	case name == "" || name == StageConfigs || l.stageNamed(name):
		return
	case verb == "FROM" && name == "scratch":
		return
	case strings.EqualFold(name, StageConfigs):
		l.problems.addf(line, "%s %s: write the stage's name as %s", verb, name, StageConfigs)
		return
	}
	if index, err := strconv.Atoi(name); err == nil && verb != "FROM" {
		// Stage 0 is configs, which stands before the custom text.
		if current := len(l.stages); index < 0 || index >= current {
			l.problems.addf(line, "%s=%s: there is no earlier stage of that number (0 is %s)", verb, name, StageConfigs)
		}
		l.numbered = append(l.numbered, line)
		return
	}
	l.forward = append(l.forward, reference{line: line, name: name, verb: verb})
}

func (l *linter) stageNamed(name string) bool {
	for _, s := range l.stages {
		if s.name != "" && s.name == name {
			return true
		}
	}
	return false
}

// finish checks what can be told only at the end.
func (l *linter) finish() {
	for _, use := range l.forward {
		switch {
		case l.stageNamed(use.name):
			l.problems.addf(use.line, "%s %s: that stage begins further down; only earlier ones can be used", use.verb, use.name)
		case !strings.ContainsAny(use.name, "/:@."):
			l.problems.addf(use.line, "%s %s: there is no stage of that name; an image needs its registry, as in registry.example.com/%s", use.verb, use.name, use.name)
		case !ValidReference(use.name):
			l.problems.addf(use.line, "%s %s: not a valid image name", use.verb, use.name)
		default:
			l.images = append(l.images, use.name)
		}
	}
	if len(l.stages) == 0 {
		l.problems.addf(0, "the last stage must be FROM %s AS %s; there is no FROM at all", StageConfigs, StageFinal)
		return
	}
	last := l.stages[len(l.stages)-1]
	if last.from != StageConfigs || last.name != StageFinal {
		l.problems.addf(last.steps[0].line, "the last stage must be FROM %s AS %s", StageConfigs, StageFinal)
	}
}

func (l *linter) externalImages() []string {
	var images []string
	seen := map[string]bool{}
	for _, image := range l.images {
		if !seen[image] {
			seen[image] = true
			images = append(images, image)
		}
	}
	return images
}

// arguments returns the words after an instruction and its flags.
func arguments(node *parser.Node) []string {
	var words []string
	for next := node.Next; next != nil; next = next.Next {
		words = append(words, next.Value)
	}
	return words
}
