package configlayer

import (
	"strings"
)

// install is what a unit file's [Install] section asks for.
type install struct {
	wantedBy, requiredBy, upheldBy []string
	alias, also                    []string
	defaultInstance                string
}

func (i *install) hasRules() bool {
	return len(i.wantedBy)+len(i.requiredBy)+len(i.upheldBy)+len(i.alias) > 0
}

// installSection returns just the [Install] sections of a unit file's text, each
// assignment on a line of its own: what read understands.
func installSection(text string) string {
	var out strings.Builder
	inside := false
	for line := range logicalLines(text) {
		if strings.HasPrefix(line, "[") {
			inside = line == "[Install]"
			if inside && out.Len() == 0 {
				out.WriteString("[Install]\n")
			}
			continue
		}
		if inside {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// logicalLines yields a unit file's lines without comments and blanks, continued
// lines joined.
func logicalLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		joined := ""
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
				continue
			}
			if rest, ok := strings.CutSuffix(line, "\\"); ok {
				joined += rest + " "
				continue
			}
			line = strings.TrimSpace(joined + line)
			joined = ""
			if line != "" && !yield(line) {
				return
			}
		}
		if joined = strings.TrimSpace(joined); joined != "" {
			yield(joined)
		}
	}
}

// read adds the [Install] section of a unit file or of a drop-in. Later
// assignments add to lists; an empty one clears them.
func (i *install) read(text string) {
	inside := false
	for line := range logicalLines(text) {
		if strings.HasPrefix(line, "[") {
			inside = line == "[Install]"
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !inside || !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "WantedBy":
			set(&i.wantedBy, value)
		case "RequiredBy":
			set(&i.requiredBy, value)
		case "UpheldBy":
			set(&i.upheldBy, value)
		case "Alias":
			set(&i.alias, value)
		case "Also":
			set(&i.also, value)
		case "DefaultInstance":
			i.defaultInstance = value
		}
	}
}

func set(list *[]string, value string) {
	if value == "" {
		*list = nil
		return
	}
	for word := range strings.FieldsSeq(value) {
		*list = append(*list, strings.Trim(word, `"'`))
	}
}

// expand replaces the specifiers that the unit's own name answers. ok is false
// when the word holds another one, which only a running system can answer.
func expand(word, unit string) (expanded string, ok bool) {
	suffixless := unit
	if dot := strings.LastIndexByte(unit, '.'); dot >= 0 {
		suffixless = unit[:dot]
	}
	prefix, instance, _ := strings.Cut(suffixless, "@")
	last := prefix[strings.LastIndexByte(prefix, '-')+1:]
	var out strings.Builder
	for {
		before, after, found := strings.Cut(word, "%")
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		if after == "" {
			return "", false
		}
		switch after[0] {
		case 'n':
			out.WriteString(unit)
		case 'N':
			out.WriteString(suffixless)
		case 'p', 'P':
			out.WriteString(prefix)
		case 'i', 'I':
			out.WriteString(instance)
		case 'j', 'J':
			out.WriteString(last)
		case '%':
			out.WriteByte('%')
		default:
			return "", false
		}
		word = after[1:]
	}
}
