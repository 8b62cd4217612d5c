package registriesconf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/openshift/api/config/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const example = `
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "quay.io/os"
location = "registry.example.com/os"
blocked = true
[[registry.mirror]]
location = "one.example.com:5000/os/"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "two.example.com"

[[registry]]
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hub.example.com/hub"

[[registry]]
prefix = "*.example.org"
`

func TestParse(t *testing.T) {
	got, err := Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{Registries: []Registry{
		{Prefix: "quay.io/os", Location: "registry.example.com/os", Blocked: true, Mirrors: []Mirror{
			{"one.example.com:5000/os", PullDigest}, {"two.example.com", PullAll},
		}},
		{Prefix: "docker.io", Location: "docker.io", Mirrors: []Mirror{{"hub.example.com/hub", PullDigest}}},
		{Prefix: "*.example.org"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := Parse(got.String())
	if err != nil || cmp.Diff(got, again) != "" {
		t.Errorf("written and read again: %v\n%s", err, cmp.Diff(got, again))
	}
}

func TestParseProblems(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"no TOML":           {"[[registry", "is no TOML: line 1"},
		"another type":      {"registry = 7", "is no TOML"},
		"version 1":         {"[registries.search]\nregistries = ['x']", "version 1"},
		"unknown key":       {"[[registry]]\nlocation='a.b'\nmirrors=['x']", "registry.mirrors is not known"},
		"nothing to match":  {"[[registry]]\nblocked=true", "[[registry]] 1: has neither prefix nor location"},
		"twice":             {"[[registry]]\nlocation='a.b'\n[[registry]]\nlocation='a.b/'", `[[registry]] 2: prefix "a.b" has a table already`},
		"insecure":          {"[[registry]]\nlocation='a.b'\ninsecure=true", "insecure = true is refused"},
		"insecure mirror":   {"[[registry]]\nlocation='a.b'\n[[registry.mirror]]\nlocation='c.d'\ninsecure=true", `mirror "c.d": insecure = true is refused`},
		"scheme":            {"[[registry]]\nlocation='https://a.b'", "has a scheme"},
		"empty mirror":      {"[[registry]]\nlocation='a.b'\n[[registry.mirror]]\nlocation=''", "empty location"},
		"upper case":        {"[[registry]]\nlocation='a.b/Os'", "is no place for images"},
		"path behind *.":    {"[[registry]]\nprefix='*.a.b/c'", "a domain alone"},
		"unknown pull":      {"[[registry]]\nlocation='a.b'\n[[registry.mirror]]\nlocation='c.d'\npull-from-mirror='never'", `pull-from-mirror "never" is not known`},
		"both restrictions": {"[[registry]]\nlocation='a.b'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='c.d'\npull-from-mirror='all'", "use one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := Parse(row.text)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%+v, %v, want %q", config, err, row.want)
			}
		})
	}
}

const digest = "@sha256:0123456789012345678901234567890123456789012345678901234567890123"

func TestSources(t *testing.T) {
	config, err := Parse(example + `
[[registry]]
prefix = "quay.io/os/special"
[[registry.mirror]]
location = "quay.io/os/other"
[[registry]]
prefix = "*.example.net"
[[registry.mirror]]
location = "net.example.com/all"
`)
	if err != nil {
		t.Fatal(err)
	}
	for pullspec, want := range map[string][]Source{
		"elsewhere.io/a/b:1":       {{"elsewhere.io/a/b:1", false, false}},
		"quay.io/osx/b:1":          {{"quay.io/osx/b:1", false, false}},
		"quay.io:443/os/b:1":       {{"quay.io:443/os/b:1", false, false}},
		"quay.io/os/base:1":        {{"two.example.com/base:1", true, false}, {"registry.example.com/os/base:1", false, true}},
		"quay.io/os/base" + digest: {{"one.example.com:5000/os/base" + digest, true, false}, {"two.example.com/base" + digest, true, false}, {"registry.example.com/os/base" + digest, false, true}},
		// A tag beside a digest says nothing.
		"quay.io/os/base:1" + digest: {{"one.example.com:5000/os/base" + digest, true, false}, {"two.example.com/base" + digest, true, false}, {"registry.example.com/os/base" + digest, false, true}},
		"fedora:40":                  {{"docker.io/library/fedora:40", false, false}},
		"fedora" + digest:            {{"hub.example.com/hub/library/fedora" + digest, true, false}, {"docker.io/library/fedora" + digest, false, false}},
		// A mirror lies below a place that is blocked.
		"quay.io/os/special:1":      {{"quay.io/os/other:1", true, true}, {"quay.io/os/special:1", false, false}},
		"a.example.org/x:1":         {{"a.example.org/x:1", false, false}},
		"a.example.net/x:1":         {{"net.example.com/all/x:1", true, false}, {"a.example.net/x:1", false, false}},
		"a.b.example.net/x:1":       {{"net.example.com/all/x:1", true, false}, {"a.b.example.net/x:1", false, false}},
		"example.net/x:1":           {{"example.net/x:1", false, false}},
		"a.example.net:5000/x:1":    {{"a.example.net:5000/x:1", false, false}},
		"b.example.com/example.net": {{"b.example.com/example.net", false, false}},
	} {
		got, err := config.Sources(pullspec)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", pullspec, err, diff)
		}
	}
}

func TestAddMirrorSets(t *testing.T) {
	config, err := Parse("[[registry]]\nlocation='own.example.com'\n[[registry.mirror]]\nlocation='m.example.com'\n")
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	sets := MirrorSets{
		Digest: []configv1.ImageDigestMirrorSet{
			{ObjectMeta: named("b"), Spec: configv1.ImageDigestMirrorSetSpec{ImageDigestMirrors: []configv1.ImageDigestMirrors{
				{Source: "quay.io/os", Mirrors: []configv1.ImageMirror{"b.example.com", "a.example.com"}, MirrorSourcePolicy: configv1.NeverContactSource},
			}}},
			{ObjectMeta: named("a"), Spec: configv1.ImageDigestMirrorSetSpec{ImageDigestMirrors: []configv1.ImageDigestMirrors{
				{Source: "quay.io/os", Mirrors: []configv1.ImageMirror{"a.example.com"}},
				{Source: "*.example.net", Mirrors: []configv1.ImageMirror{"n.example.com"}},
				{Source: "own.example.com", Mirrors: []configv1.ImageMirror{"n.example.com"}},
			}}},
		},
		Tag: []configv1.ImageTagMirrorSet{{ObjectMeta: named("t"), Spec: configv1.ImageTagMirrorSetSpec{ImageTagMirrors: []configv1.ImageTagMirrors{
			{Source: "quay.io/os", Mirrors: []configv1.ImageMirror{"t.example.com"}},
		}}}},
	}
	got, err := config.Add(sets)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{Registries: []Registry{
		{Prefix: "own.example.com", Location: "own.example.com", Mirrors: []Mirror{{"m.example.com", PullAll}}},
		{Prefix: "quay.io/os", Location: "quay.io/os", Blocked: true, Mirrors: []Mirror{{"a.example.com", PullDigest}, {"b.example.com", PullDigest}, {"t.example.com", PullTag}}},
		{Prefix: "*.example.net", Mirrors: []Mirror{{"n.example.com", PullDigest}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(config.Registries) != 1 {
		t.Error("the configuration itself was changed")
	}
	sets.Digest[0].Spec.ImageDigestMirrors[0].Source = "https://quay.io"
	if _, err := config.Add(sets); err == nil || !strings.Contains(err.Error(), `ImageDigestMirrorSet/b, source "https://quay.io"`) {
		t.Errorf("error = %v", err)
	}
}

// FuzzParse: what was read can be written and read again, and finds for every
// image at least one place to ask.
func FuzzParse(f *testing.F) {
	f.Add(example, "quay.io/os/base:1")
	f.Add("[[registry]]\nprefix='*.b'\nlocation='c.d/e'\n", "a.b/x"+digest)
	f.Add("[[registry]]\nlocation='a.b/c:tag'\n", "a.b/c:tag")
	f.Fuzz(func(t *testing.T, text, pullspec string) {
		config, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(config.String())
		if err != nil || cmp.Diff(config, again) != "" {
			t.Errorf("written and read again: %v\n%s", err, cmp.Diff(config, again))
		}
		if sources, err := config.Sources(pullspec); err == nil && (len(sources) == 0 || sources[len(sources)-1].Mirror) {
			t.Errorf("%q is pulled from %+v", pullspec, sources)
		}
	})
}
