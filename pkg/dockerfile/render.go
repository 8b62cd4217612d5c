package dockerfile

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

// configsTemplate is filled by plain replacement: a program that links package
// text/template keeps every exported method of every type, which made the
// controller's a good deal larger.
//
//go:embed configs.tmpl
var configsTemplate string

// ErrBaseImage is returned for a base image that cannot stand in a FROM.
var ErrBaseImage = errors.New("invalid base image")

// ErrNotRendered is returned for a text that Render did not make.
var ErrNotRendered = errors.New("not a rendered Dockerfile")

// Render checks a custom Dockerfile and returns the complete one. It fails with
// a *LintError or ErrBaseImage.
func Render(baseImage, custom string) (string, error) {
	file, err := Parse(custom)
	if err != nil {
		return "", err
	}
	return file.Render(baseImage)
}

// Render returns the complete Dockerfile: the custom text with the configs
// stage before its first FROM. A text without content is followed by that stage
// and a bare final one.
func (f *File) Render(baseImage string) (string, error) {
	block, err := configsBlock(baseImage, f.last)
	if err != nil {
		return "", err
	}
	if !f.HasContent() {
		text := f.text
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + block + "FROM " + StageConfigs + " AS " + StageFinal + "\n", nil
	}
	at := f.firstFrom()
	return f.text[:at] + block + f.text[at:], nil
}

func configsBlock(baseImage string, configLast bool) (string, error) {
	if baseImage == "" || strings.ContainsAny(baseImage, " \t\r\n$\\`\"'#{}") {
		return "", fmt.Errorf("rendering Dockerfile: %w %q", ErrBaseImage, baseImage)
	}
	fill := strings.NewReplacer("{{ .Base }}", baseImage, "{{ .Stage }}", StageConfigs, "{{ .Layer }}", ConfigLayerFile)
	block := fill.Replace(configsTemplate)
	if configLast {
		block = block[:strings.IndexByte(block, '\n')+1]
	}
	return block, nil
}

// firstFrom returns the offset at which the first FROM begins: that of its line,
// but after a byte order mark, which has to stay the first thing in the file.
func (f *File) firstFrom() int {
	offset := 0
	for range f.stages[0].steps[0].line - 1 {
		offset += strings.IndexByte(f.text[offset:], '\n') + 1
	}
	if offset == 0 && strings.HasPrefix(f.text, byteOrderMark) {
		offset = len(byteOrderMark)
	}
	return offset
}

// ParseRendered reads back what Render made. The result's Custom, Images and
// Find are those of the custom text; Base is the base image, and IsConfigLast
// what it was for Render. It fails with
// ErrNotRendered or a *LintError.
func ParseRendered(rendered string) (*File, error) {
	found := findConfigsBlock(rendered)
	if found.length == 0 {
		return nil, fmt.Errorf("reading Dockerfile: %w: it has no stage %s", ErrNotRendered, StageConfigs)
	}
	file, err := Parse(rendered[:found.at] + rendered[found.at+found.length:])
	if err != nil {
		return nil, err
	}
	file.base, file.last = found.base, found.last
	return file, nil
}

// block is what Render inserted.
type block struct {
	at, length int
	base       string
	last       bool
}

// findConfigsBlock looks for the first place where the text is exactly what
// Render inserts for some base image.
func findConfigsBlock(rendered string) block {
	offset := 0
	for line := range strings.Lines(rendered) {
		start := offset
		offset += len(line)
		if start == 0 && strings.HasPrefix(line, byteOrderMark) {
			start = len(byteOrderMark)
			line = line[start:]
		}
		fields := strings.Fields(line)
		if len(fields) != 4 || fields[0] != "FROM" || fields[2] != "AS" || fields[3] != StageConfigs {
			continue
		}
		for _, last := range []bool{false, true} {
			text, err := configsBlock(fields[1], last)
			if err == nil && strings.HasPrefix(rendered[start:], text) {
				return block{at: start, length: len(text), base: fields[1], last: last}
			}
		}
	}
	return block{}
}
