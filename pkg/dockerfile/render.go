package dockerfile

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotRendered is returned for a text that Render did not make.
var ErrNotRendered = errors.New("not a rendered Dockerfile")

// Render checks a custom Dockerfile and returns the complete one. It fails with
// a *LintError, ErrBaseImage or ErrExtensionsImage.
func Render(configs Configs, custom string) (string, error) {
	file, err := Parse(custom)
	if err != nil {
		return "", err
	}
	return file.Render(configs)
}

// Render returns the complete Dockerfile: the custom text with the configs
// stage before its first FROM. A text without content is followed by that stage
// and a bare final one.
func (f *File) Render(configs Configs) (string, error) {
	block, err := configs.block()
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
// Find are those of the custom text; Configs is what Render got. It fails with
// ErrNotRendered or a *LintError.
func ParseRendered(rendered string) (*File, error) {
	at, configs, length := findConfigs(rendered)
	if length == 0 {
		return nil, fmt.Errorf("reading Dockerfile: %w: it has no stage %s as this version writes it", ErrNotRendered, StageConfigs)
	}
	file, err := Parse(rendered[:at] + rendered[at+length:])
	if err != nil {
		return nil, err
	}
	file.configs = configs
	return file, nil
}

// findConfigs looks for the first place where the text is exactly what Render
// inserts for some images and packages.
func findConfigs(rendered string) (at int, configs Configs, length int) {
	offset := 0
	for line := range strings.Lines(rendered) {
		start := offset
		offset += len(line)
		if start == 0 && strings.HasPrefix(line, byteOrderMark) {
			start = len(byteOrderMark)
		}
		if configs, length := readConfigs(rendered[start:]); length > 0 {
			return start, configs, length
		}
	}
	return 0, Configs{}, 0
}
