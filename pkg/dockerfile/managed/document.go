package managed

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// document is a Dockerfile by its lines, with what may change in it.
type document struct {
	lines  []string // each with its end
	escape rune
	stages []*stage
	// nodes are the instructions; count is how many there are.
	nodes []*parser.Node
}

// stage is one FROM.
type stage struct {
	node         *parser.Node
	image, alias string
	was          [2]string // both, as written
	copies       []*copyFrom
}

// copyFrom is a COPY with --from.
type copyFrom struct {
	node     *parser.Node
	from, to string // to is empty when it stays
}

func parse(text string) (*document, error) {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading Dockerfile: %s%w", place(err), err)
	}
	d := &document{lines: slices.Collect(strings.Lines(text)), escape: result.EscapeToken, nodes: result.AST.Children}
	for _, node := range d.nodes {
		switch strings.ToLower(node.Value) {
		case command.From:
			next, err := stageOf(node)
			if err != nil {
				return nil, err
			}
			d.stages = append(d.stages, next)
		case command.Copy:
			if from, found := flag(node, "--from="); found && len(d.stages) > 0 {
				last := d.stages[len(d.stages)-1]
				last.copies = append(last.copies, &copyFrom{node: node, from: from})
			}
		}
	}
	if len(d.stages) == 0 {
		return nil, errors.New("reading Dockerfile: it has no FROM")
	}
	return d, nil
}

// place is where the parser stopped, for a message.
func place(err error) string {
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 && located.Locations[0][0].Start.Line > 0 {
		return fmt.Sprintf("line %d: ", located.Locations[0][0].Start.Line)
	}
	return ""
}

func stageOf(node *parser.Node) (*stage, error) {
	words := arguments(node)
	s := &stage{node: node}
	switch {
	case len(words) == 1:
	case len(words) == 3 && strings.EqualFold(words[1], "as"):
		s.alias = words[2]
	default:
		return nil, fmt.Errorf("reading Dockerfile: line %d: FROM takes an image or stage and, optionally, AS and a name", node.StartLine)
	}
	s.image = words[0]
	s.was = [2]string{s.image, s.alias}
	return s, nil
}

func flag(node *parser.Node, prefix string) (string, bool) {
	for _, flag := range node.Flags {
		if value, found := strings.CutPrefix(flag, prefix); found {
			return value, true
		}
	}
	return "", false
}

// arguments returns the words after an instruction and its flags.
func arguments(node *parser.Node) []string {
	var words []string
	for next := node.Next; next != nil; next = next.Next {
		words = append(words, next.Value)
	}
	return words
}

// render writes the document with instructions behind every FROM and at the end.
// It fails where the author's instructions would not be the same any more.
func (d *document) render(behindFrom, end []string) (string, error) {
	lines := slices.Clone(d.lines)
	last := d.nodes[len(d.nodes)-1]
	// An instruction may end with the file although it says that it goes on.
	if len(last.Heredocs) == 0 && len(behindFrom)+len(end) > 0 {
		lines[last.EndLine-1] = d.withoutContinuation(lines[last.EndLine-1])
	}
	for _, s := range d.stages {
		for _, c := range s.copies {
			if c.to != "" {
				replaceFlag(lines[c.node.StartLine-1:c.node.EndLine], "--from="+c.from, "--from="+c.to)
			}
		}
		at := s.node.EndLine - 1
		if s.was != [2]string{s.image, s.alias} {
			for i := s.node.StartLine - 1; i < at; i++ {
				lines[i] = ""
			}
			mark := ""
			if s.node.StartLine == 1 && strings.HasPrefix(d.lines[0], byteOrderMark) {
				mark = byteOrderMark
			}
			lines[at] = mark + s.text() + "\n"
		}
		for _, instruction := range behindFrom {
			lines[at] = terminated(lines[at]) + instruction + "\n"
		}
	}
	text := strings.Join(lines, "")
	for _, instruction := range end {
		text = terminated(text) + instruction + "\n"
	}
	return text, d.check(text, len(behindFrom)*len(d.stages)+len(end))
}

const byteOrderMark = "\xef\xbb\xbf"

func terminated(line string) string {
	if strings.HasSuffix(line, "\n") {
		return line
	}
	return line + "\n"
}

// text is the FROM that a changed stage gets.
func (s *stage) text() string {
	words := append([]string{"FROM"}, s.node.Flags...)
	words = append(words, s.image)
	if s.alias != "" {
		words = append(words, "AS", s.alias)
	}
	return strings.Join(words, " ")
}

// withoutContinuation drops the escape token that ends a line, and would join it
// with the next one.
func (d *document) withoutContinuation(line string) string {
	content := strings.TrimRight(line, " \t\r\n")
	token := string(d.escape)
	if !strings.HasSuffix(content, token) || strings.HasSuffix(content, token+token) {
		return line
	}
	return strings.TrimSuffix(content, token) + "\n"
}

// replaceFlag changes the first such flag in the lines of an instruction.
func replaceFlag(lines []string, from, to string) {
	for i, line := range lines {
		for at := 0; ; {
			next := strings.Index(line[at:], from)
			if next < 0 {
				break
			}
			at += next
			rest := line[at+len(from):]
			if rest == "" || strings.ContainsRune(" \t\r\n\\`", rune(rest[0])) {
				lines[i] = line[:at] + to + rest
				return
			}
			at += len(from)
		}
	}
}

// check compares the instructions of the new text with those of the old one.
func (d *document) check(text string, added int) error {
	changed, err := parse(text)
	if err != nil {
		return fmt.Errorf("changing the Dockerfile: %w", err)
	}
	if len(changed.nodes) != len(d.nodes)+added {
		last := d.nodes[len(d.nodes)-1]
		return fmt.Errorf("changing the Dockerfile: what is put behind line %d would be part of %s; end that instruction, such as by taking %c off its end", last.EndLine, last.Value, d.escape)
	}
	// A FROM and a COPY --from may be other ones.
	known, i := map[*parser.Node]bool{}, 0
	for _, s := range d.stages {
		known[s.node] = true
		for _, c := range s.copies {
			known[c.node] = c.to != ""
		}
	}
	for _, node := range d.nodes {
		for i < len(changed.nodes) && !same(node, changed.nodes[i], known[node]) {
			i++
		}
		if i == len(changed.nodes) {
			return fmt.Errorf("changing the Dockerfile: line %d would not be the same: %s", node.StartLine, node.Original)
		}
		i++
	}
	return nil
}

// same says whether an instruction is the author's; of one that was changed, the
// name is enough.
func same(was, is *parser.Node, changed bool) bool {
	if changed {
		return strings.EqualFold(was.Value, is.Value)
	}
	if was.Original != is.Original || len(was.Heredocs) != len(is.Heredocs) {
		return false
	}
	for i := range was.Heredocs {
		if was.Heredocs[i] != is.Heredocs[i] {
			return false
		}
	}
	return true
}
