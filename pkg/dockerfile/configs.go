package dockerfile

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

// The templates are filled by plain replacement: a program that links package
// text/template keeps every exported method of every type, which made the
// controller's a good deal larger.
var (
	//go:embed configs.tmpl
	configsTemplate string
	//go:embed context.tmpl
	contextTemplate string
	//go:embed packages.tmpl
	packagesTemplate string
	//go:embed install-packages.sh
	installScript string
)

// RepositoriesDir is where the step that installs packages finds, or makes, the
// directory of repositories, which it has to write.
const RepositoriesDir = "/etc/yum.repos.d"

// ErrBaseImage is returned for a base image that cannot stand in a FROM.
var ErrBaseImage = errors.New("invalid base image")

// ErrExtensionsImage is returned for an extensions image that cannot stand in a
// RUN, and where packages are wanted without one.
var ErrExtensionsImage = errors.New("invalid extensions image")

// ErrBuilderImage is returned for a builder image that cannot stand in a FROM.
var ErrBuilderImage = errors.New("invalid builder image")

// Configs is what the stage configs is made of.
type Configs struct {
	// Base is the base image.
	Base string
	// Packages are installed on it, from Extensions, an image.
	Packages   ospackages.Wanted
	Extensions string
	// ConfigLast is true when the config is put on what the steps leave: then it is
	// not in this stage.
	ConfigLast bool
	// InContext is where a build that no container of ours prepares finds the config;
	// nil for a config layer in the build context.
	InContext *InContext
}

// InContext is a MachineConfig in a build context, and what makes a layer of it
// there. It does not go together with ConfigLast.
type InContext struct {
	// BuilderImage has os-image-builder.
	BuilderImage string
	// Chunks are files in the context that hold a buildspec.Payload's, in order;
	// SHA256 is the payload's.
	Chunks []string
	SHA256 string
}

// stage is the text of the stages up to configs, and what lays the config in once
// more.
func (c InContext) stage(base string) (text, again string, err error) {
	if !fitsInstruction(c.BuilderImage) {
		return "", "", fmt.Errorf("rendering Dockerfile: %w %q", ErrBuilderImage, c.BuilderImage)
	}
	var copies strings.Builder
	for i, file := range c.Chunks {
		fmt.Fprintf(&copies, "COPY %s /machine-config/%04d\n", file, i)
	}
	text = strings.NewReplacer("{{ .Builder }}", c.BuilderImage, "{{ .BuilderStage }}", stageBuilder, "{{ .Copies }}", copies.String(),
		"{{ .Base }}", base, "{{ .SHA256 }}", c.SHA256, "{{ .Stage }}", StageConfigs).Replace(contextTemplate)
	return text, text[strings.LastIndex(text, "RUN "):], nil
}

// stepOfPackages is the number of the RUN that installs packages, in its stage.
func (c Configs) stepOfPackages() int {
	if c.ConfigLast {
		return 2
	}
	return 3
}

// block is the text of the stage. The config is laid in twice where packages are
// installed between: before, so that their scripts find the presets of units, and
// after, since a package puts its own files in the place of others'.
func (c Configs) block() (string, error) {
	if !fitsInstruction(c.Base) {
		return "", fmt.Errorf("rendering Dockerfile: %w %q", ErrBaseImage, c.Base)
	}
	stage, again, err := c.withoutPackages()
	if err != nil {
		return "", err
	}
	if c.Packages.IsZero() {
		return stage, nil
	}
	if !fitsInstruction(c.Extensions) || strings.Contains(c.Extensions, ",") {
		return "", fmt.Errorf("rendering Dockerfile: %w %q", ErrExtensionsImage, c.Extensions)
	}
	if err := c.Packages.Check(); err != nil {
		return "", fmt.Errorf("rendering Dockerfile: %w", err)
	}
	packages := c.Packages.Packages()
	return stage + strings.NewReplacer(
		"{{ .KernelType }}", kernelOf(c.Packages), "{{ .Extensions }}", strings.Join(c.Packages.Extensions, " "), "{{ .Image }}", c.Extensions,
		"{{ .Install }}", strings.Join(packages.Install, " "), "{{ .Optional }}", strings.Join(packages.Optional, " "),
		"{{ .Remove }}", strings.Join(packages.Remove, " "), "{{ .Script }}", installScript,
	).Replace(packagesTemplate) + again, nil
}

// withoutPackages is the text of the stage as it begins, and what lays the config in
// once more.
func (c Configs) withoutPackages() (text, again string, err error) {
	if c.InContext != nil {
		return c.InContext.stage(c.Base)
	}
	text = strings.NewReplacer("{{ .Base }}", c.Base, "{{ .Stage }}", StageConfigs, "{{ .Layer }}", ConfigLayerFile).Replace(configsTemplate)
	from, add, _ := strings.Cut(text, "\n")
	if c.ConfigLast {
		return from + "\n", "", nil
	}
	return text, add, nil
}

func kernelOf(w ospackages.Wanted) string {
	if w.KernelType == "" {
		return ospackages.KernelDefault
	}
	return w.KernelType
}

// fitsInstruction says whether an image's name is one word to every builder.
func fitsInstruction(image string) bool {
	return image != "" && !strings.ContainsAny(image, " \t\r\n$\\`\"'#{}")
}

// readConfigs reads what block wrote at the beginning of a text, and returns its
// length; 0 where the text begins otherwise.
func readConfigs(text string) (Configs, int) {
	lines := strings.SplitN(text, "\n", 5)
	fields := strings.Fields(lines[0])
	if len(fields) != 4 || fields[0] != "FROM" || fields[2] != "AS" || fields[3] != StageConfigs {
		return Configs{}, 0
	}
	for _, last := range []bool{false, true} {
		c := Configs{Base: fields[1], ConfigLast: last}
		if at := c.stepOfPackages(); len(lines) > at {
			c.Packages, c.Extensions = readPackages(lines[at-1], lines[at])
		}
		if block, err := c.block(); err == nil && strings.HasPrefix(text, block) && beginsStage(text[len(block):]) {
			return c, len(block)
		}
	}
	return Configs{}, 0
}

// beginsStage: the next stage follows on this one, and nothing that another version
// would have written.
func beginsStage(text string) bool {
	fields := strings.Fields(text)
	return len(fields) > 0 && strings.EqualFold(fields[0], "FROM")
}

// What stands in the template before the values that are read back.
const (
	commentKernel     = "# spec.kernelType: "
	commentExtensions = "; spec.extensions: "
	stepOfImage       = "RUN --mount=type=bind,from="
)

// readPackages reads the comment before the step that installs packages, and the
// step's first line.
func readPackages(comment, step string) (ospackages.Wanted, string) {
	comment, isOurs := strings.CutPrefix(comment, commentKernel)
	kernel, names, found := strings.Cut(comment, commentExtensions)
	step, isStep := strings.CutPrefix(step, stepOfImage)
	if !isOurs || !found || !isStep {
		return ospackages.Wanted{}, ""
	}
	image, _, _ := strings.Cut(step, ",")
	return ospackages.New(strings.Fields(names), kernel), image
}
