package ociregistry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// recorder speaks as much of the distribution protocol as a push needs. The real registry is used when the cluster is up.
type recorder struct {
	mu        sync.Mutex
	blobs     map[string]bool
	manifests map[string]string
	uploads   int
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if user, password, ok := req.BasicAuth(); !ok || user != "u" || password != "p" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, _ := io.ReadAll(req.Body)
	rest := strings.TrimPrefix(req.URL.Path, "/v2/os/base/")
	switch {
	case req.Method == http.MethodHead && strings.HasPrefix(rest, "blobs/"):
		if !r.blobs[strings.TrimPrefix(rest, "blobs/")] {
			w.WriteHeader(http.StatusNotFound)
		}
	case req.Method == http.MethodPost && rest == "blobs/uploads/":
		w.Header().Set("Location", "/v2/os/base/blobs/uploads/1?state=s")
		w.WriteHeader(http.StatusAccepted)
	case req.Method == http.MethodPut && rest == "blobs/uploads/1":
		digest := req.URL.Query().Get("digest")
		if digest != digestOf(string(body)) || req.URL.Query().Get("state") != "s" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.blobs[digest] = true
		r.uploads++
		w.WriteHeader(http.StatusCreated)
	case req.Method == http.MethodPut && strings.HasPrefix(rest, "manifests/"):
		r.manifests[strings.TrimPrefix(rest, "manifests/")] = string(body)
		w.WriteHeader(http.StatusCreated)
	case req.Method == http.MethodHead && strings.HasPrefix(rest, "manifests/"):
		if _, ok := r.manifests[strings.TrimPrefix(rest, "manifests/")]; !ok {
			w.WriteHeader(http.StatusNotFound)
		}
	default:
		w.WriteHeader(http.StatusTeapot)
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func layoutOf(t *testing.T, layer string) (dir, manifest string) {
	t.Helper()
	dir = t.TempDir()
	write := func(path, text string) {
		t.Helper()
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(text string) string {
		digest := digestOf(text)
		write("blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), text)
		return digest
	}
	manifest = `{"config":{"digest":"` + blob("{}") + `","size":2},"layers":[{"digest":"` + blob(layer) + `","size":5}]}`
	write("index.json", `{"manifests":[{"mediaType":"m","digest":"`+blob(manifest)+`"}]}`)
	return dir, manifest
}

func TestPushLayout(t *testing.T) {
	ctx := context.Background()
	r := &recorder{blobs: map[string]bool{}, manifests: map[string]string{}}
	server := httptest.NewTLSServer(r)
	defer server.Close()
	repo := Repository{Client: server.Client(), Host: strings.TrimPrefix(server.URL, "https://"), Name: "os/base", User: "u", Password: "p"}
	if has, err := repo.Has(ctx, "latest"); err != nil || has {
		t.Fatalf("before: has %v, %v", has, err)
	}
	dir, manifest := layoutOf(t, "layer")
	for push := range 2 {
		digest, err := repo.PushLayout(ctx, dir, "latest")
		if err != nil || digest != digestOf(manifest) || r.manifests["latest"] != manifest {
			t.Fatalf("push %d: %q, %v", push, digest, err)
		}
		if r.uploads != 2 {
			t.Errorf("push %d: %d uploads so far, want the 2 of the first push", push, r.uploads)
		}
	}
	if has, err := repo.Has(ctx, "latest"); err != nil || !has {
		t.Errorf("after: has %v, %v", has, err)
	}
	repo.Password = "wrong"
	if _, err := repo.PushLayout(ctx, dir, "latest"); !errors.Is(err, errAnswer) {
		t.Errorf("wrong password: %v", err)
	}
}
