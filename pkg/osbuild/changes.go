package osbuild

import (
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// changes says, for people, what differs between the last build and the one
// that is wanted.
func changes(d Desired, o Observed) []string {
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
	const most = 200
	if last.Reason == "" {
		return "retry"
	}
	cause, _, _ := strings.Cut(last.Message, "\n")
	if len(cause) > most {
		cause = strings.ToValidUTF8(cause[:most], "") + "…"
	}
	return strings.TrimSuffix("retry after "+last.Reason+": "+cause, ": ")
}

// changeRebuild is the change that a new rebuild token makes.
const changeRebuild = "rebuild requested"
