package executor

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/gitaddress"
)

// maxDockerfile is the longest source.dockerfile that OpenShift's API server takes.
const maxDockerfile = 60000

// dockerImage is the kind of the references that can be followed here.
const dockerImage = "DockerImage"

// labelKey is wider by the slash than what OpenShift's API server takes, since keys of
// image labels have prefixes as those of objects have.
var labelKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)*$`)

// validate returns all that is wrong with a Build, each with the path of its field:
// what OpenShift's API server refuses, and what needs OpenShift itself.
func validate(b *buildv1.Build) field.ErrorList {
	spec := field.NewPath("spec")
	problems := validateStrategy(b.Spec.Strategy, spec.Child("strategy"))
	problems = append(problems, validateSource(b.Spec, spec.Child("source"))...)
	problems = append(problems, validateOutput(b.Spec.Output, spec.Child("output"))...)
	problems = append(problems, validatePostCommit(b.Spec.PostCommit, spec.Child("postCommit"))...)
	if seconds := b.Spec.CompletionDeadlineSeconds; seconds != nil && *seconds <= 0 {
		problems = append(problems, field.Invalid(spec.Child("completionDeadlineSeconds"), *seconds, "must be a positive number of seconds, or left out"))
	}
	return problems
}

func validateSource(spec buildv1.BuildSpec, at *field.Path) field.ErrorList {
	source := spec.Source
	var problems field.ErrorList
	fail := func(e *field.Error) { problems = append(problems, e) }
	docker := spec.Strategy.DockerStrategy != nil
	if docker && source.Git == nil && source.Binary == nil && source.Dockerfile == nil && len(source.Images) == 0 {
		fail(field.Invalid(at, "", "must provide a value for at least one of git, binary, dockerfile, images"))
	}
	if source.Git != nil && source.Binary != nil {
		fail(field.Invalid(at, "", "must provide a value for one of git and binary, not for both"))
	}
	if source.Binary != nil {
		fail(field.Forbidden(at.Child("binary"), "nobody here takes the upload; use git, or put the files into an image and name it in source.images"))
	}
	if d := source.Dockerfile; d != nil && len(*d) > maxDockerfile {
		fail(field.TooLong(at.Child("dockerfile"), "", maxDockerfile))
	}
	if source.Git != nil {
		problems = append(problems, validateGit(*source.Git, at.Child("git"))...)
	}
	if leavesRoot(source.ContextDir) {
		fail(field.Invalid(at.Child("contextDir"), source.ContextDir, "must lie within the source"))
	}
	problems = append(problems, requireName(source.SourceSecret, at.Child("sourceSecret"))...)
	for i, s := range source.Secrets {
		problems = append(problems, validateInput(s.Secret, "secret", s.DestinationDir, docker, at.Child("secrets").Index(i))...)
	}
	for i, m := range source.ConfigMaps {
		problems = append(problems, validateInput(m.ConfigMap, "configMap", m.DestinationDir, docker, at.Child("configMaps").Index(i))...)
	}
	return append(problems, validateImages(source.Images, at.Child("images"))...)
}

func validateGit(git buildv1.GitBuildSource, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	// It may hold a password.
	if _, err := gitaddress.Read(git.URI); err != nil {
		problems = append(problems, field.Invalid(at.Child("uri"), "", err.Error()))
	}
	// git takes what begins so for an option.
	if strings.HasPrefix(git.Ref, "-") {
		problems = append(problems, field.Invalid(at.Child("ref"), git.Ref, "must not begin with a dash"))
	}
	for _, proxy := range []struct {
		name  string
		value *string
	}{{"httpProxy", git.HTTPProxy}, {"httpsProxy", git.HTTPSProxy}} {
		if proxy.value == nil || *proxy.value == "" {
			continue
		}
		address := *proxy.value
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			problems = append(problems, field.Invalid(at.Child(proxy.name), "", "is no URL such as http://proxy.example.com:3128"))
		}
	}
	return problems
}

// validateInput checks a Secret or a ConfigMap among the sources.
func validateInput(ref corev1.LocalObjectReference, kind, destination string, docker bool, at *field.Path) field.ErrorList {
	problems := requireName(&ref, at.Child(kind))
	dir := at.Child("destinationDir")
	switch {
	case leavesRoot(destination):
		problems = append(problems, field.Invalid(dir, destination, "must lie within the source"))
	case docker && path.IsAbs(destination):
		problems = append(problems, field.Invalid(dir, destination, "must be relative to the build's context, since the strategy is Docker"))
	}
	return problems
}

func validateImages(images []buildv1.ImageSource, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	names := map[string]bool{}
	for i, image := range images {
		at := at.Index(i)
		problems = append(problems, validateImage(image.From, at.Child("from"))...)
		problems = append(problems, requireName(image.PullSecret, at.Child("pullSecret"))...)
		if len(image.Paths) == 0 && len(image.As) == 0 {
			problems = append(problems, field.Required(at.Child("paths"), "paths to copy, or in as the names that the image replaces"))
		}
		for j, p := range image.Paths {
			at := at.Child("paths").Index(j)
			if !path.IsAbs(p.SourcePath) {
				problems = append(problems, field.Invalid(at.Child("sourcePath"), p.SourcePath, "must be an absolute path in the image"))
			}
			if p.DestinationDir == "" {
				problems = append(problems, field.Required(at.Child("destinationDir"), "where the files go; use . for the root of the source"))
			}
			if path.IsAbs(p.DestinationDir) || leavesRoot(p.DestinationDir) {
				problems = append(problems, field.Invalid(at.Child("destinationDir"), p.DestinationDir, "must be a relative path within the source"))
			}
		}
		for j, name := range image.As {
			at := at.Child("as").Index(j)
			switch {
			case name == "":
				problems = append(problems, field.Required(at, "the name that the image replaces"))
			case names[name]:
				problems = append(problems, field.Duplicate(at, name))
			}
			names[name] = true
		}
	}
	return problems
}

func validateOutput(output buildv1.BuildOutput, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	if to := output.To; to != nil {
		problems = append(problems, validateImage(*to, at.Child("to"))...)
		if strings.Contains(to.Name, "@") {
			problems = append(problems, field.Invalid(at.Child("to", "name"), to.Name, "has a digest, which is known only afterwards; use registry/repository:tag"))
		}
	}
	problems = append(problems, requireName(output.PushSecret, at.Child("pushSecret"))...)
	names := map[string]bool{}
	for i, label := range output.ImageLabels {
		at := at.Child("imageLabels").Index(i).Child("name")
		if label.Name == "" {
			problems = append(problems, field.Required(at, "the key of the label"))
			continue
		}
		if !labelKey.MatchString(label.Name) {
			problems = append(problems, field.Invalid(at, label.Name, "must consist of letters, digits, '-', '_', '.' and single '/' between them"))
		}
		if names[label.Name] {
			problems = append(problems, field.Duplicate(at, label.Name))
		}
		names[label.Name] = true
	}
	return problems
}

func validatePostCommit(hook buildv1.BuildPostCommitSpec, at *field.Path) field.ErrorList {
	if hook.Script != "" && len(hook.Command) > 0 {
		return field.ErrorList{field.Invalid(at, "", "must have script or command, not both")}
	}
	return nil
}

// validateImage checks a reference to an image. The kinds of OpenShift's image API
// are resolved by its image registry, which other clusters have not.
func validateImage(ref corev1.ObjectReference, at *field.Path) field.ErrorList {
	switch ref.Kind {
	case dockerImage:
	case "ImageStreamTag", "ImageStreamImage":
		return field.ErrorList{field.Invalid(at.Child("kind"), ref.Kind, fmt.Sprintf(
			"%s.kind %s needs the OpenShift image registry; use kind %s with a pullspec as its name", strings.TrimPrefix(at.String(), "spec."), ref.Kind, dockerImage))}
	case "":
		return field.ErrorList{field.Required(at.Child("kind"), "use "+dockerImage)}
	default:
		return field.ErrorList{field.NotSupported(at.Child("kind"), ref.Kind, []string{dockerImage})}
	}
	if ref.Namespace != "" {
		return field.ErrorList{field.Invalid(at.Child("namespace"), ref.Namespace, "not valid beside kind "+dockerImage+", whose name says it all; leave it out")}
	}
	if ref.Name == "" {
		return field.ErrorList{field.Required(at.Child("name"), "the image's pullspec")}
	}
	if err := buildconfig.CheckPullspec(ref.Name); err != nil {
		return field.ErrorList{field.Invalid(at.Child("name"), ref.Name, err.Error())}
	}
	return nil
}

// requireName checks a reference to a Secret or a ConfigMap that may be left out.
func requireName(ref *corev1.LocalObjectReference, at *field.Path) field.ErrorList {
	if ref == nil {
		return nil
	}
	if ref.Name == "" {
		return field.ErrorList{field.Required(at.Child("name"), "the object's name")}
	}
	var problems field.ErrorList
	for _, problem := range validation.IsDNS1123Subdomain(ref.Name) {
		problems = append(problems, field.Invalid(at.Child("name"), ref.Name, problem))
	}
	return problems
}

// leavesRoot says whether a path leads out of the folder that it is relative to.
func leavesRoot(p string) bool {
	clean := path.Clean(p)
	return clean == ".." || strings.HasPrefix(clean, "../")
}
