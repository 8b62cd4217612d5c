package redact

import (
	"regexp"
	"strings"
)

// Private keys in PEM form (RFC 7468), and what looks like one: OpenSSH's, PGP's.
var (
	keyBegin = regexp.MustCompile(`-----BEGIN [^-]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnd   = regexp.MustCompile(`-----END [^-]*PRIVATE KEY(?: BLOCK)?-----`)
	// keyInLine has both in one line, as when it was printed without quotes.
	keyInLine = regexp.MustCompile(keyBegin.String() + `.*?` + keyEnd.String())
	// bodyLine can stand between the two: base64, maybe in quotes or behind a
	// prefix if it is long; a header; nothing.
	bodyLine = regexp.MustCompile(`^[\s"'>|]*[A-Za-z0-9+/=]*[\s"',\\]*$` +
		`|(?:^|[\s"'>|])[A-Za-z0-9+/]{40,}={0,2}[\s"',\\]*$` +
		`|^\s*(?:Proc-Type|DEK-Info|Version|Comment|Hash): `)
	base64Line = regexp.MustCompile(`^\s*[A-Za-z0-9+/]+={0,2}\s*$`)
	// hashLine is base64 as well, and no secret.
	hashLine = regexp.MustCompile(`^\s*(?:[0-9a-f]+|[0-9A-F]+)\s*$`)
)

const (
	// anyBegin and anyEnd stand in the bounds of a certificate, too.
	anyBegin, anyEnd = "-----BEGIN ", "-----END "
	// part begins the part of a log that another container wrote
	// (pkg/backend/pod): what one prints must not hide what the next one says.
	part = "==> "
	// closing is what may follow a key where it was in quotes.
	closing = " \t\"',;}])\\"
	// fewest is how many lines of one width make a key without its bounds.
	fewest = 3
)

// hideKeys returns lines in which a mark stands in place of each private key. A
// log is read from its end, so that the first lines of a key may be cut off, or
// all but some in its middle. The lines are its own to change.
func hideKeys(lines []string) []string {
	out := make([]string, 0, len(lines))
	for i := 0; i < len(lines); {
		line := keyInLine.ReplaceAllLiteralString(lines[i], Mark)
		if ends := keyEnd.FindAllStringIndex(line, -1); ends != nil {
			for len(out) > 0 && isBody(out[len(out)-1]) {
				out = out[:len(out)-1]
			}
			line = Mark + rest(line[ends[len(ends)-1][1]:])
		}
		i++
		if begin := keyBegin.FindStringIndex(line); begin != nil {
			line = line[:begin[0]] + Mark
			i = afterKey(lines, i)
		}
		out = append(out, line)
	}
	return hideBodies(out)
}

// afterKey returns where lines go on after a key whose first line is the one
// before from. If it does not end, it is as long as it can be one.
func afterKey(lines []string, from int) int {
	for i := from; i < len(lines) && !isPart(lines[i]); i++ {
		end := keyEnd.FindStringIndex(lines[i])
		begin := strings.Index(lines[i], anyBegin)
		if end != nil && (begin < 0 || begin > end[0]) {
			if lines[i] = rest(lines[i][end[1]:]); lines[i] == "" {
				i++
			}
			return i
		}
		if begin >= 0 {
			break
		}
	}
	for from < len(lines) && isBody(lines[from]) {
		from++
	}
	return from
}

// hideBodies hides what has neither begin nor end: lines of base64 in the width
// that keys have. Those of something else, which has, stay.
func hideBodies(lines []string) []string {
	out := make([]string, 0, len(lines))
	for i := 0; i < len(lines); {
		end := i
		for end < len(lines) && base64Line.MatchString(lines[end]) {
			end++
		}
		if end == i {
			out = append(out, lines[i])
			i++
			continue
		}
		public := i > 0 && strings.Contains(lines[i-1], anyBegin) || end < len(lines) && strings.Contains(lines[end], anyEnd)
		if public {
			out = append(out, lines[i:end]...)
		} else {
			out = append(out, hideRuns(lines[i:end])...)
		}
		i = end
	}
	return out
}

// hideRuns is hideBodies of lines that are base64, all of them.
func hideRuns(lines []string) []string {
	out := make([]string, 0, len(lines))
	for i := 0; i < len(lines); {
		end := i
		for end < len(lines) && isKeyWide(lines[end]) && width(lines[end]) == width(lines[i]) {
			end++
		}
		if end-i < fewest {
			end = max(end, i+1)
			out = append(out, lines[i:end]...)
			i = end
			continue
		}
		// The last line of a key is shorter, in fours.
		if end < len(lines) && width(lines[end]) < width(lines[i]) && width(lines[end])%4 == 0 {
			end++
		}
		out = append(out, Mark)
		i = end
	}
	return out
}

func isPart(line string) bool { return strings.HasPrefix(line, part) }

func isBody(line string) bool { return !isPart(line) && bodyLine.MatchString(line) }

// isKeyWide is true of base64 as OpenSSL and PGP (64), OpenSSH (70) and MIME
// (76) break it.
func isKeyWide(line string) bool {
	switch width(line) {
	case 64, 70, 76:
		return !hashLine.MatchString(line)
	}
	return false
}

func width(line string) int { return len(strings.TrimSpace(line)) }

// rest is what follows a key in its line, unless that only closes what it was in.
func rest(text string) string {
	if strings.Trim(text, closing) == "" {
		return ""
	}
	return text
}
