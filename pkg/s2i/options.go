package s2i

import (
	"io/fs"
	"path"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

// Labels by which a builder image tells how it is used, and which the result
// carries where the Build set them (source-to-image, builder image documentation).
const (
	labelScriptsURL           = "io.openshift.s2i.scripts-url"
	labelScriptsURLDeprecated = "io.s2i.scripts-url"
	labelDestination          = "io.openshift.s2i.destination"
	labelAssembleUser         = "io.openshift.s2i.assemble-user"
)

// Labels that every result has.
const (
	labelDisplayName = "io.k8s.display-name"
	labelBuildImage  = "io.openshift.build.image"
)

// What holds where neither the Build nor the builder image says anything.
const (
	defaultDestination = "/tmp"
	defaultScriptsDir  = "/usr/libexec/s2i"
	defaultWorkingDir  = "/opt/app-root/src"
	defaultUser        = "1001"
)

// stageCached is the stage of the previous image.
const stageCached = "cached"

// Builder is the builder image, as it was pulled.
type Builder struct {
	// Name is the image as the Build names it; labels and errors tell it.
	Name string
	// From is what FROM names, where that is another reference than Name.
	From string
	// Labels, User and WorkingDir are those of its config.
	Labels           map[string]string
	User, WorkingDir string
	// OnBuild are its ONBUILD instructions.
	OnBuild []string
	// HasFile says whether a file is in the image, links followed; nil where nobody
	// can tell. It is asked for assemble only.
	HasFile func(path string) bool
}

// Injection is a Secret or ConfigMap that assemble finds as files.
type Injection struct {
	// Name is the object's.
	Name string
	// Destination is a folder of the image. A relative one is below the builder
	// image's working directory, and empty means that directory.
	Destination string
	// Keys is the mounted volume: each file at its top is a key, links followed;
	// names that begin with ".." are the kubelet's own.
	Keys fs.FS
}

// Fetched is a script that the caller fetched.
type Fetched struct {
	// URL is the one of Download.URLs that had it.
	URL     string
	Content []byte
}

// Options are the inputs of Downloads and Plan. A field's name in brackets is the
// Build's it comes from.
type Options struct {
	// Source is the whole source, an fs.ReadLinkFS such as os.DirFS returns. Links in
	// it are copied as links, and followed only where they lead to something in it.
	Source fs.FS
	// ContextDir is the folder of the source that is built; empty for all of it
	// (spec.source.contextDir).
	ContextDir string
	Builder    Builder
	// Scripts is where scripts are that go before all others: an http, https or
	// image URL, or empty (spec.strategy.sourceStrategy.scripts).
	Scripts string
	// Fetched has the scripts that Downloads asked for and that exist, by name.
	Fetched map[string]Fetched
	// Previous is the image of the build before, of which artifacts are taken;
	// empty where the build is not incremental, or there is no such image.
	Previous string
	// Output is what the image is pushed as, if it is (spec.output.to.name).
	Output string
	// Env are the variables of the build, values resolved; a later one of the same
	// name counts. Those of .s2i/environment come before them.
	Env []corev1.EnvVar
	// Labels are the image's; a later one of the same name counts.
	Labels []buildv1.ImageLabel
	// Secrets are removed when assemble has run, ConfigMaps stay in the image
	// (spec.source.secrets, spec.source.configMaps).
	Secrets, ConfigMaps []Injection
	// AllowedUIDs restricts which users assemble may run as, as whoever runs Builds wants
	// it; none for no restriction.
	AllowedUIDs UIDs
}

// planner is Options with what was found out from them.
type planner struct {
	Options
	root        string // the context dir in Source, free of links
	destination string
	workingDir  string
	user        string
	strategy    location // of Options.Scripts
	label       location // of the builder image's label
	ignored     ignoreRules
}

func newPlanner(o Options) (*planner, error) {
	p := &planner{Options: o}
	for _, find := range []func() error{p.findImages, p.findTriggers, p.findUser, p.findDirs, p.findLocations, p.findRoot, p.findIgnored} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// findImages checks the images that FROM names.
func (p *planner) findImages() error {
	if p.Builder.From == "" {
		p.Builder.From = p.Builder.Name
	}
	if !dockerfile.ValidReference(p.Builder.From) {
		return failf(ReasonGenericFailed, "builder image %q is no image reference; name it as [registry/]repository[:tag][@digest]", p.Builder.From)
	}
	if p.Previous == "" {
		return nil
	}
	if !dockerfile.ValidReference(p.Previous) {
		return failf(ReasonGenericFailed, "previous image %q is no image reference; an incremental build takes it from spec.output.to", p.Previous)
	}
	if p.Builder.From == stageCached {
		return failf(ReasonGenericFailed, "builder image %q has the name of a stage of an incremental build; name it with its registry", p.Builder.From)
	}
	return nil
}

// findDirs reads where things go in the image.
func (p *planner) findDirs() error {
	p.destination, p.workingDir = defaultDestination, defaultWorkingDir
	if label := p.Builder.Labels[labelDestination]; label != "" {
		if err := checkDir(label); err != nil {
			return failf(ReasonDockerfileCreationFailed, "builder image %q: label %s: %w", p.Builder.Name, labelDestination, err)
		}
		p.destination = path.Clean(label)
	}
	if dir := p.Builder.WorkingDir; dir != "" {
		if err := checkDir(dir); err != nil {
			return failf(ReasonDockerfileCreationFailed, "builder image %q: working directory: %w", p.Builder.Name, err)
		}
		p.workingDir = path.Clean(dir)
	}
	return nil
}
