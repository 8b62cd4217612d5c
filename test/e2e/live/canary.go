package live

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Login is what a registry asks for.
type Login struct{ Host, User, Password string }

// NewCanary invents a login of a registry that does not exist.
func NewCanary() Login {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	return Login{"canary.example.com", "canary", "canary-" + hex.EncodeToString(random[:])}
}

// Pattern is a regular expression for passwords of such logins, as they are and
// in base64, that does not match itself.
func (l Login) Pattern() string {
	begin, random, _ := strings.Cut(l.Password, "-")
	begin += "-"
	patterns := []string{fmt.Sprintf("%c[%c]%s[0-9a-f]{%d}", begin[0], begin[1], begin[2:], len(random))}
	for _, form := range encodings(begin) {
		patterns = append(patterns, fmt.Sprintf("%c[%c]%s[0-9A-Za-z+/]{%d}", form[0], form[1], form[2:], len(random)))
	}
	return strings.Join(patterns, "|")
}

// needles are the forms in which a password may turn up.
type needles [][]byte

func needlesOf(logins ...Login) (all needles) {
	for _, l := range logins {
		all = append(append(all, []byte(l.Password)), encodings(l.Password)...)
	}
	return all
}

// encodings are what base64 makes of a text, wherever in a longer text it
// stands: the digits that depend on nothing before or after it.
func encodings(text string) (forms [][]byte) {
	for offset := range 3 {
		padded := append(make([]byte, offset), text...)
		digits := base64.RawStdEncoding.EncodeToString(padded)
		forms = append(forms, []byte(digits[(offset*8+5)/6:len(padded)*8/6]))
	}
	return forms
}

// in says whether a text holds one of them.
func (n needles) in(text []byte) bool {
	for _, form := range n {
		if bytes.Contains(text, form) {
			return true
		}
	}
	return false
}

// inStream is for what is too long to be held: it reads to the end, or to the
// first find.
func (n needles) inStream(from io.Reader) (found bool, err error) {
	longest := 0
	for _, form := range n {
		longest = max(longest, len(form))
	}
	buffer := make([]byte, 0, 256<<10)
	for {
		got, err := from.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+got]
		if n.in(buffer) {
			return true, nil
		}
		if keep := len(buffer) - longest + 1; keep > 0 {
			buffer = buffer[:copy(buffer, buffer[keep:])]
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}
