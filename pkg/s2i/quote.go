package s2i

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxLine is how long a line of a Dockerfile may be in bytes; builders' parsers read
// lines into a buffer of 64 KiB.
const maxLine = 60000

// plainWord is what needs no quotes in an instruction or a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/@%+:,~-]+$`)

// quoteValue writes the value of an ENV or LABEL: in quotes, in which a builder
// replaces no variable.
func quoteValue(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(value) + `"`
}

// quoteShell writes a word of a RUN or CMD for a POSIX shell.
func quoteShell(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// copyInstruction writes a COPY, as a list where a word needs quotes. Builders
// replace variables in a list too, and read < as the start of a here-document.
func copyInstruction(flags, from, to string) string {
	if plainWord.MatchString(from) && plainWord.MatchString(to) {
		return "COPY " + flags + " " + from + " " + to
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`, `$`, `\$`, `<`, `\<`)
	// A list of strings can always be marshalled.
	list, _ := json.Marshal([]string{escape.Replace(from), escape.Replace(to)})
	return "COPY " + flags + " " + string(list)
}

// checkDir says why a folder of the image cannot be one in a Dockerfile.
func checkDir(dir string) error {
	switch {
	case !path.IsAbs(dir):
		return fmt.Errorf("the folder %q is not absolute; begin it with /", dir)
	case !isPrintable(dir):
		return fmt.Errorf("the folder %q has a character that cannot be printed; rename it", dir)
	case len(dir) > 4096:
		return fmt.Errorf("the folder has a name of %d bytes, and may have 4096", len(dir))
	}
	return nil
}

// isPrintable is true for what moves no terminal and ends no line.
func isPrintable(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// checkVariable says why a variable cannot stand in an ENV. It shows no value.
func checkVariable(v corev1.EnvVar) error {
	if problems := validation.IsEnvVarName(v.Name); len(problems) > 0 {
		return fmt.Errorf("%q is no name of an environment variable; use letters, digits, \"_\", \"-\" and \".\", and no digit first", v.Name)
	}
	if err := checkValue(v.Name, v.Value); err != nil {
		return fmt.Errorf("variable %w", err)
	}
	return nil
}

// checkLabel says why a label cannot stand in a LABEL.
func checkLabel(name, value string) error {
	if name == "" || strings.Contains(name, "=") || !isPrintable(name) {
		return fmt.Errorf("%q is no name of a label; use characters that can be printed, and no \"=\"", name)
	}
	if err := checkValue(name, value); err != nil {
		return fmt.Errorf("label %w", err)
	}
	return nil
}

func checkValue(name, value string) error {
	switch {
	case !utf8.ValidString(value):
		return fmt.Errorf("%s: its value is not UTF-8", name)
	case strings.ContainsAny(value, "\n\x00"):
		return fmt.Errorf("%s: its value has a line break or a zero byte, which a Dockerfile cannot hold; encode it, or use a ConfigMap or Secret as a file", name)
	case len(quoteValue(name))+len(quoteValue(value)) > maxLine:
		return fmt.Errorf("%s: its value has %d bytes, which is too long for a line of a Dockerfile; use a ConfigMap or Secret as a file", name, len(value))
	}
	return nil
}
