package managed

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Instruction is one of a Dockerfile, by its name in capitals and its line.
type Instruction struct {
	Name string
	Line int
}

// Unkept returns the author's instructions that a Dockerfile with these changes sets for
// its result, and for which an OCI image has no place (OCI image specification, config).
func Unkept(text string, changes Changes, arguments map[string]string) ([]Instruction, error) {
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	d.rebase(changes.From)
	d.replace(changes.Images)
	w, stages := newWalk(d, arguments), d.stages
	var alias string
	var set []Instruction
	handedOn := map[string][]Instruction{} // by the lower-case name of a stage
	for _, node := range d.nodes {
		switch name := strings.ToLower(node.Value); name {
		case command.From:
			s := stages[w.count]
			w.count++
			w.locals = variables{}
			below := handedOn[strings.ToLower(w.try(s.image, w.globals))]
			set = slices.DeleteFunc(slices.Clone(below), func(i Instruction) bool { return i.Name == "ONBUILD" })
			alias = strings.ToLower(s.alias)
		case command.Arg:
			w.arg(node)
		case command.Healthcheck, command.Shell, command.Onbuild:
			set = with(set, name, node)
		}
		if alias != "" {
			handedOn[alias] = set
		}
	}
	return set, nil
}

// with adds an instruction, in place of an earlier one where only one counts.
func with(set []Instruction, name string, node *parser.Node) []Instruction {
	next := Instruction{strings.ToUpper(name), node.StartLine}
	if name != command.Onbuild {
		set = slices.DeleteFunc(slices.Clone(set), func(i Instruction) bool { return i.Name == next.Name })
	}
	if words := arguments(node); name == command.Healthcheck && len(words) > 0 && strings.EqualFold(words[0], "none") {
		return set
	}
	return append(slices.Clone(set), next)
}
