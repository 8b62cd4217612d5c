package s2i

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// userPattern is what a user may be called: a number, or a name as useradd(8)
// takes it, with capitals and dots.
var userPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// findUser says which user assemble runs as.
func (p *planner) findUser() error {
	origin := "label " + labelAssembleUser
	name := p.Builder.Labels[labelAssembleUser]
	if name == "" {
		origin, name = "USER", p.Builder.User
	}
	// A group may follow; what is copied belongs to group 0 in any case.
	name, _, _ = strings.Cut(name, ":")
	if name == "" {
		origin, name = "no user, so the default", defaultUser
	}
	if !userPattern.MatchString(name) {
		return failf(ReasonGenericFailed, "builder image %q: %s: %q is no user; use a number, or a name of letters, digits, dots, dashes and underscores", p.Builder.Name, origin, name)
	}
	if !p.AllowedUIDs.allow(name) {
		return failf(ReasonAssembleUserForbidden, "builder image %q: %s: assemble would run as %q, and only users with a number in %s are allowed; use a builder image whose label %s has one of them",
			p.Builder.Name, origin, name, p.AllowedUIDs, labelAssembleUser)
	}
	p.user = name
	return nil
}

// How much an error shows of ONBUILD instructions.
const maxTriggers, maxTrigger = 3, 60

// findTriggers refuses a builder image whose own instructions would run with the
// build's: a USER among them goes before that of assemble.
func (p *planner) findTriggers() error {
	triggers := p.Builder.OnBuild
	if len(triggers) == 0 {
		return nil
	}
	var shown []string
	for _, trigger := range triggers[:min(len(triggers), maxTriggers)] {
		if runes := []rune(trigger); len(runes) > maxTrigger {
			trigger = string(runes[:maxTrigger]) + "…"
		}
		shown = append(shown, strconv.Quote(trigger))
	}
	list := strings.Join(shown, ", ")
	if more := len(triggers) - len(shown); more > 0 {
		list += " and " + strconv.Itoa(more) + " more"
	}
	return failf(ReasonGenericFailed, "builder image %q has ONBUILD instructions: %s; they would run before assemble, as a user of their choice; name an image without them in spec.strategy.sourceStrategy.from",
		p.Builder.Name, list)
}

// UIDs are ranges of user IDs; none allow every user, also one with a name.
type UIDs []uidRange

type uidRange struct{ from, to uint32 }

// ParseUIDs reads a list such as "1-" or "0,1000-1999": numbers and ranges, whose
// ends may be missing, separated by commas. An empty text is no range.
func ParseUIDs(text string) (UIDs, error) {
	if text == "" {
		return nil, nil
	}
	var uids UIDs
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		r := uidRange{from: 0, to: math.MaxUint32}
		good := isRange && from+to != "" || !isRange && from != ""
		if from != "" {
			good = good && parseUID(from, &r.from)
		}
		if !isRange {
			r.to = r.from
		} else if to != "" {
			good = good && parseUID(to, &r.to)
		}
		if !good || r.from > r.to {
			return nil, failf(ReasonGenericFailed, "allowed users %q: %q is no range; write N, N-, -N or N-M", text, part)
		}
		uids = append(uids, r)
	}
	return uids, nil
}

func parseUID(text string, to *uint32) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	*to = uint32(n)
	return err == nil
}

// String writes what ParseUIDs reads.
func (u UIDs) String() string {
	var parts []string
	for _, r := range u {
		switch {
		case r.from == r.to:
			parts = append(parts, strconv.FormatUint(uint64(r.from), 10))
		case r.to == math.MaxUint32:
			parts = append(parts, strconv.FormatUint(uint64(r.from), 10)+"-")
		default:
			parts = append(parts, strconv.FormatUint(uint64(r.from), 10)+"-"+strconv.FormatUint(uint64(r.to), 10))
		}
	}
	return strings.Join(parts, ",")
}

func (u UIDs) allow(user string) bool {
	if len(u) == 0 {
		return true
	}
	var uid uint32
	if !parseUID(user, &uid) {
		return false
	}
	for _, r := range u {
		if r.from <= uid && uid <= r.to {
			return true
		}
	}
	return false
}
