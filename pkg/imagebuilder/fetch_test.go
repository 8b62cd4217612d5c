package imagebuilder

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

func TestFetch(t *testing.T) {
	requests := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		switch {
		case r.URL.Path == "/flaky" && requests < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/missing":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/broken":
			w.WriteHeader(http.StatusBadGateway)
		default:
			_, _ = io.WriteString(w, "content for "+r.Header.Get("X-Token"))
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	fetch, err := newFetcher(&registryaccess.Clients{CAs: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}})
	if err != nil {
		t.Fatal(err)
	}
	fetch.wait = time.Millisecond
	tests := []struct {
		path, want string
		requests   int
	}{
		{"/file", "", 1},
		{"/flaky", "", 3},
		{"/missing", "404", 1},
		{"/broken", "502", fetch.tries},
	}
	for _, test := range tests {
		requests = 0
		content, err := fetch.fetch(context.Background(), configlayer.Source{
			URL: server.URL + test.path, Header: map[string][]string{"x-token": {"me"}}, At: "$.storage.files[0].contents",
		})
		switch {
		case test.want == "" && (err != nil || !bytes.Equal(content, []byte("content for me"))):
			t.Errorf("%s: %q, %v", test.path, content, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "$.storage.files[0].contents")):
			t.Errorf("%s: error = %v", test.path, err)
		}
		if requests != test.requests {
			t.Errorf("%s: %d requests, want %d", test.path, requests, test.requests)
		}
	}
}

// TestFetchKeepsSecretsOfURLs: what a URL may hold to be let in is in no message.
func TestFetchKeepsSecretsOfURLs(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		case "/elsewhere":
			http.Redirect(w, r, "https://127.0.0.1:1/other?t=SECRET", http.StatusFound)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	fetch, err := newFetcher(&registryaccess.Clients{CAs: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}})
	if err != nil {
		t.Fatal(err)
	}
	fetch.tries = 1
	host := strings.TrimPrefix(server.URL, "https://")
	for name, row := range map[string]struct{ url, want string }{
		"missing":      {"https://SECRET:SECRET@" + host + "/missing?t=SECRET#SECRET", "https://" + host + "/missing"},
		"broken":       {"https://SECRET:SECRET@" + host + "/broken?t=SECRET", "https://" + host + "/broken"},
		"no answer":    {"https://SECRET:SECRET@127.0.0.1:1/x?t=SECRET", "https://127.0.0.1:1/x"},
		"elsewhere":    {server.URL + "/elsewhere?t=SECRET", "refused"},
		"not readable": {"https://SECRET:SECRET@h/x%zz?t=SECRET", "$.at"},
	} {
		_, err := fetch.fetch(context.Background(), configlayer.Source{URL: row.url, At: "$.at"})
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestFetchTrustsNoOtherAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	fetch, err := newFetcher(&registryaccess.Clients{})
	if err != nil {
		t.Fatal(err)
	}
	fetch.tries = 1
	if _, err := fetch.fetch(context.Background(), configlayer.Source{URL: server.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error = %v", err)
	}
}
