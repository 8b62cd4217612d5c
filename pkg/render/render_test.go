package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

var update = flag.Bool("update", false, "write the golden files")

const roleLabel = "machineconfiguration.openshift.io/role"

// readOne reads without what may go wrong on the way: the converter is in the test.
func readOne(c *Cache, mc *mcfgv1.MachineConfig) *Source {
	source, err := c.Read(mc)
	if err != nil {
		panic(err)
	}
	return source
}

// pool selects the MachineConfigs of some roles.
func pool(name string, roles ...string) *mcfgv1.MachineConfigPool {
	return &mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name)},
		Spec: mcfgv1.MachineConfigPoolSpec{MachineConfigSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: roleLabel, Operator: metav1.LabelSelectorOpIn, Values: roles}},
		}},
	}
}

// config is a MachineConfig of the role worker with an Ignition config of which
// only the inside is given.
func config(name, inside string, change ...func(*mcfgv1.MachineConfig)) *mcfgv1.MachineConfig {
	mc := &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("uid-of-" + name), ResourceVersion: "1", Labels: map[string]string{roleLabel: "worker"},
	}}
	if inside != "" {
		mc.Spec.Config.Raw = []byte(`{"ignition":{"version":"3.4.0"},` + inside + `}`)
	}
	for _, c := range change {
		c(mc)
	}
	return mc
}

func read(configs ...*mcfgv1.MachineConfig) []*Source {
	var sources []*Source
	for _, mc := range configs {
		sources = append(sources, readOne(&Cache{Convert: spec2.Convert}, mc))
	}
	return sources
}

// readConfigs reads a list, or a single one, of MachineConfigs.
func readConfigs(t *testing.T, path string) []*mcfgv1.MachineConfig {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []*mcfgv1.MachineConfig }
	if err := yaml.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	if list.Items == nil {
		list.Items = []*mcfgv1.MachineConfig{{}}
		if err := yaml.Unmarshal(text, list.Items[0]); err != nil {
			t.Fatal(err)
		}
	}
	return list.Items
}

// renderAll selects and renders.
func renderAll(t *testing.T, p *mcfgv1.MachineConfigPool, configs []*mcfgv1.MachineConfig) *Rendered {
	t.Helper()
	selected, _, err := Select(p, configs)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Render(p, read(selected...), "v1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGolden(t *testing.T) {
	r := renderAll(t, pool("gpu", "worker", "gpu"), readConfigs(t, "testdata/machineconfigs.yaml"))
	text, err := yaml.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/rendered.yaml", text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/rendered.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("rendered\n%s\nwant\n%s", text, want)
	}
}

// TestRealConfigs compares with what a real cluster rendered.
func TestRealConfigs(t *testing.T) {
	dir := cmp.Or(os.Getenv("MOB_TEST_DATA"), "../../../shared/data")
	path := filepath.Join(dir, "aws-worker-machineconfigs.json")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skip("no MachineConfigs in MOB_TEST_DATA, nor beside the repository")
	}
	want := readConfigs(t, filepath.Join(dir, "aws-rendered-worker.json"))[0].Spec
	have := renderAll(t, pool("worker", "worker"), readConfigs(t, path)).Config.Spec
	wantConfig, _, err := ignition.Parse(want.Config.Raw, spec2.Convert)
	if err != nil {
		t.Fatal(err)
	}
	haveConfig, _, err := ignition.Parse(have.Config.Raw, spec2.Convert)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(haveConfig, wantConfig) {
		t.Errorf("the Ignition config is\n%s, want\n%s", have.Config.Raw, want.Config.Raw)
	}
	have.Config.Raw, want.Config.Raw = nil, nil
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the other fields are %+v, want %+v", have, want)
	}
}

func TestRenderFields(t *testing.T) {
	spec := func(change func(*mcfgv1.MachineConfigSpec)) func(*mcfgv1.MachineConfig) {
		return func(mc *mcfgv1.MachineConfig) { change(&mc.Spec) }
	}
	kernels := func(values ...string) (configs []*mcfgv1.MachineConfig) {
		for i, value := range values {
			configs = append(configs, config(fmt.Sprint(i), "", spec(func(s *mcfgv1.MachineConfigSpec) { s.KernelType = value })))
		}
		return configs
	}
	for _, row := range []struct {
		name    string
		configs []*mcfgv1.MachineConfig
		want    func(mcfgv1.MachineConfigSpec) any
		is      any
	}{
		{"no kernel type", kernels("", ""), func(s mcfgv1.MachineConfigSpec) any { return s.KernelType }, "default"},
		{"kernel type before none", kernels("realtime", ""), func(s mcfgv1.MachineConfigSpec) any { return s.KernelType }, "realtime"},
		{"kernel type before the default", kernels("realtime", "default"), func(s mcfgv1.MachineConfigSpec) any { return s.KernelType }, "realtime"},
		{"two kernel types", kernels("realtime", "64k-pages", "default"), func(s mcfgv1.MachineConfigSpec) any { return s.KernelType }, "64k-pages"},
		{
			"fips, once",
			[]*mcfgv1.MachineConfig{config("a", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.FIPS = true })), config("b", "")},
			func(s mcfgv1.MachineConfigSpec) any { return s.FIPS }, true,
		},
		{"kernel arguments, repeated", []*mcfgv1.MachineConfig{
			config("b", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.KernelArguments = []string{"z", "a"} })),
			config("a", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.KernelArguments = []string{"a", "b"} })),
		}, func(s mcfgv1.MachineConfigSpec) any { return s.KernelArguments }, []string{"a", "b", "z", "a"}},
		{"extensions, each once", []*mcfgv1.MachineConfig{
			config("b", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.Extensions = []string{"wasm", "ipsec"} })),
			config("a", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.Extensions = []string{"ipsec", "sysstat"} })),
		}, func(s mcfgv1.MachineConfigSpec) any { return s.Extensions }, []string{"ipsec", "sysstat", "wasm"}},
		{
			"empty lists",
			[]*mcfgv1.MachineConfig{config("a", "")},
			func(s mcfgv1.MachineConfigSpec) any { return [][]string{s.KernelArguments, s.Extensions} },
			[][]string{{}, {}},
		},
		{"images", []*mcfgv1.MachineConfig{
			config("a", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.OSImageURL, s.BaseOSExtensionsContainerImage = "os-a", "ext-a" })),
			config("b", "", spec(func(s *mcfgv1.MachineConfigSpec) { s.OSImageURL = "os-b" })), config("c", ""),
		}, func(s mcfgv1.MachineConfigSpec) any { return []string{s.OSImageURL, s.BaseOSExtensionsContainerImage} }, []string{"os-b", "ext-a"}},
		{
			"no Ignition config",
			[]*mcfgv1.MachineConfig{config("a", "")},
			func(s mcfgv1.MachineConfigSpec) any { return string(s.Config.Raw) }, `{"ignition":{"version":"` + ignition.Newest + `"}}`,
		},
		{
			"a file overwrites, unless it says no or has no contents",
			[]*mcfgv1.MachineConfig{
				config("a", `"storage":{"files":[{"path":"/no","overwrite":false,"contents":{"source":"data:,"}},{"path":"/yes","contents":{"source":"data:,"}},{"path":"/append","append":[{"source":"data:,"}]}]}`),
				config("b", `"storage":{"files":[{"path":"/no","contents":{"source":"data:,b"}}]}`),
			},
			func(s mcfgv1.MachineConfigSpec) any { return string(s.Config.Raw) },
			`{"ignition":{"version":"` + ignition.Newest + `"},"storage":{"files":[` +
				`{"overwrite":false,"path":"/no","contents":{"source":"data:,b"}},` +
				`{"overwrite":true,"path":"/yes","contents":{"source":"data:,"}},` +
				`{"path":"/append","append":[{"source":"data:,"}]}]}}`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			sources := read(row.configs...)
			r, err := Render(pool("worker", "worker"), sources, "v1")
			if err != nil {
				t.Fatal(err)
			}
			if is := row.want(r.Config.Spec); !reflect.DeepEqual(is, row.is) {
				t.Errorf("is %#v, want %#v", is, row.is)
			}
			if !reflect.DeepEqual(sources, read(row.configs...)) {
				t.Error("the sources were changed")
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, row := range []struct {
		name    string
		configs []*mcfgv1.MachineConfig
		reason  string
		message []string
	}{
		{name: "nothing", reason: api.ReasonNoMachineConfigs},
		{
			name: "a path", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{config("a", ""), config("b", `"storage":{"files":[{"path":"x"}]}`)},
			message: []string{`MachineConfig "b", spec.config`, "$.storage.files.0.path", "not absolute", "correct it"},
		},
		{
			name: "all of them", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{
				config("c", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.KernelType = "fast" }),
				config("b", `"storage":{"files":[{"path":"x"}]}`, func(mc *mcfgv1.MachineConfig) { mc.Spec.KernelType = "faster" }),
			},
			message: []string{`MachineConfig "b", spec.config`, `spec.kernelType: there is no kernel "faster"; use default, realtime or 64k-pages`, `MachineConfig "c", spec.kernelType: there is no kernel "fast"`},
		},
		{
			name: "what there is not", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{config("a", ""), config("b", "", func(mc *mcfgv1.MachineConfig) {
				mc.Spec.OSImageURL, mc.Spec.BaseOSExtensionsContainerImage = "registry.example.com/OS:1", "registry.example.com/ext:"
				mc.Spec.Extensions = []string{"ipsec", "usbgard"}
			})},
			message: []string{
				`MachineConfig "b", spec.extensions: there is no extension "usbgard"; use ipsec,`,
				`spec.osImageURL: "registry.example.com/OS:1" is no pullspec`, `spec.baseOSExtensionsContainerImage: "registry.example.com/ext:" is no pullspec`, "correct it",
			},
		},
		{
			name: "an extension and a kernel in one", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{config("a", "", func(mc *mcfgv1.MachineConfig) {
				mc.Spec.Extensions, mc.Spec.KernelType = []string{"kernel-devel"}, "realtime"
			})},
			message: []string{`MachineConfig "a", spec.extensions: "kernel-devel"`, `spec.kernelType is "realtime"`, "correct it"},
		},
		{
			name: "an extension and a kernel in two", reason: api.ReasonConflictingMachineConfigs,
			configs: []*mcfgv1.MachineConfig{
				config("a", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.Extensions = []string{"ipsec", "kernel-devel"} }),
				config("b", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.KernelType = "64k-pages" }),
				config("c", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.Extensions = []string{"ipsec"} }),
				config("d", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.KernelType = "realtime" }),
				config("e", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.KernelType = "default" }),
			},
			message: []string{`MachineConfigs "a", "b", "d" do not go together`, `spec.extensions: "kernel-devel"`, `spec.kernelType is "realtime"`},
		},
		{
			name: "spec version", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{config("a", "", func(mc *mcfgv1.MachineConfig) { mc.Spec.Config.Raw = []byte(`{"ignition":{"version":"9.0.0"}}`) })},
			message: []string{`MachineConfig "a", spec.config: ignition.version "9.0.0" is too new: use`},
		},
		{
			name: "replacement", reason: api.ReasonInvalidMachineConfig,
			configs: []*mcfgv1.MachineConfig{config("a", "", func(mc *mcfgv1.MachineConfig) {
				mc.Spec.Config.Raw = []byte(`{"ignition":{"version":"3.4.0","config":{"replace":{"source":"https://example.com/x"}}}}`)
			})},
			message: []string{`MachineConfig "a", spec.config: $.ignition.config.replace`, "put the content"},
		},
		{
			name: "not together", reason: api.ReasonConflictingMachineConfigs,
			configs: []*mcfgv1.MachineConfig{
				config("c", ""), config("b", `"systemd":{"units":[{"name":"a.service","contents":"[Unit]"}]}`),
				config("a", `"storage":{"files":[{"path":"/etc/systemd/system/a.service"}]}`),
			},
			message: []string{`MachineConfig "b" does not go with`, "$.storage.files.0.path", `(path "/etc/systemd/system/a.service")`},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Render(pool("worker", "worker"), read(row.configs...), "v1")
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != row.reason {
				t.Fatalf("error is %v, want %s", err, row.reason)
			}
			rest := refusal.Message
			for _, part := range row.message {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Errorf("%q does not say %q, or not in its place", refusal.Message, part)
				}
				rest = after
			}
		})
	}
}

func TestRenderWarns(t *testing.T) {
	remote := config("b", "", func(mc *mcfgv1.MachineConfig) {
		mc.Spec.Config.Raw = []byte(`{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"https://example.com/x"}]}}}`)
	})
	r, err := Render(pool("worker", "worker"), read(remote, config("a", `"storage":{"file":[]}`)), "v1")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(r.Warnings, "\n")
	if len(r.Warnings) != 2 || !strings.HasPrefix(all, `MachineConfig "a", spec.config: `) || !strings.Contains(all, `MachineConfig "b", spec.config: $.ignition.config.merge: `) {
		t.Errorf("warnings are\n%s", all)
	}
}

// TestRenderProperties: the order of what is passed in does not matter, a second
// time gives the same, and a rendered config rendered alone is itself.
func TestRenderProperties(t *testing.T) {
	p := pool("gpu", "worker", "gpu")
	configs := readConfigs(t, "testdata/machineconfigs.yaml")
	want := renderAll(t, p, configs)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(configs), func(i, j int) { configs[i], configs[j] = configs[j], configs[i] })
		if r := renderAll(t, p, configs); !reflect.DeepEqual(r, want) {
			t.Fatalf("in another order it is %+v, want %+v", r, want)
		}
	}
	alone := &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{Name: "alone"}, Spec: want.Config.Spec}
	r, err := Render(p, read(alone), "v2")
	if err != nil {
		t.Fatal(err)
	}
	if r.Config.Name != want.Config.Name || !reflect.DeepEqual(r.Config.Spec, want.Config.Spec) {
		t.Errorf("rendered again it is\n%s, want\n%s", r.Config.Spec.Config.Raw, want.Config.Spec.Config.Raw)
	}
	if other := renderAll(t, pool("other", "worker", "gpu"), configs); strings.TrimPrefix(other.Config.Name, "rendered-other-") != strings.TrimPrefix(want.Config.Name, "rendered-gpu-") {
		t.Errorf("the same content has the names %q and %q", other.Config.Name, want.Config.Name)
	}
}

var renderedName = regexp.MustCompile(`^rendered-worker-[0-9a-f]{32}$`)

func FuzzRender(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/x","mode":420,"contents":{"source":"data:,x"}}]}}`, ``},
		{`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x"}]}}`, `{"ignition":{"version":"3.1.0"},"storage":{"links":[{"path":"/x","target":"/y"}]}}`},
		{`{"ignition":{"version":"3.5.0"},"systemd":{"units":[{"name":"a.service","contents":"[Unit]"}]}}`, `{"ignition":{"version":"3.0.0"},"storage":{"files":[{"path":"/etc/systemd/system/a.service"}]}}`},
		{
			`{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"x","device":"/dev/a","clevis":{"tpm2":true}}],"disks":[{"device":"/dev/a","partitions":[{"number":1}]}]}}`,
			`{"ignition":{"version":"3.3.0","config":{"merge":[{"source":"data:,"}]}},"kernelArguments":{"shouldExist":["a"]}}`,
		},
		{`null`, `[]`},
		{`{}`, `{"ignition":{}}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		raw := func(name string, text []byte) *mcfgv1.MachineConfig {
			return &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: text}}}
		}
		p, sources := pool("worker", "worker"), read(raw("00-first", first), raw("50-second", second))
		r, err := Render(p, sources, "v1")
		slices.Reverse(sources)
		if again, err2 := Render(p, sources, "v1"); fmt.Sprint(err) != fmt.Sprint(err2) || !reflect.DeepEqual(again, r) {
			t.Fatalf("in another order: %v, %v", err, err2)
		}
		var refusal *Refusal
		if err != nil {
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, `"00-first"`) && !strings.Contains(refusal.Message, `"50-second"`) {
				t.Errorf("%v names no MachineConfig", err)
			}
			return
		}
		if !renderedName.MatchString(r.Config.Name) || !json.Valid(r.Config.Spec.Config.Raw) {
			t.Errorf("rendered %q: %s", r.Config.Name, r.Config.Spec.Config.Raw)
		}
		alone, err := Render(p, read(raw("alone", r.Config.Spec.Config.Raw)), "v1")
		if err != nil {
			t.Fatalf("what was rendered is refused: %v\n%s", err, r.Config.Spec.Config.Raw)
		}
		if alone.Config.Name != r.Config.Name {
			t.Errorf("rendered again it is another config:\n%s\n%s", r.Config.Spec.Config.Raw, alone.Config.Spec.Config.Raw)
		}
	})
}
