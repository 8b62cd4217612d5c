package configlayer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// What bootc reads kernel arguments from: TOML with the key kargs, an array of
// single arguments (bootc documentation, "Kernel arguments").
const (
	bootcProgram = "/usr/bin/bootc"
	bootcKargs   = "/usr/lib/bootc/kargs.d/50-machine-config.toml"
)

// kernelArguments gives a base with bootc the arguments to boot with.
func (b *build) kernelArguments(args []string) error {
	const at = "spec.kernelArguments"
	var single []string
	for i, text := range args {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return configErrorf(fmt.Sprintf("%s.%d", at, i), "%q holds a control character, which no kernel argument has", text)
		}
		single = append(single, splitArguments(text)...)
	}
	if len(single) == 0 {
		return nil
	}
	if _, err := b.view.stat(bootcProgram); err != nil {
		b.warnf(at, "skipped: the base image has no %s to set them", bootcProgram)
		return nil
	}
	var text bytes.Buffer
	text.WriteString("kargs = ")
	// A JSON array of strings without control characters is a TOML one.
	list := json.NewEncoder(&text)
	list.SetEscapeHTML(false)
	if err := list.Encode(single); err != nil {
		return configErrorf(at, "writing %s: %w", bootcKargs, err)
	}
	if err := b.view.replaceFile(bootcKargs, text.Bytes(), 0o644); err != nil {
		return configErrorf(at, "writing %s: %w", bootcKargs, err)
	}
	return nil
}

// splitArguments splits at spaces outside of double quotes, as the kernel does
// (kernel documentation, "The kernel's command-line parameters").
func splitArguments(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}
