package osbuild

import (
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// changes says, for people, why there is a build: what differs from the last one, and
// that it is not known whether it is needed, where the registry does not say.
func changes(d Desired, o Observed) []string {
	differences := differences(d, o)
	if a := o.Registry; a != nil && a.Image == d.Request.FinalImage && a.Err != nil {
		differences = append(differences, "the registry does not say whether it has this image already: "+brief(a.Err.Error()))
	}
	return differences
}

func differences(d Desired, o Observed) []string {
	last := o.newest()
	if last == nil {
		return []string{"first build of the pool"}
	}
	if last.InputsHash == "" {
		return []string{"the record of the last build cannot be read"}
	}
	var out []string
	was, is := last.Inputs, d.Fingerprint
	named := func(what, from, to string) {
		if from != to {
			out = append(out, fmt.Sprintf("%s changed from %q to %q", what, from, to))
		}
	}
	hashed := func(what, from, to string) {
		if from != to {
			out = append(out, what+" changed")
		}
	}
	named("rendered config", was.RenderedConfig, is.RenderedConfig)
	if was.RenderedConfig == is.RenderedConfig {
		hashed("content of the rendered config", was.MachineConfig, is.MachineConfig)
	}
	named("base image", was.BaseImage, is.BaseImage)
	named("extensions image", was.ExtensionsImage, is.ExtensionsImage)
	hashed("custom Dockerfile", was.CustomDockerfile, is.CustomDockerfile)
	if was.ConfigLayerOrder != is.ConfigLayerOrder {
		out = append(out, "order of the config layer changed")
	}
	named("release version", was.ReleaseVersion, is.ReleaseVersion)
	named("repository", was.Repository, is.Repository)
	named("architectures", was.Architectures, is.Architectures)
	if is.RebuildToken != "" && was.RebuildToken != is.RebuildToken {
		out = append(out, changeRebuild)
	}
	switch {
	case len(out) > 0:
	case was != (names.Inputs{}) && last.InputsHash != d.Request.ID:
		out = []string{"builder version changed"}
	case last.Outcome == Succeeded:
		out = []string{"the registry no longer has the image"}
	default:
		out = []string{retryAfter(last)}
	}
	return out
}

// retryAfter says what the try before ended with: once another succeeds, nothing else
// does.
func retryAfter(last *Record) string {
	if last.Reason == "" {
		return "retry"
	}
	return strings.TrimSuffix("retry after "+last.Reason+": "+brief(last.Message), ": ")
}

// brief is the first line of a message, and of a long one its beginning.
func brief(message string) string {
	const most = 200
	line, _, _ := strings.Cut(message, "\n")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// changeRebuild is the change that a new rebuild token makes.
const changeRebuild = "rebuild requested"
