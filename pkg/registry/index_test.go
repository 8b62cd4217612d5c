package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// members are images of two architectures that a repository has under tags.
func members(t *testing.T, client *registry.Client, server *registrytest.Server) []*registry.BaseImage {
	t.Helper()
	var images []*registry.BaseImage
	for _, architecture := range []string{"amd64", "arm64"} {
		layer := registrytest.Tar(t, registrytest.Member{Name: "etc/of", Content: architecture})
		pullspec := server.Push(t, "os/images:1-"+architecture, registrytest.OCI(registrytest.Image(t, architecture, layer)))
		image, err := client.OpenImage(t.Context(), pullspec)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	return images
}

func TestPushIndexOfImagesThatAreThere(t *testing.T) {
	server := registrytest.New(t)
	client, target := newClient(t, [][]byte{server.CA}, ""), server.Host+"/os/images:1"
	images := members(t, client, server)
	index := registry.Index{Images: images, Annotations: map[string]string{"of": "index"}}
	server.Requests()
	digest, err := client.PushIndex(t.Context(), target, index)
	if err != nil {
		t.Fatal(err)
	}
	if puts := registrytest.Count(server.Requests(), "PUT"); puts != 1 {
		t.Errorf("%d things were written, want the index alone", puts)
	}
	info, err := client.Inspect(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	want := registry.Info{
		Digest: digest, Index: true, MediaType: string(types.OCIImageIndex), Annotations: index.Annotations,
		Platforms: []string{"linux/amd64", "linux/arm64"}, Members: []string{images[0].Digest, images[1].Digest}, Labels: map[string]string{"vendor": "test"},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("the index:\n%s", diff)
	}
	again, err := client.PushIndex(t.Context(), target, index)
	if err != nil || again != digest {
		t.Errorf("pushed again it is %s, %v, was %s", again, err, digest)
	}
	if _, err := client.OpenImage(t.Context(), target); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("opened as one image: %v", err)
	}
}

func TestPushIndexFailures(t *testing.T) {
	for name, row := range map[string]struct {
		target string
		fault  func(*http.Request) (int, bool)
		want   error
	}{
		"a digest":      {target: "/os/images@" + someDigest, want: registry.ErrInvalidReference},
		"refused":       {target: "/os/images:1", want: registry.ErrDenied, fault: func(r *http.Request) (int, bool) { return http.StatusForbidden, r.Method == http.MethodPut }},
		"not confirmed": {target: "/os/images:1", want: registry.ErrUnconfirmed, fault: func(r *http.Request) (int, bool) { return http.StatusCreated, r.Method == http.MethodPut }},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.New(t)
			client := newClient(t, [][]byte{server.CA}, "")
			images := members(t, client, server)
			server.Fault(row.fault)
			if _, err := client.PushIndex(t.Context(), server.Host+row.target, registry.Index{Images: images}); !errors.Is(err, row.want) {
				t.Errorf("error %v, want %v", err, row.want)
			}
		})
	}
}

func TestIndexTellsVariants(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	for _, variant := range []string{"", "v8"} {
		config := `{"os":"linux","architecture":"arm64","config":{"Labels":{"a":"b"}}}`
		want := v1.Platform{OS: "linux", Architecture: "arm64", Variant: variant}
		if variant != "" {
			config = strings.Replace(config, `"arm64"`, `"arm64","variant":"`+variant+`"`, 1)
		}
		image, err := client.OpenImage(t.Context(), server.PushConfig(t, "os/images:1", []byte(config)))
		if err != nil {
			t.Fatal(err)
		}
		if labels, err := image.Labels(); err != nil || labels["a"] != "b" || len(image.Annotations()) != 0 {
			t.Errorf("labels %v, %v", labels, err)
		}
		if _, err := client.PushIndex(t.Context(), server.Host+"/os/images:2", registry.Index{Images: []*registry.BaseImage{image}}); err != nil {
			t.Fatal(err)
		}
		info, err := client.Inspect(t.Context(), server.Host+"/os/images:2")
		if err != nil || len(info.Platforms) != 1 || info.Platforms[0] != want.String() {
			t.Errorf("platforms %v, %v, want %s", info.Platforms, err, want)
		}
	}
}
