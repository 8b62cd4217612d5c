//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// builderImage is one of a server of static files, by user 1001.
func builderImage(t *testing.T, base v1.Image) v1.Image {
	t.Helper()
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	put := func(header tar.Header, text []byte) {
		t.Helper()
		header.Size = int64(len(text))
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"opt/app-root", "opt/app-root/src"} {
		put(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o775, Uid: 1001}, nil)
	}
	put(tar.Header{Typeflag: tar.TypeDir, Name: "usr/libexec/s2i", Mode: 0o755}, nil)
	for _, script := range []string{"assemble", "run", "save-artifacts", "serve"} {
		text := must(os.ReadFile(filepath.Join(buildData, "builder", script)))(t)
		put(tar.Header{Typeflag: tar.TypeReg, Name: "usr/libexec/s2i/" + script, Mode: 0o755}, text)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	kind := must(must(base.Layers())(t)[0].MediaType())(t)
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	image := must(mutate.AppendLayers(base, must(tarball.LayerFromOpener(open, tarball.WithMediaType(kind)))(t)))(t)
	config := must(image.ConfigFile())(t).DeepCopy().Config
	config.User, config.WorkingDir = "1001", "/opt/app-root/src"
	config.Labels = map[string]string{"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i", "io.k8s.display-name": "Static files"}
	return must(mutate.Config(image, config))(t)
}

// serve runs an image until the test ends, and returns what asks it.
func (s *scenario) serve(name string, image live.Image) (get func(path string) (int, string)) {
	s.t.Helper()
	s.t.Cleanup(func() {
		pods := cluster.Clients.Core.CoreV1().Pods(live.Namespace)
		s.must(pods.Delete(context.WithoutCancel(s.ctx), name, metav1.DeleteOptions{}))
	})
	address, err := cluster.Run(s.ctx, name, image.Pullspec)
	s.must(err)
	return func(path string) (int, string) {
		s.t.Helper()
		var status int
		var text []byte
		s.eventually("the pod answers", func() error {
			request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, fmt.Sprintf("http://%s:8080/%s", address, path), nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			status = response.StatusCode
			text, err = io.ReadAll(response.Body)
			return err
		})
		return status, string(text)
	}
}

// wantPages asks for pages; an empty one must not exist.
func (s *scenario) wantPages(get func(string) (int, string), pages map[string]string) {
	s.t.Helper()
	for path, want := range pages {
		status, got := get(path)
		if wanted := want != ""; got != want || wanted != (status == http.StatusOK) {
			s.t.Errorf("/%s is answered with %d %q, want %q", path, status, got, want)
		}
	}
}

// checkSite: the second build found what the first one saved, both ran as the builder
// image's user, and the Secret is gone.
func (s *scenario) checkSite(name string, plain live.Image) {
	_, image := s.complete(name)
	built := "built by 1001 with theme dark and key of-a-secret\n"
	s.wantPages(s.serve(name, image), map[string]string{"index.html": "<p>hello</p>\n", "builds": built + built, "README.md": "", "key": ""})
	files, err := image.FilesAbove(plain)
	s.must(err)
	for _, path := range []string{"opt/app-root/src/key", "tmp/artifacts.tar"} {
		if _, found := files[path]; found {
			s.t.Errorf("/%s is in a layer", path)
		}
	}
	config, err := image.ConfigFile()
	s.must(err)
	if config.Config.User != "1001" || config.Config.Labels["io.openshift.build.commit.ref"] != "main" || config.Config.Labels["io.k8s.display-name"] == "" {
		s.t.Errorf("user %q, labels %v", config.Config.User, config.Config.Labels)
	}
}

// checkScripted: the source's assemble ran, and the run of the URL, which goes before
// that of the source.
func (s *scenario) checkScripted() {
	_, image := s.complete("scripted")
	s.wantPages(s.serve("scripted", image), map[string]string{
		"index.html": "<p>scripted</p>\n", "how": "assembled by the source\nrun by the script of the URL\n",
	})
}
