package s2i

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const environmentFile = ".s2i/environment"

// parseEnvironment reads the text of .s2i/environment: a line is NAME=VALUE, empty,
// or a comment that begins with #. White space around names and values is no part of
// them, quotes are. The error names the line, and of it no more than a name, since
// values may be confidential.
func parseEnvironment(text string) ([]corev1.EnvVar, error) {
	var variables []corev1.EnvVar
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("%s:%d: the line has no \"=\"; write NAME=VALUE, or # before a comment", environmentFile, number)
		}
		variable := corev1.EnvVar{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
		if err := checkVariable(variable); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", environmentFile, number, err)
		}
		variables = append(variables, variable)
	}
	return variables, nil
}

// environment returns the variables of the image: the source's and then the Build's.
func (p *planner) environment() ([]corev1.EnvVar, error) {
	variables, err := p.sourceEnvironment()
	if err != nil {
		return nil, err
	}
	for _, variable := range p.Env {
		if err := checkVariable(variable); err != nil {
			return nil, failf(ReasonDockerfileCreationFailed, "spec.strategy.sourceStrategy.env: %w", err)
		}
		variables = append(variables, variable)
	}
	return variables, nil
}

func (p *planner) sourceEnvironment() ([]corev1.EnvVar, error) {
	if p.ignores(environmentFile) {
		return nil, nil
	}
	text, err := p.readSmall(environmentFile)
	if err != nil {
		return nil, failf(ReasonFileSystemFailed, "%w", err)
	}
	variables, err := parseEnvironment(text)
	if err != nil {
		return nil, failf(ReasonDockerfileCreationFailed, "%w", err)
	}
	return variables, nil
}
