package imagebuilder

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

// checkArchitecture refuses packages that are not made for an image's platform.
func checkArchitecture(config string, wanted ospackages.Wanted, platform string) error {
	_, rest, _ := strings.Cut(platform, "/")
	if err := wanted.CheckArchitecture(architectureOf(rest)); err != nil {
		return fail(api.ReasonInvalidRenderedConfig, fmt.Errorf("MachineConfig %q cannot be built: %w", config, err))
	}
	return nil
}

// images is how many a build pulls.
func (p *preparation) images() int {
	count := 1 + len(p.named)
	if p.extensions != nil {
		count++
	}
	return count
}

// installFailure says what is missing for the packages that the MachineConfig asks
// for. With that known another try is no use; of the rest nobody can tell.
func installFailure(step *FailedStep, log *buildah.Log, configs dockerfile.Configs, platform string) error {
	failed := fmt.Sprintf("installing %s from the extensions image %s failed", configs.Packages, configs.Extensions)
	if missing := missingPackages(log.Output.Lines()); len(missing) > 0 {
		return &Failure{Reason: api.ReasonExtensionsFailed, Err: fmt.Errorf("%s: %s", failed, strings.Join(missing, "; ")), Step: step}
	}
	message := fmt.Errorf("%s with exit code %d", failed, step.ExitCode)
	if log.ExitCode == 0 && log.Cause != "" {
		message = fmt.Errorf("%s: %s", failed, log.Cause)
	}
	return &Failure{Reason: api.ReasonBuildFailed, Err: explainForeign(message, platform, log), Step: step}
}

// maxMissing is how many things that are missing a message names.
const maxMissing = 10

// What the step that installs packages says itself, and what rpm-ostree and dnf,
// which share a solver, say of packages that do not go together.
var missingLines = []struct {
	line *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`^packages: (.+)$`), "$1"},
	{regexp.MustCompile(`nothing provides (.+) needed by (\S+)`), "nothing provides $1, which $2 needs"},
	{regexp.MustCompile(`package (\S+)(?: from \S+)? requires (.+?), but none of the providers can be installed`), "nothing that can be installed provides $2, which $1 needs"},
	{regexp.MustCompile(`package (\S+)(?: from \S+)? conflicts with (.+?) provided by (\S+)`), "$1 conflicts with $3"},
	{regexp.MustCompile(`file (\S+) from install of (\S+) conflicts with file from package (\S+)`), "$2 and $3 both have $1"},
}

// missingPackages reads from the output of that step what stood in its way.
func missingPackages(lines []string) []string {
	var found []string
	for _, line := range lines {
		for _, known := range missingLines {
			match := known.line.FindStringSubmatchIndex(line)
			if match == nil {
				continue
			}
			text := string(known.line.ExpandString(nil, known.text, line, match))
			if !slices.Contains(found, text) && len(found) < maxMissing {
				found = append(found, text)
			}
		}
	}
	return found
}
