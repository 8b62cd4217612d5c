package dockerfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// StepSources is what a rendered file's steps read besides its text.
type StepSources struct {
	// Base and Extensions are digests of images; the latter is empty for none.
	Base, Extensions string
	// Images are digests by the names in the file.
	Images map[string]string
	// Context is a hash of the build context.
	Context string
}

// StepKeys identifies what each step of a rendered file leaves, by what that is a
// function of as far as one can know: a list for each stage, the first that of
// configs, with a key for each instruction, the FROM being the first. What may
// depend on more than its text and the step before depends on all that it may read.
func (f *File) StepKeys(from StepSources) ([][]string, error) {
	// Images by what they are, not by what they are called.
	text, err := f.Render(Configs{Base: "base", Packages: f.configs.Packages, Extensions: "extensions", ConfigLast: f.configs.ConfigLast})
	if err != nil {
		return nil, err
	}
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the steps of the Dockerfile: %w", err)
	}
	k := stepKeys{file: f, from: from}
	for _, node := range result.AST.Children {
		k.add(node)
	}
	return k.stages, nil
}

type stepKeys struct {
	file   *File
	from   StepSources
	global []string // what stands before the first FROM
	stages [][]string
}

func (k *stepKeys) add(node *parser.Node) {
	text := node.Original
	for _, document := range node.Heredocs {
		text += "\n" + document.Content
	}
	if strings.EqualFold(node.Value, command.From) {
		k.stages = append(k.stages, []string{names.StepKey(names.StepInputs{
			Before: k.origin(), Text: strings.Join(node.Flags, " "), Others: k.global,
		})})
		return
	}
	if len(k.stages) == 0 {
		k.global = append(k.global, text)
		return
	}
	in := names.StepInputs{Before: k.last(len(k.stages) - 1), Text: text}
	if readsOthers(node) {
		in.Others = k.others()
	}
	if readsContext(node) {
		in.Others = append(in.Others, k.from.Context)
	}
	current := &k.stages[len(k.stages)-1]
	*current = append(*current, names.StepKey(in))
}

func (k *stepKeys) last(stage int) string { return k.stages[stage][len(k.stages[stage])-1] }

// origin is what the next stage begins with.
func (k *stepKeys) origin() string {
	next := len(k.stages)
	if next == 0 {
		return k.from.Base
	}
	from := StageConfigs
	if next <= len(k.file.stages) {
		from = k.file.stages[next-1].from
	}
	if strings.EqualFold(from, StageConfigs) {
		return k.last(0)
	}
	for i := range next - 1 {
		if strings.EqualFold(from, k.file.stages[i].name) {
			return k.last(i + 1)
		}
	}
	if digest, found := k.from.Images[from]; found {
		return digest
	}
	return strings.Join(k.others(), " ")
}

// others is all that an instruction can read of other stages and images.
func (k *stepKeys) others() []string {
	others := []string{k.from.Base, k.from.Extensions}
	for i := range len(k.stages) {
		others = append(others, k.last(i))
	}
	for _, name := range slices.Sorted(maps.Keys(k.from.Images)) {
		others = append(others, name, k.from.Images[name])
	}
	return others
}

func readsOthers(node *parser.Node) bool {
	return slices.ContainsFunc(node.Flags, func(flag string) bool { return strings.Contains(strings.ToLower(flag), "from=") })
}

// readsContext: what is mounted is the context unless another source or kind is
// named.
func readsContext(node *parser.Node) bool {
	name := strings.ToLower(node.Value)
	if name == command.Add || name == command.Copy {
		return !readsOthers(node)
	}
	return slices.ContainsFunc(node.Flags, func(flag string) bool {
		flag = strings.ToLower(flag)
		return strings.HasPrefix(flag, "--mount=") && (!strings.Contains(flag, "type=") || strings.Contains(flag, "type=bind"))
	})
}
