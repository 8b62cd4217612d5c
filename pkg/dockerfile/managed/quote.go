package managed

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// instruction writes ENV or LABEL with all pairs, each value through quote.
func (d *document) instruction(name string, pairs []Pair, quote func(string) string) string {
	words := []string{name}
	for _, pair := range pairs {
		words = append(words, d.literal(pair.Name)+"="+quote(pair.Value))
	}
	return strings.Join(words, " ")
}

// literal quotes a text that stays what it is.
func (d *document) literal(text string) string { return d.quoted(text, `"$`+string(d.escape)) }

// expanded quotes a text in which variables are replaced by their values.
func (d *document) expanded(text string) string { return d.quoted(text, `"`+string(d.escape)) }

// quoted puts the escape token before each of special. What no line can hold is
// written as in Go, such as \n: the language has no way to say it.
func (d *document) quoted(text, special string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case strings.ContainsRune(special, r):
			out.WriteRune(d.escape)
			out.WriteRune(r)
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			escaped := strconv.QuoteRune(r)
			escaped = escaped[1 : len(escaped)-1]
			if d.escape == '\\' {
				escaped = `\` + escaped
			}
			out.WriteString(escaped)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// exec is a command in the form that no shell reads.
func exec(command []string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// Strings can be encoded, and a buffer takes them.
	_ = encoder.Encode(command)
	return strings.TrimSpace(out.String())
}
