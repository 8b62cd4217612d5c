package registry_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestS31DeleteAnswersAreToldApart: what forbids, what is gone already, and
// what may succeed later are never taken for each other.
func TestS31DeleteAnswersAreToldApart(t *testing.T) {
	const unsupported = `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`
	for name, row := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"accepted":                    {202, "", nil},
		"done":                        {200, "", nil},
		"gone already":                {404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, registry.ErrNotFound},
		"no such repository":          {404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, registry.ErrNotFound},
		"forbidden for all":           {405, "", registry.ErrUnsupported},
		"forbidden, in other words":   {400, unsupported, registry.ErrUnsupported},
		"forbidden for this login":    {403, `{"errors":[{"code":"DENIED"}]}`, registry.ErrDenied},
		"no such login":               {401, "", registry.ErrUnauthorized},
		"too many requests":           {429, "", registry.ErrRateLimited},
		"broken":                      {500, "", registry.ErrUnavailable},
		"broken, with a word of that": {503, `{"errors":[{"code":"UNAVAILABLE"}]}`, registry.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete {
					w.WriteHeader(row.status)
					_, _ = w.Write([]byte(row.body)) // the client may have gone
				}
			}))
			t.Cleanup(server.Close)
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			err := newClient(t, [][]byte{ca}, "").Delete(t.Context(), strings.TrimPrefix(server.URL, "https://")+"/os/images@"+someDigest)
			if !errors.Is(err, row.want) || (row.want == nil) != (err == nil) {
				t.Errorf("error %v, want %v", err, row.want)
			}
		})
	}
}

func TestS31DeleteEndsInTime(t *testing.T) {
	server := registrytest.New(t)
	server.Fault(func(r *http.Request) (int, bool) { <-r.Context().Done(); return 0, true })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := newClient(t, [][]byte{server.CA}, "").Delete(ctx, server.Host+"/os/images@"+someDigest)
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

// TestDeleteByDigest takes that image and no other of the repository; of an
// index it takes the index alone.
func TestDeleteByDigest(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	layer := registrytest.Tar(t, registrytest.Member{Name: "etc/"})
	resolve := func(pullspec string) string {
		t.Helper()
		digest, err := client.Resolve(t.Context(), pullspec)
		if err != nil {
			t.Fatal(err)
		}
		return server.Host + "/os/images@" + digest
	}
	part := resolve(server.Push(t, "os/images:part", registrytest.Image(t, "amd64", layer)))
	index := resolve(server.Push(t, "os/images:index", registrytest.Index(t, registrytest.Image(t, "amd64", layer), registrytest.Image(t, "arm64", layer))))
	if err := client.Delete(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resolve(t.Context(), index); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the index, deleted: %v", err)
	}
	if _, err := client.Resolve(t.Context(), part); err != nil {
		t.Errorf("an image of its own that is part of the index: %v", err)
	}
	if err := client.Delete(t.Context(), index); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("deleted again: %v, want ErrNotFound", err)
	}
}
