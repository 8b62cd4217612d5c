package ociregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Repository is where images go: https://<Host>/<Name>. User and Password may be empty.
type Repository struct {
	Client   *http.Client
	Host     string
	Name     string
	User     string
	Password string
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

// PushLayout pushes the only image of the OCI layout in dir under a tag, and gives the image's digest. Blobs that the
// repository has are not sent again.
func (r Repository) PushLayout(ctx context.Context, dir, tag string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return "", err
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return "", fmt.Errorf("reading index of %s: %w", dir, err)
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("reading index of %s: %d images, want one", dir, len(index.Manifests))
	}
	top := index.Manifests[0]
	text, err := os.ReadFile(blobPath(dir, top.Digest))
	if err != nil {
		return "", err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return "", fmt.Errorf("reading manifest %s: %w", top.Digest, err)
	}
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		if err := r.pushBlob(ctx, d, blobPath(dir, d.Digest)); err != nil {
			return "", fmt.Errorf("pushing blob %s to %s/%s: %w", d.Digest, r.Host, r.Name, err)
		}
	}
	header := http.Header{"Content-Type": {top.MediaType}}
	resp, err := r.do(ctx, http.MethodPut, r.url("manifests/"+tag), header, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return "", err
	}
	return top.Digest, expect(resp, http.StatusCreated)
}

// Has says whether the repository has an image under this tag.
func (r Repository) Has(ctx context.Context, tag string) (bool, error) {
	header := http.Header{"Accept": {"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"}}
	resp, err := r.do(ctx, http.MethodHead, r.url("manifests/"+tag), header, nil, 0)
	if err != nil {
		return false, err
	}
	err = expect(resp, http.StatusOK, http.StatusNotFound)
	return resp.StatusCode == http.StatusOK, err
}

func (r Repository) pushBlob(ctx context.Context, d descriptor, path string) error {
	resp, err := r.do(ctx, http.MethodHead, r.url("blobs/"+d.Digest), nil, nil, 0)
	if err != nil {
		return err
	}
	if err := expect(resp, http.StatusOK, http.StatusNotFound); err != nil || resp.StatusCode == http.StatusOK {
		return err
	}
	resp, err = r.do(ctx, http.MethodPost, r.url("blobs/uploads/"), nil, nil, 0)
	if err != nil {
		return err
	}
	if err := expect(resp, http.StatusAccepted); err != nil {
		return err
	}
	upload, err := resp.Location()
	if err != nil {
		return err
	}
	q := upload.Query()
	q.Set("digest", d.Digest)
	upload.RawQuery = q.Encode()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	resp, err = r.do(ctx, http.MethodPut, upload.String(), header, f, d.Size)
	if err != nil {
		return err
	}
	return expect(resp, http.StatusCreated)
}

func (r Repository) url(path string) string {
	u := url.URL{Scheme: "https", Host: r.Host, Path: "/v2/" + r.Name + "/" + path}
	return u.String()
}

func (r Repository) do(ctx context.Context, method, to string, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.ContentLength = size
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	return r.Client.Do(req)
}

// errAnswer is an answer that was not expected.
var errAnswer = errors.New("unexpected answer")

func expect(resp *http.Response, codes ...int) error {
	defer resp.Body.Close()
	for _, c := range codes {
		if resp.StatusCode == c {
			return nil
		}
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return fmt.Errorf("%w: %s %s: %s %s", errAnswer, resp.Request.Method, resp.Request.URL.Path, resp.Status, strings.TrimSpace(string(b)))
}

func blobPath(dir, digest string) string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return filepath.Join(dir, "blobs", algorithm, hex)
}
