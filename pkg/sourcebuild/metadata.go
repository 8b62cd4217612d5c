package sourcebuild

import (
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile/managed"
	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
)

// buildEnv are the variables by which an image tells of its Build (openshift/builder).
func buildEnv(build *buildv1.Build, info *gitsource.Info) []managed.Pair {
	env := []managed.Pair{{Name: "OPENSHIFT_BUILD_NAME", Value: build.Name}, {Name: "OPENSHIFT_BUILD_NAMESPACE", Value: build.Namespace}}
	if info == nil {
		return env
	}
	env = append(env, managed.Pair{Name: "OPENSHIFT_BUILD_SOURCE", Value: info.URI})
	if info.Ref != "" {
		env = append(env, managed.Pair{Name: "OPENSHIFT_BUILD_REFERENCE", Value: info.Ref})
	}
	return append(env, managed.Pair{Name: "OPENSHIFT_BUILD_COMMIT", Value: info.Commit})
}

// labels are those of the result: of the Build and its source, sorted and without
// empty ones, and then spec.output.imageLabels, which count before them.
func labels(build *buildv1.Build, info *gitsource.Info) []managed.Pair {
	const prefix = "io.openshift.build."
	var own []managed.Pair
	add := func(name, value string) {
		if value != "" {
			own = append(own, managed.Pair{Name: prefix + name, Value: value})
		}
	}
	if info != nil {
		if info.Author != (gitsource.User{}) {
			add("commit.author", fmt.Sprintf("%s <%s>", info.Author.Name, info.Author.Email))
		}
		add("commit.date", info.Date)
		add("commit.id", info.Commit)
		add("commit.message", info.Message)
		add("commit.ref", info.Ref)
	}
	add("name", build.Name)
	add("namespace", build.Namespace)
	if info != nil {
		add("source-context-dir", build.Spec.Source.ContextDir)
		add("source-location", info.URI)
	}
	at := map[string]int{}
	var all []managed.Pair
	for _, label := range own {
		at[label.Name] = len(all)
		all = append(all, label)
	}
	for _, label := range build.Spec.Output.ImageLabels {
		if i, found := at[label.Name]; found {
			all[i].Value = label.Value
			continue
		}
		at[label.Name] = len(all)
		all = append(all, managed.Pair{Name: label.Name, Value: label.Value})
	}
	return all
}

// hook is the command of spec.postCommit, as the API describes its forms; nil for none.
// There is no entrypoint of the image in it.
func hook(post buildv1.BuildPostCommitSpec) []string {
	if post.Script != "" {
		command := []string{"/bin/sh", "-ic", post.Script}
		if len(post.Args) > 0 {
			// $0, and then what the script calls $1, $2, …
			command = append(append(command, "/bin/sh"), post.Args...)
		}
		return command
	}
	return append(append([]string(nil), post.Command...), post.Args...)
}
