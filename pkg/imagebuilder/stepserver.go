package imagebuilder

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// stepServer is a registry on the loopback interface, from which buildah pulls the
// images that steps left, all by one command. Layers that its store lacks it reads
// through this, from where they are kept.
type stepServer struct {
	listen     net.Listener
	server     *http.Server
	manifests  map[string][]byte // by tag, which is the step's key
	configs    map[string][]byte // by digest
	client     *registry.Client
	from       string // the repository of the layers
	mu         sync.Mutex
	firstError error
}

// stepRepository is its one repository.
const stepRepository = "/v2/steps"

// serveSteps starts one. Close ends it.
func serveSteps(ctx context.Context, images map[string]stepImage, client *registry.Client, from string) (*stepServer, error) {
	s := &stepServer{manifests: map[string][]byte{}, configs: map[string][]byte{}, client: client, from: from}
	for key, image := range images {
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "layers": image.Layers,
			"config": stepLayer{MediaType: string(types.OCIConfigJSON), Digest: digestOf(image.Config), Size: int64(len(image.Config))},
		})
		if err != nil {
			return nil, fmt.Errorf("encoding manifest: %w", err)
		}
		s.manifests[key], s.configs[digestOf(image.Config)] = manifest, image.Config
	}
	var err error
	if s.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // nothing to wait for
		return nil, fmt.Errorf("serving what steps left: %w", err)
	}
	s.server = &http.Server{Handler: s.routes(), ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = s.server.Serve(s.listen) }()
	return s, nil
}

func digestOf(content []byte) string { return "sha256:" + names.Content(content) }

func (s *stepServer) repository() string { return s.listen.Addr().String() + "/steps" }

// Close ends it at once.
func (s *stepServer) Close() { _ = s.server.Close() }

// err is the first failure to read a layer, which a client sees as a status alone.
func (s *stepServer) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.firstError
}

// routes is the part of the OCI's distribution protocol that pulling all tags takes.
func (s *stepServer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+stepRepository+"/tags/list", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "steps", "tags": slices.Sorted(maps.Keys(s.manifests))})
	})
	mux.HandleFunc("GET "+stepRepository+"/manifests/{key}", func(w http.ResponseWriter, r *http.Request) {
		manifest, found := s.manifests[r.PathValue("key")]
		if !found {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		_, _ = w.Write(manifest)
	})
	mux.HandleFunc("GET "+stepRepository+"/blobs/{digest}", s.blob)
	return mux
}

func (s *stepServer) blob(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	if config, found := s.configs[digest]; found {
		_, _ = w.Write(config)
		return
	}
	content, err := s.client.OpenBlob(r.Context(), s.from, digest)
	if err != nil {
		s.failed(err)
		http.Error(w, "the layer cannot be read", http.StatusBadGateway)
		return
	}
	_, err = io.Copy(w, content)
	_ = content.Close()
	if err != nil {
		s.failed(err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

func (s *stepServer) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.firstError == nil {
		s.firstError = err
	}
}
