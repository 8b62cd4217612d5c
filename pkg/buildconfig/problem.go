package buildconfig

import "strings"

// Problem is one thing that an administrator has to mend.
type Problem struct {
	// Object is kind/name, such as "ConfigMap/on-cluster-build-config".
	Object string
	// Key within the object; empty when the object itself is the problem.
	Key string
	// Text says what was found, what is allowed and what to do.
	Text string
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Object + ": " + p.Text
	}
	return p.Object + ", key " + p.Key + ": " + p.Text
}

// Problems is every problem found in one reading of the settings.
type Problems []Problem

// String joins the problems into one text for a condition's message.
func (ps Problems) String() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}

func (ps *Problems) add(object, key, text string) {
	*ps = append(*ps, Problem{Object: object, Key: key, Text: text})
}
