package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Layer is one that need not be handed over, because the registry has it.
type Layer struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // compressed
}

// A Receiver has one repository.
const (
	repository = "os-image"
	root       = "/v2/" + repository
	uploads    = root + "/blobs/uploads/"
)

// Receiver takes an image over the registry's protocol, and those of its steps, and
// lays them down. It checks nothing: Open does.
type Receiver struct {
	dir     string
	present map[string]int64
	listen  net.Listener
	server  *http.Server

	mu  sync.Mutex
	err error
}

// Receive starts a Receiver that writes into dir. It claims to have the layers
// of present. Close ends it.
func Receive(dir string, present []Layer) (*Receiver, error) {
	listen, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, fmt.Errorf("receiving the image: %w", err)
	}
	r := &Receiver{dir: dir, present: sizes(present), listen: listen}
	r.server = &http.Server{Handler: r.routes(), ReadHeaderTimeout: time.Minute}
	go func() { _ = r.server.Serve(listen) }()
	return r, nil
}

func sizes(layers []Layer) map[string]int64 {
	known := map[string]int64{}
	for _, layer := range layers {
		known[layer.Digest] = layer.Size
	}
	return known
}

// latest is the tag of the image; those of steps are tagged by their keys.
const latest = "latest"

// Pullspec is what to push to.
func (r *Receiver) Pullspec() string { return r.PullspecOf(latest) }

// PullspecOf is what to push the image of a step to, by its key.
func (r *Receiver) PullspecOf(key string) string {
	return r.listen.Addr().String() + "/" + repository + ":" + key
}

// Err is the first failure to write, which a client sees as a status alone.
func (r *Receiver) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close ends it at once.
func (r *Receiver) Close() { _ = r.server.Close() }

// routes is the part of the OCI's distribution protocol that a push takes.
func (r *Receiver) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("HEAD "+root+"/blobs/{digest}", r.stat)
	mux.HandleFunc("POST "+uploads+"{$}", r.begin)
	mux.HandleFunc("PATCH "+uploads+"{upload}", r.write)
	mux.HandleFunc("PUT "+uploads+"{upload}", r.finish)
	mux.Handle("HEAD "+root+"/manifests/{tag}", http.NotFoundHandler())
	mux.HandleFunc("PUT "+root+"/manifests/{tag}", r.manifest)
	return mux
}

func (r *Receiver) stat(w http.ResponseWriter, request *http.Request) {
	digest := request.PathValue("digest")
	size, found := r.present[digest]
	if !found {
		info, err := os.Lstat(r.blob(digest))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		size = info.Size()
	}
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
}

func (r *Receiver) begin(w http.ResponseWriter, _ *http.Request) {
	file, err := os.CreateTemp(r.dir, "upload-")
	if err != nil {
		r.failed(w, err)
		return
	}
	w.Header().Set("Location", uploads+filepath.Base(file.Name()))
	r.done(w, http.StatusAccepted, file.Close())
}

func (r *Receiver) write(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Location", request.URL.Path)
	r.done(w, http.StatusAccepted, appendTo(r.upload(request), request.Body))
}

func (r *Receiver) finish(w http.ResponseWriter, request *http.Request) {
	upload := r.upload(request)
	err := appendTo(upload, request.Body)
	if err == nil {
		err = os.Rename(upload, r.blob(request.URL.Query().Get("digest")))
	}
	r.done(w, http.StatusCreated, err)
}

func (r *Receiver) manifest(w http.ResponseWriter, request *http.Request) {
	content, err := io.ReadAll(request.Body)
	if err == nil {
		name := manifestFile
		if tag := request.PathValue("tag"); tag != latest {
			name = stepFile(tag)
		}
		err = os.WriteFile(filepath.Join(r.dir, name), content, 0o600)
	}
	r.done(w, http.StatusCreated, err)
}

// blob is the file of a digest.
func (r *Receiver) blob(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return filepath.Join(r.dir, filepath.Base(hex))
}

func (r *Receiver) upload(request *http.Request) string {
	return filepath.Join(r.dir, filepath.Base(request.PathValue("upload")))
}

func appendTo(path string, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

func (r *Receiver) done(w http.ResponseWriter, status int, err error) {
	if err != nil {
		r.failed(w, err)
		return
	}
	w.WriteHeader(status)
}

func (r *Receiver) failed(w http.ResponseWriter, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	w.WriteHeader(http.StatusInternalServerError)
}
