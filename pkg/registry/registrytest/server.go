package registrytest

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Server is one registry.
type Server struct {
	// Host is what pullspecs begin with.
	Host string
	// CA is the certificate to trust, in PEM.
	CA []byte

	transport http.RoundTripper

	mu       sync.Mutex
	inner    http.Handler
	blobs    map[string]bool // "repository digest"
	uploads  map[string]int64
	requests []string
	fault    func(*http.Request) (status int, faulty bool)
	login    func(user, password string, r *http.Request) int
	noMount  bool
}

// New starts a registry.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		inner:   registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		blobs:   map[string]bool{},
		uploads: map[string]int64{},
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	s.transport = server.Client().Transport
	s.Host = server.Listener.Addr().String()
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return s
}

// Fault sets what decides, for every request, whether it fails and how. Status 0
// drops the connection. Nil ends the faults.
func (s *Server) Fault(fault func(*http.Request) (status int, faulty bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Login sets what checks logins, with basic authentication; it returns a status,
// 0 for allowed. A request without a login has an empty user.
func (s *Server) Login(check func(user, password string, r *http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login = check
}

// RefuseMounts makes the registry answer a mount with an upload, as a registry
// may.
func (s *Server) RefuseMounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noMount = true
}

// Requests returns "METHOD path" of every request since the last call.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	return requests
}

// Uploaded returns the bytes of blobs that were uploaded to a repository.
func (s *Server) Uploaded(repository string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[repository]
}

var (
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.refused(w, r) {
		return
	}
	if match := blobPath.FindStringSubmatch(r.URL.Path); match != nil && !s.has(match[1], match[2]) {
		http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"unknown"}]}`, http.StatusNotFound)
		return
	}
	if match := uploadPath.FindStringSubmatch(r.URL.Path); match != nil {
		s.upload(w, r, match[1])
		return
	}
	s.inner.ServeHTTP(w, r)
}

func (s *Server) refused(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	fault, login := s.fault, s.login
	s.mu.Unlock()
	if fault != nil {
		if status, faulty := fault(r); faulty {
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
			return true
		}
	}
	if login == nil {
		return false
	}
	user, password, _ := r.BasicAuth()
	status := login(user, password, r)
	if status == 0 {
		return false
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	}
	w.WriteHeader(status)
	return true
}

func (s *Server) has(repository, digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[repository+" "+digest]
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request, repository string) {
	query := r.URL.Query()
	mount, from := query.Get("mount"), query.Get("from")
	s.mu.Lock()
	mounted := mount != "" && !s.noMount && s.blobs[from+" "+mount]
	if mounted {
		s.blobs[repository+" "+mount] = true
	}
	if digest := query.Get("digest"); r.Method == http.MethodPut && digest != "" {
		s.blobs[repository+" "+digest] = true
	}
	if r.ContentLength > 0 {
		s.uploads[repository] += r.ContentLength
	}
	s.mu.Unlock()
	if mounted {
		w.Header().Set("Location", "/v2/"+repository+"/blobs/"+mount)
		w.Header().Set("Docker-Content-Digest", mount)
		w.WriteHeader(http.StatusCreated)
		return
	}
	if mount != "" {
		query.Del("mount")
		query.Del("from")
		query.Del("origin")
		r = r.Clone(r.Context())
		r.URL.RawQuery = query.Encode()
	}
	s.inner.ServeHTTP(w, r)
}

// Count counts the requests whose text contains all of the parts.
func Count(requests []string, parts ...string) int {
	count := 0
next:
	for _, request := range requests {
		for _, part := range parts {
			if !strings.Contains(request, part) {
				continue next
			}
		}
		count++
	}
	return count
}
