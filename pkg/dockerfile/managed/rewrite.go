package managed

import (
	"fmt"
	"strings"
)

// Pair is a variable or a label. Of two with one name, the later counts.
type Pair struct{ Name, Value string }

// Image says that a name in a Dockerfile stands for another image
// (build.openshift.io/v1 ImageSource.as and ImageSource.from).
type Image struct {
	As   []string
	From string
}

// Changes are what a Build asks of its Dockerfile; the zero value asks for nothing.
type Changes struct {
	// From replaces the image of the last FROM (spec.strategy.dockerStrategy.from).
	From string
	// Env is set in every stage, behind its FROM (spec.strategy.dockerStrategy.env).
	// Values may use variables.
	Env []Pair
	// BuildEnv and Labels are set at the end, literally.
	BuildEnv, Labels []Pair
	// Hook is a command with its arguments that runs on the finished image. What it
	// writes is no part of that (spec.postCommit).
	Hook []string
	// Images are replaced where FROM or COPY --from name them exactly.
	Images []Image
}

// Rewrite returns the text with the changes made, in the order in which OpenShift
// makes them. The error says at which line a text does not parse, or that it has no
// FROM.
func Rewrite(text string, changes Changes) (string, error) {
	d, err := parse(text)
	if err != nil {
		return "", err
	}
	d.rebase(changes.From)
	var end []string
	if len(changes.BuildEnv) > 0 {
		end = append(end, d.instruction("ENV", changes.BuildEnv, d.literal))
	}
	if len(changes.Labels) > 0 {
		end = append(end, d.instruction("LABEL", changes.Labels, d.literal))
	}
	var env []string
	if len(changes.Env) > 0 {
		env = append(env, d.instruction("ENV", changes.Env, d.expanded))
	}
	if len(changes.Hook) > 0 {
		alias := d.nameLast()
		end = append(end, "FROM "+alias)
		end = append(end, env...)
		end = append(end, "RUN "+exec(changes.Hook), "FROM "+alias)
		end = append(end, env...)
	}
	d.replace(changes.Images)
	return d.render(env, end)
}

// rebase puts another image, if any, into the last FROM.
func (d *document) rebase(image string) {
	if image != "" {
		d.stages[len(d.stages)-1].image = image
	}
}

// nameLast returns the name of the last stage, and gives it one where it has none.
func (d *document) nameLast() string {
	last := d.stages[len(d.stages)-1]
	for i := 0; last.alias == ""; i++ {
		name := "appimage"
		if i > 0 {
			name = fmt.Sprintf("appimage%d", i)
		}
		if !d.stageNamed(name) {
			last.alias = name
		}
	}
	return last.alias
}

func (d *document) stageNamed(name string) bool {
	for _, s := range d.stages {
		if strings.EqualFold(s.alias, name) {
			return true
		}
	}
	return false
}

// replace puts other images in; the name of a stage above stands for that.
func (d *document) replace(images []Image) {
	by := map[string]string{}
	for _, image := range images {
		for _, as := range image.As {
			by[as] = image.From
		}
	}
	above := map[string]bool{}
	for _, s := range d.stages {
		if to, found := by[s.image]; found && !above[strings.ToLower(s.image)] {
			s.image = to
		}
		above[strings.ToLower(s.alias)] = true
		for _, c := range s.copies {
			if to, found := by[c.from]; found && !above[strings.ToLower(c.from)] {
				c.to = to
			}
		}
	}
}
