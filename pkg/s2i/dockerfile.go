package s2i

import (
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// artifactsTar is where save-artifacts' tar is in both stages. It is not below the
// destination, which the previous image need not have.
const artifactsTar = "/tmp/artifacts.tar"

// dockerfile writes the Dockerfile.
func (p *planner) dockerfile(own scripts, injected []injection) (string, error) {
	labels, err := p.labels()
	if err != nil {
		return "", err
	}
	variables, err := p.environment()
	if err != nil {
		return "", err
	}
	chown := "--chown=" + p.user + ":0"
	saveArtifacts, assemble, run := p.command(own, scriptSaveArtifacts), p.command(own, scriptAssemble), p.command(own, scriptRun)
	var lines []string
	add := func(parts ...string) { lines = append(lines, strings.Join(parts, "")) }
	incremental := p.Previous != ""
	if incremental {
		add("FROM ", p.Previous, " AS ", stageCached)
		if own.has(scriptSaveArtifacts) {
			add(copyInstruction(chown, path.Join(scriptsDir, scriptSaveArtifacts), path.Join(p.destination, "scripts", scriptSaveArtifacts)))
		}
		add("USER ", p.user)
		add("RUN if [ -s ", saveArtifacts, " ]; then ", saveArtifacts, " > ", artifactsTar, "; else touch ", artifactsTar, "; fi")
		add("")
	}
	add("FROM ", p.Builder.From)
	add(pairs("LABEL", labels))
	if len(variables) > 0 {
		add(pairs("ENV", words(variables)))
	}
	if incremental {
		add(copyInstruction(chown+" --from="+stageCached, artifactsTar, artifactsTar))
	}
	if len(own.files) > 0 {
		add(copyInstruction(chown, scriptsDir, path.Join(p.destination, "scripts")))
	}
	add(copyInstruction(chown, sourceDir, path.Join(p.destination, "src")))
	for _, in := range injected {
		add(copyInstruction(chown, in.dir, in.destination))
	}
	add("USER ", p.user)
	if incremental {
		artifacts := quoteShell(path.Join(p.destination, "artifacts"))
		add("RUN if [ -s ", artifactsTar, " ]; then mkdir -p ", artifacts, "; tar -xf ", artifactsTar, " -C ", artifacts, "; fi && rm ", artifactsTar)
	}
	add("RUN ", assemble)
	if remove := removal(injected); remove != "" {
		add(remove)
	}
	add("CMD ", run)
	return strings.Join(lines, "\n") + "\n", nil
}

// command returns a script's path in the image, for a shell.
func (p *planner) command(own scripts, name string) string {
	if own.has(name) {
		return quoteShell(path.Join(p.destination, "scripts", name))
	}
	return quoteShell(path.Join(own.imageDir, name))
}

// labels returns those of the image as words of a LABEL, in order of their names.
func (p *planner) labels() ([]string, error) {
	labels := map[string]string{labelBuildImage: p.Builder.Name}
	if p.Output != "" {
		labels[labelDisplayName] = p.Output
	}
	for _, label := range p.Labels {
		labels[label.Name] = label.Value
	}
	// These two say how the image was made, and are not for the Build to change.
	switch {
	case p.strategy.dir != "":
		labels[labelScriptsURL] = "image://" + p.strategy.dir
	case p.strategy.url != nil:
		at := withoutQuery(*p.strategy.url)
		at.User = nil
		labels[labelScriptsURL] = at.String()
	}
	if p.Builder.Labels[labelDestination] != "" {
		labels[labelDestination] = p.destination
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if err := checkLabel(name, labels[name]); err != nil {
			return nil, failf(ReasonDockerfileCreationFailed, "%w", err)
		}
		words = append(words, quoteValue(name)+"="+quoteValue(labels[name]))
	}
	return words, nil
}

func words(variables []corev1.EnvVar) []string {
	var words []string
	for _, v := range variables {
		words = append(words, v.Name+"="+quoteValue(v.Value))
	}
	return words
}

// pairs writes an instruction with a line for each word.
func pairs(instruction string, words []string) string {
	return instruction + " " + strings.Join(words, " \\\n"+strings.Repeat(" ", len(instruction)+1))
}

// removal writes the step that removes the Secrets' files. What assemble has moved
// away is no failure; what cannot be removed is.
func removal(injected []injection) string {
	var commands []string
	for _, in := range injected {
		for _, name := range in.remove {
			commands = append(commands, "rm -f "+quoteShell(name))
		}
	}
	if len(commands) == 0 {
		return ""
	}
	return "RUN " + strings.Join(commands, " && \\\n    ")
}
