package kubelet

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// history is what a registry remembers of its images, those that are gone too.
// Its keys are pullspecs.
type history struct {
	mu sync.Mutex
	// had are the digests that were ever pushed, removed those that Delete was for.
	had, removed map[string]bool
	// told is when somebody was last told what a pullspec names.
	told map[string]time.Time
}

func newHistory() *history {
	return &history{had: map[string]bool{}, removed: map[string]bool{}, told: map[string]time.Time{}}
}

// Had tells whether the registry ever had what a pullspec by digest names.
func (r *Registry) Had(pullspec string) bool {
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	return r.history.had[pullspec]
}

// Removed tells whether Delete was for what a pullspec by digest names.
func (r *Registry) Removed(pullspec string) bool {
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	return r.history.removed[pullspec]
}

// Told is when a client was last told what a pullspec names; zero for never.
func (r *Registry) Told(pullspec string) time.Time {
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	return r.history.told[pullspec]
}

// Digest is the pullspec by digest of what a pullspec names.
func (r *Registry) Digest(pullspec string) (string, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return "", err
	}
	head, err := remote.Head(ref, remote.WithTransport(r))
	if err != nil {
		return "", err
	}
	return ref.Context().Digest(head.Digest.String()).Name(), nil
}

// serve answers a request and remembers it.
func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	repository, reference, found := strings.Cut(strings.TrimPrefix(q.URL.Path, "/v2/"), "/manifests/")
	if !found {
		r.inner.ServeHTTP(w, q)
		return
	}
	repository = r.Host + "/" + repository
	body, err := io.ReadAll(q.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	// Whoever finds an image by now finds it in the history too.
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	answer := &answered{ResponseWriter: w}
	r.inner.ServeHTTP(answer, q)
	switch {
	case q.Method == http.MethodPut && answer.status == http.StatusCreated:
		digest, _, _ := v1.SHA256(bytes.NewReader(body)) // of bytes that are there
		r.history.had[repository+"@"+digest.String()] = true
	case answer.status == http.StatusOK:
		r.history.told[repository+":"+reference] = time.Now()
	}
}

// answered notes the status of an answer.
type answered struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}
