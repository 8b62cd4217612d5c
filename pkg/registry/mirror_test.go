package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// mirrored are a source that does not exist and two mirrors of it, which have the
// same image.
type mirrored struct {
	one, two *registrytest.Server
	digest   string
}

// source is a name that no resolver knows.
const source = "source.invalid/os/base"

func newMirrored(t *testing.T) *mirrored {
	t.Helper()
	m := &mirrored{one: registrytest.New(t), two: registrytest.New(t)}
	for _, server := range []*registrytest.Server{m.one, m.two} {
		pullspec := smallImage(t, server)
		digest, err := newClient(t, [][]byte{server.CA}, "").Resolve(context.Background(), pullspec)
		if err != nil {
			t.Fatal(err)
		}
		m.digest = digest
		server.Requests()
	}
	return m
}

func (m *mirrored) client(t *testing.T, pull registriesconf.Pull, login string) *registry.Client {
	t.Helper()
	options := registry.Options{CAs: [][]byte{m.one.CA, m.two.CA}, Retry: fast, Mirrors: &registriesconf.Config{Registries: []registriesconf.Registry{{
		Prefix: "source.invalid", Location: "source.invalid", Blocked: true,
		Mirrors: []registriesconf.Mirror{{Location: m.one.Host, Pull: pull}, {Location: m.two.Host, Pull: pull}},
	}}}}
	if login != "" {
		var err error
		if options.Credentials, err = dockerconfig.ParseDockerCfg([]byte(login)); err != nil {
			t.Fatal(err)
		}
	}
	client, err := registry.NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestMirrorsAreAskedInOrder(t *testing.T) {
	down := func(*http.Request) (int, bool) { return 0, true }
	wants := func(_, password string, _ *http.Request) int {
		if password != "hunter2" {
			return http.StatusUnauthorized
		}
		return 0
	}
	for name, row := range map[string]struct {
		tag  bool
		pull registriesconf.Pull
		do   func(*mirrored)
		// from is 1 or 2, or 0 for neither, with an error of a class.
		from  int
		class error
		says  string
	}{
		"both work":                    {pull: registriesconf.PullAll, from: 1},
		"by tag":                       {tag: true, pull: registriesconf.PullAll, from: 1},
		"the first is down":            {pull: registriesconf.PullDigest, do: func(m *mirrored) { m.one.Fault(down) }, from: 2},
		"the first is broken":          {pull: registriesconf.PullDigest, do: func(m *mirrored) { m.one.Fault(func(*http.Request) (int, bool) { return 503, true }) }, from: 2},
		"the first has no such image":  {pull: registriesconf.PullDigest, do: func(m *mirrored) { m.one.Fault(func(*http.Request) (int, bool) { return 404, true }) }, from: 2},
		"the first wants another user": {pull: registriesconf.PullDigest, do: func(m *mirrored) { m.one.Login(func(_, _ string, _ *http.Request) int { return 401 }) }, from: 2},
		"the second's login":           {pull: registriesconf.PullDigest, do: func(m *mirrored) { m.one.Fault(down); m.two.Login(wants) }, from: 2},
		"a manifest without its config": {pull: registriesconf.PullDigest, do: func(m *mirrored) {
			m.one.Fault(func(r *http.Request) (int, bool) { return 404, strings.Contains(r.URL.Path, "/blobs/") })
		}, from: 2},
		"for digests only, by tag": {tag: true, pull: registriesconf.PullDigest, class: registry.ErrBlocked, says: source},
		"for tags only, by digest": {pull: registriesconf.PullTag, class: registry.ErrBlocked, says: source},
		"both are down": {
			pull: registriesconf.PullAll, do: func(m *mirrored) { m.one.Fault(down); m.two.Fault(down) }, class: registry.ErrBlocked,
			says: "from its mirrors: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t)
			if row.do != nil {
				row.do(m)
			}
			pullspec := source + "@" + m.digest
			if row.tag {
				pullspec = source + ":1"
			}
			client := m.client(t, row.pull, `{"`+m.two.Host+`":{"username":"u","password":"hunter2"}}`)
			digest, resolveErr := client.Resolve(context.Background(), pullspec)
			m.two.Requests()
			base, err := client.Open(context.Background(), pullspec)
			if errors.Is(resolveErr, row.class) != errors.Is(err, row.class) || row.from > 0 && digest != m.digest {
				t.Errorf("resolved to %q, %v", digest, resolveErr)
			}
			if row.from == 0 {
				if !errors.Is(err, row.class) || !strings.Contains(err.Error(), row.says) {
					t.Errorf("error = %v, want %v that says %q", err, row.class, row.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			from := map[int]*registrytest.Server{1: m.one, 2: m.two}[row.from]
			if base.Name != pullspec || base.Digest != m.digest || base.Source != from.Host+"/os/base" || !base.Mirrored {
				t.Errorf("base %s %s of %s, want it of %s", base.Name, base.Digest, base.Source, from.Host)
			}
			if row.from == 1 && len(m.two.Requests()) > 0 {
				t.Error("the second mirror was asked for nothing")
			}
		})
	}
}

// TestMirrorMayNotChangeTheImage: what a digest names is what comes.
func TestMirrorMayNotChangeTheImage(t *testing.T) {
	m := newMirrored(t)
	layer := registrytest.Tar(t, registrytest.Member{Name: "etc/"}, registrytest.Member{Name: "etc/other", Content: "x"})
	other := m.one.Push(t, "os/base:1", registrytest.Image(t, "amd64", layer))
	digest, err := newClient(t, [][]byte{m.one.CA}, "").Resolve(context.Background(), other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.client(t, registriesconf.PullAll, "").Open(context.Background(), source+"@"+digest); err != nil {
		t.Errorf("the image of the first mirror alone: %v", err)
	}
	base, err := m.client(t, registriesconf.PullAll, "").Open(context.Background(), source+"@"+m.digest)
	if err != nil || base.Digest != m.digest {
		t.Errorf("base %+v, %v", base, err)
	}
}

// TestAppendOnAMirroredBase: the layers come from the mirror, the recorded name is
// the source's, and no mirror is pushed to.
func TestAppendOnAMirroredBase(t *testing.T) {
	m := newMirrored(t)
	target := registrytest.New(t)
	base, err := m.client(t, registriesconf.PullAll, "").Open(context.Background(), source+"@"+m.digest)
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Options{CAs: [][]byte{target.CA, m.one.CA}, Retry: fast})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Append(context.Background(), base, target.Host+"/os/final:1", registry.Content{}); err != nil {
		t.Fatal(err)
	}
	info, err := client.Inspect(context.Background(), target.Host+"/os/final:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Annotations[registry.AnnotationBaseName]; got != base.Name {
		t.Errorf("base name %q, want %q", got, base.Name)
	}
	if got := info.Annotations[registry.AnnotationBaseDigest]; got != m.digest {
		t.Errorf("base digest %q, want %q", got, m.digest)
	}
	if n := registrytest.Count(append(m.one.Requests(), m.two.Requests()...), "POST"); n > 0 {
		t.Errorf("%d uploads to mirrors", n)
	}
}
