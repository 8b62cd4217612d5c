package names

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// tag is the grammar of an image tag (OCI distribution specification).
var tag = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// configs are rendered configs' names, from the usual to the longest ones that
// an API server takes; each pair differs only in what shortening cuts away.
func configs() []string {
	long := RenderedPrefix + strings.Repeat("a", 180)
	longest := RenderedPrefix + strings.Repeat("p.", 120) + "p" // 250
	return []string{
		"rendered-worker-1f2e3d4c5b6a79880123456789abcdef",
		"rendered-eu.west-1.gpu-1f2e3d4c5b6a79880123456789abcdef",
		long + "-1f2e3d4c5b6a79880123456789abcdef", long + "-0f2e3d4c5b6a79880123456789abcdef",
		longest + "-0", longest + "-1",
		RenderedPrefix + strings.Repeat("-", 240) + "0", RenderedPrefix + strings.Repeat("-", 240) + "1",
	}
}

// TestS39LongAndDottedNames: names stay valid and unique.
func TestS39LongAndDottedNames(t *testing.T) {
	seen := map[string]string{}
	for _, config := range configs() {
		if found := validation.IsDNS1123Subdomain(config); len(found) > 0 {
			t.Fatalf("%q is no test case: %v", config, found)
		}
		for what, name := range map[string]string{
			"pod": Build(config), "pod of an architecture": BuildFor(config, "ppc64le"), "chunk 0": MachineConfigMap(config, 0), "chunk 1": MachineConfigMap(config, 1),
			"chunk 12": MachineConfigMap(config, 12), "Dockerfile": DockerfileMap(config, 0), "Dockerfile 1": DockerfileMap(config, 1), "record": Record(config),
		} {
			if found := validation.IsDNS1123Subdomain(name); len(found) > 0 {
				t.Errorf("%s of %q: %q is no object name: %v", what, config, name, found)
			}
			if other, ok := seen[name]; ok {
				t.Errorf("%s of %q and %s have the name %q", what, config, other, name)
			}
			seen[name] = what + " of " + config
		}
		if found := validation.IsValidLabelValue(LabelValue(config)); len(found) > 0 {
			t.Errorf("label value %q of %q: %v", LabelValue(config), config, found)
		}
		for _, name := range []string{Tag(config), MemberTag(Tag(config), "ppc64le", "run")} {
			if !tag.MatchString(name) {
				t.Errorf("%q is no tag", name)
			}
		}
	}
	member := func(config string) string { return MemberTag(Tag(config), "ppc64le", "run") }
	for what, short := range map[string]func(string) string{"label value": LabelValue, "tag": Tag, "tag of a member": member} {
		have := map[string]string{}
		for _, config := range configs() {
			if other, ok := have[short(config)]; ok {
				t.Errorf("%s of %q and %q is the same: %q", what, config, other, short(config))
			}
			have[short(config)] = config
		}
	}
}

func TestShortNamesAreTheContracts(t *testing.T) {
	const config = "rendered-worker-aa"
	for got, want := range map[string]string{
		Build(config): "build-rendered-worker-aa", MachineConfigMap(config, 0): "mc-rendered-worker-aa",
		BuildFor(config, "arm64"): "build-rendered-worker-aa-arm64", MemberTag(config, "arm64", "run"): "rendered-worker-aa-arm64-" + Content([]byte("run"))[:12],
		MachineConfigMap(config, 1): "mc-rendered-worker-aa-1", DockerfileMap(config, 0): "dockerfile-rendered-worker-aa", DockerfileMap(config, 2): "dockerfile-rendered-worker-aa-2",
		Record(config): "digest-rendered-worker-aa", LabelValue(config): config, Tag(config): config,
	} {
		if got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

// TestMemberTagsAreOfOneRun: another run, architecture or config is another tag.
func TestMemberTagsAreOfOneRun(t *testing.T) {
	seen := map[string]bool{}
	for _, config := range configs() {
		for _, architecture := range []string{"amd64", "arm64"} {
			for _, run := range []string{"run-1", "run-2"} {
				tag := MemberTag(Tag(config), architecture, run)
				if seen[tag] || tag == Tag(config) {
					t.Errorf("%s of %s in %s has the tag %q of another", architecture, config, run, tag)
				}
				seen[tag] = true
			}
		}
	}
}

func TestLimitsAreExact(t *testing.T) {
	for _, row := range []struct {
		what  string
		limit int
		short func(string) string
	}{
		{"label value", 63, LabelValue},
		{"tag", 128, Tag},
		{"object name", 253, func(s string) string { return Build(s[len("build-"):]) }},
	} {
		fits := strings.Repeat("x", row.limit)
		if got := len(row.short(fits)); got != row.limit {
			t.Errorf("%s of %d bytes became one of %d", row.what, row.limit, got)
		}
		if got := row.short(fits + "x"); len(got) > row.limit || strings.HasPrefix(got, fits) {
			t.Errorf("%s of %d bytes became %q", row.what, row.limit+1, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	all := configs()
	for i, c := range all {
		f.Add(c, all[(i+1)%len(all)])
	}
	f.Fuzz(func(t *testing.T, config, other string) {
		if len(validation.IsDNS1123Subdomain(config)) > 0 {
			return // not a name that an API server takes
		}
		if config != other && (Build(config) == Build(other) || Record(config) == Record(other) || LabelValue(config) == LabelValue(other) || Tag(config) == Tag(other)) {
			t.Errorf("%q and %q share a name", config, other)
		}
		for _, name := range []string{Build(config), MachineConfigMap(config, 3), Record(config), DockerfileMap(config, 1)} {
			if found := validation.IsDNS1123Subdomain(name); len(found) > 0 {
				t.Errorf("%q is no object name: %v", name, found)
			}
		}
		if found := validation.IsValidLabelValue(LabelValue(config)); len(found) > 0 {
			t.Errorf("label value %q: %v", LabelValue(config), found)
		}
		if !tag.MatchString(Tag(config)) {
			t.Errorf("%q is no tag", Tag(config))
		}
	})
}

// sample has another value in each field.
func sample() Inputs {
	var in Inputs
	v := reflect.ValueOf(&in).Elem()
	for i := range v.NumField() {
		v.Field(i).SetString(v.Type().Field(i).Name)
	}
	return in
}

// TestHashIsPinned fails when the hash of the same inputs changes: that
// rebuilds every image of every fleet. Change hashVersion when it is meant.
func TestHashIsPinned(t *testing.T) {
	before := sample()
	before.ConfigLayerOrder, before.Architectures = "", "" // what it was before there was a choice
	for want, in := range map[string]Inputs{
		"v1-7ab72adadf585ebdd5c4e8ba2463ebe23c675045": before,
		"v1-8ebbc2df98fabe0ec6a4464911df910e03c56d2b": sample(),
	} {
		if got := InputsHash(in); got != want {
			t.Errorf("hash is %s, want %s: an upgrade would rebuild everything", got, want)
		}
	}
	if found := validation.IsValidLabelValue(InputsHash(sample())); len(found) > 0 {
		t.Errorf("the hash is no label value: %v", found)
	}
}

// TestImageHashLeavesTheRebuildOut: of all fields, that one alone.
func TestImageHashLeavesTheRebuildOut(t *testing.T) {
	for i := range reflect.TypeFor[Inputs]().NumField() {
		field := reflect.TypeFor[Inputs]().Field(i).Name
		in := sample()
		reflect.ValueOf(&in).Elem().Field(i).SetString("other")
		if same := ImageHash(in) == ImageHash(sample()); same != (field == "RebuildToken") {
			t.Errorf("another %s gives the same hash: %v", field, same)
		}
	}
	in := sample()
	in.RebuildToken = ""
	if ImageHash(in) != InputsHash(in) {
		t.Error("without a rebuild the two hashes differ")
	}
}

func TestHashCoversEveryField(t *testing.T) {
	seen := map[string]string{InputsHash(sample()): "the sample"}
	for i := range reflect.TypeFor[Inputs]().NumField() {
		field := reflect.TypeFor[Inputs]().Field(i).Name
		for _, value := range []string{"", "other", field + " "} {
			in := sample()
			reflect.ValueOf(&in).Elem().Field(i).SetString(value)
			if other, ok := seen[InputsHash(in)]; ok {
				t.Errorf("%s=%q gives the hash of %s", field, value, other)
			}
			seen[InputsHash(in)] = field + "=" + value
		}
	}
}

// TestHashKeepsFieldsApart moves text over each border between fields.
func TestHashKeepsFieldsApart(t *testing.T) {
	for i := range reflect.TypeFor[Inputs]().NumField() - 1 {
		name := reflect.TypeFor[Inputs]().Field(i).Name
		seen := map[string]bool{}
		for _, pair := range [][2]string{{"ab", ""}, {"a", "b"}, {"", "ab"}, {"a\x00b", ""}, {"a\x00", "b"}} {
			in := sample()
			v := reflect.ValueOf(&in).Elem()
			v.Field(i).SetString(pair[0])
			v.Field(i + 1).SetString(pair[1])
			if seen[InputsHash(in)] {
				t.Errorf("%s and its neighbour: %q is not told apart", name, pair)
			}
			seen[InputsHash(in)] = true
		}
	}
}

func TestRendered(t *testing.T) {
	content := Content([]byte("a spec"))
	if name := Rendered("worker", content); name != "rendered-worker-"+content[:32] {
		t.Errorf("the name is %q", name)
	}
	long := strings.Repeat("p.", 126)
	seen := map[string]bool{}
	for _, pool := range []string{"worker", "eu.west-1", strings.Repeat("p", 211), strings.Repeat("p", 212), long + "p", long + "q"} {
		for _, content := range []string{content, Content(nil)} {
			name := Rendered(pool, content)
			if found := validation.IsDNS1123Subdomain(name); len(found) > 0 || seen[name] {
				t.Errorf("pool %q: %q is no object name (%v), or has been given", pool, name, found)
			}
			if !strings.HasSuffix(name, "-"+content[:32]) {
				t.Errorf("pool %q: %q has no hash of the content", pool, name)
			}
			if !IsRendered(name, pool) || IsRendered(name, "other") || IsRendered(name[1:], pool) || IsRendered(name+"0", pool) {
				t.Errorf("pool %q: %q is not taken for what it is", pool, name)
			}
			seen[name] = true
		}
	}
}

func TestIsRenderedOfAnyName(t *testing.T) {
	for _, name := range []string{"", "-", "rendered-worker-", "rendered-worker-1", "00-worker"} {
		if IsRendered(name, "worker") {
			t.Errorf("%q is taken for a rendered config", name)
		}
	}
}

// TestStepsKey: each input makes another key, and another tag; the key of the
// same inputs stays, or every cached result of every fleet is lost.
func TestStepsKey(t *testing.T) {
	in := StepsInputs{BaseDigest: "sha256:b", Dockerfile: "FROM configs AS final\n", Images: [][2]string{{"a", "sha256:a"}, {"c", "sha256:c"}}, RebuildToken: "r"}
	seen := map[string]string{StepsKey(in): "all"}
	for what, change := range map[string]func(*StepsInputs){
		"base":         func(in *StepsInputs) { in.BaseDigest += "x" },
		"dockerfile":   func(in *StepsInputs) { in.Dockerfile += "x" },
		"token":        func(in *StepsInputs) { in.RebuildToken += "x" },
		"an image":     func(in *StepsInputs) { in.Images = in.Images[:1] },
		"its name":     func(in *StepsInputs) { in.Images = [][2]string{{"b", "sha256:a"}, {"c", "sha256:c"}} },
		"its digest":   func(in *StepsInputs) { in.Images = [][2]string{{"a", "sha256:b"}, {"c", "sha256:c"}} },
		"other places": func(in *StepsInputs) { in.BaseDigest, in.Dockerfile = in.Dockerfile, in.BaseDigest },
	} {
		other := in
		change(&other)
		key := StepsKey(other)
		if same, found := seen[key]; found {
			t.Errorf("%s: the key of %s", what, same)
		}
		seen[key] = what
		if StepsTag(other) == StepsTag(in) || !tag.MatchString(StepsTag(other)) {
			t.Errorf("%s: tag %s", what, StepsTag(other))
		}
	}
	if got := StepsTag(in); got != "cache-8ff1f8848c867ab9c42b8620cbfdc96e46467c55" {
		t.Errorf("tag %s", got)
	}
}

// TestBuildCacheNames: each pool and architecture has a cache of its own, which is no
// other tag's.
func TestBuildCacheNames(t *testing.T) {
	seen := map[string]string{StepsTag(StepsInputs{}): "steps' result"}
	for _, pool := range [][2]string{{"worker", "1"}, {"worker", "2"}, {"infra", "1"}, {"worker1", ""}} {
		for _, architecture := range []string{"amd64", "arm64"} {
			name := BuildCacheTag(BuildCacheID(pool[0], pool[1]), architecture)
			what := fmt.Sprint(pool, architecture)
			if other, found := seen[name]; found || !tag.MatchString(name) {
				t.Errorf("%s of %s is that of %s", name, what, other)
			}
			seen[name] = what
		}
	}
}

func TestStepKey(t *testing.T) {
	seen := map[string]bool{}
	for _, in := range []StepInputs{
		{}, {Before: "a"}, {Text: "a"}, {Others: []string{"a"}}, {Others: []string{"a", ""}}, {Before: "a", Text: "b"}, {Before: "ab"}, {Text: "ab"},
	} {
		if key := StepKey(in); seen[key] || len(key) != 64 {
			t.Errorf("%+v: %s", in, key)
		}
		seen[StepKey(in)] = true
	}
}
