package arch

// module is the path of the product's module; the tables below leave it out.
const module = "github.com/machine-os-builder/machine-os-builder/"

// pure packages compute values from values. They import each other, the
// foundations, API types and parsers, and neither wait, log, nor ask anybody.
// Of the back-ends only the interface with its values is among them.
var pure = []string{
	"pkg/backend",
	"pkg/buildconfig",
	"pkg/buildpod",
	"pkg/buildreport",
	"pkg/buildspec",
	"pkg/configlayer",
	"pkg/dockerconfig",
	"pkg/dockerfile",
	"pkg/dockerfile/managed",
	"pkg/executor",
	"pkg/gitaddress",
	"pkg/ignition/spec2",
	"pkg/mcp",
	"pkg/osbuild",
	"pkg/ospackages",
	"pkg/poolstatus",
	"pkg/proxy",
	"pkg/redact",
	"pkg/registriesconf",
	"pkg/render",
	"pkg/retention",
	"pkg/s2i",
}

// foundations are what every package may import.
var foundations = []string{"pkg/api", "pkg/names", "pkg/ignition", "pkg/version"}

// A layer says which of the module's own packages the matched ones may import.
// A pattern ends in "/*" for "each folder directly below". Foundations are
// allowed to all layers that do not say otherwise.
type layer struct {
	packages []string
	may      []string
	// alone is for packages that import not even the foundations.
	alone bool
}

// layers are read from the top: the first layer that matches a package counts.
// A package that none matches is an error, so that a new one gets its place.
var layers = []layer{
	{packages: []string{"pkg/api", "pkg/version", "pkg/ignition"}, alone: true},
	{packages: []string{"pkg/names"}, alone: true, may: []string{"pkg/api"}},
	{packages: []string{"pkg/backend"}, may: []string{"pkg/buildspec"}},
	{packages: pure, may: pure},
	{packages: []string{"pkg/metrics"}, may: pure},
	{packages: []string{"pkg/kube"}, may: pure},
	{packages: []string{"pkg/registry"}, may: pure},
	{packages: []string{"pkg/buildah/buildahtest", "pkg/registry/registrytest", "pkg/kube/kubetest"}},
	{packages: []string{"pkg/handover"}, may: []string{"pkg/registry"}},
	{packages: []string{"pkg/steplog"}, may: pure},
	{packages: []string{"pkg/imagestore"}, may: []string{"pkg/steplog"}},
	{packages: []string{"pkg/registryaccess"}, may: append([]string{"pkg/registry"}, pure...)},
	{packages: []string{"pkg/buildah"}, may: append([]string{"pkg/handover", "pkg/registry", "pkg/steplog"}, pure...)},
	{packages: []string{"pkg/gitsource"}, may: pure},
	{packages: []string{"pkg/backend/conformance", "pkg/backend/fake"}, may: []string{"pkg/backend", "pkg/buildspec"}},
	{packages: []string{"pkg/backend/inputs"}, may: []string{"pkg/backend", "pkg/buildspec", "pkg/kube"}},
	{packages: []string{"pkg/backend/podlog"}, may: []string{"pkg/backend"}},
	{packages: []string{"pkg/backend/chosen"}, may: []string{"pkg/backend", "pkg/buildspec"}},
	{packages: []string{"pkg/backend/*"}, may: []string{"pkg/backend", "pkg/backend/inputs", "pkg/backend/podlog", "pkg/buildspec", "pkg/buildpod", "pkg/dockerfile", "pkg/kube"}},
	{packages: []string{"pkg/controller"}, may: []string{"pkg/kube", "pkg/metrics"}},
	{packages: []string{"pkg/controller/*"}, may: append([]string{"pkg/controller", "pkg/registry", "pkg/kube", "pkg/metrics"}, pure...)},
	{packages: []string{"pkg/process"}, may: []string{"pkg/kube", "pkg/metrics"}},
	{packages: []string{"pkg/imagebuilder"}, may: append([]string{"pkg/buildah", "pkg/handover", "pkg/imagestore", "pkg/registry", "pkg/registryaccess", "pkg/steplog"}, pure...)},
	{packages: []string{"pkg/sourcebuild"}, may: append([]string{"pkg/buildah", "pkg/gitsource", "pkg/handover", "pkg/registry", "pkg/registryaccess", "pkg/steplog"}, pure...)},
	{packages: []string{"cmd/convert-ignition"}, may: []string{"pkg/ignition/spec2"}},
	{packages: []string{"cmd/os-image-builder"}, may: append([]string{"pkg/imagebuilder", "pkg/sourcebuild", "pkg/registry", "pkg/registryaccess", "pkg/steplog"}, pure...)},
	{packages: []string{"cmd/*"}, may: append([]string{"pkg/controller", "pkg/controller/*", "pkg/backend/*", "pkg/registry", "pkg/kube", "pkg/metrics", "pkg/process"}, pure...)},
}

// A ban keeps packages away from others.
type ban struct {
	why      string
	packages []string
	// imports are import paths or, ending in "/", everything below one.
	imports []string
	// linked extends the ban to what the imports import in turn.
	linked bool
}

var bans = []ban{
	{
		why:      "pure packages talk to no API server, keep no log, call no network, start no process",
		packages: pure,
		imports:  []string{"k8s.io/client-go/", "github.com/openshift/client-go/", "k8s.io/klog/", "log", "log/slog", "net/http", "os/exec", "github.com/prometheus/"},
	},
	{
		why:      "pure packages give the same answer every time",
		packages: pure,
		imports:  []string{"math/rand", "math/rand/v2", "crypto/rand", "github.com/google/uuid"},
	},
	{
		why:      "pure packages link no client, whoever brings it",
		packages: pure,
		imports:  []string{"k8s.io/client-go/", "github.com/openshift/client-go/"},
		linked:   true,
	},
	{
		why:      "a build pod has no access to the API, so its program links no client",
		packages: []string{"cmd/os-image-builder", "pkg/imagebuilder", "pkg/sourcebuild"},
		imports:  []string{"k8s.io/client-go/", "github.com/openshift/client-go/"},
		linked:   true,
	},
	{
		why:      "a library that calls methods by name costs a program with a Kubernetes client a fifth of its memory: it runs convert-ignition",
		packages: []string{"cmd/machine-os-builder", "cmd/build-executor"},
		imports:  []string{"github.com/coreos/ignition/config/", "github.com/coreos/ign-converter/"},
		linked:   true,
	},
	{
		why:      "what users run links no test code",
		packages: []string{"cmd/*"},
		imports:  []string{"testing", "k8s.io/client-go/kubernetes/fake", module + "test/", module + "pkg/backend/fake", module + "pkg/backend/conformance", module + "pkg/buildah/buildahtest", module + "pkg/registry/registrytest", module + "pkg/kube/kubetest"},
		linked:   true,
	},
}

// clock lists what of package time reads the clock or waits for it; pure
// packages get the time as an argument.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// maxLines is the length at which a Go file that people write gets split.
const maxLines = 600

// vagueNames say nothing about what a package or file is for.
var vagueNames = []string{"util", "utils", "utility", "utilities", "common", "helper", "helpers", "misc", "shared", "stuff"}

// topLevel is what may lie at the top of the repository, files with a leading dot aside.
var topLevel = []string{
	"cmd", "docs", "manifests", "pkg", "test", "vendor",
	"CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile", "README.md", "go.mod", "go.sum",
	"bin", // ignored by git: what make builds
}
