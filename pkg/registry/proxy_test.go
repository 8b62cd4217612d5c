package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// newProxy starts a proxy that knows one tunnel, to the registry, and wants a
// login if one is given. It counts tunnels.
func newProxy(t *testing.T, to *registrytest.Server, login string) (address string, tunnels *atomic.Int32) {
	t.Helper()
	tunnels = &atomic.Int32{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
		if login != "" && r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		tunnels.Add(1)
		tunnel(t, w, to.Host)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), tunnels
}

func tunnel(t *testing.T, w http.ResponseWriter, host string) {
	far, err := net.Dial("tcp", host)
	if err != nil {
		t.Error(err)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
}

// TestProxy: a registry that only the proxy knows the way to is reached, under
// its own certificate.
func TestProxy(t *testing.T) {
	// The certificates of package httptest are for this name.
	const host = "example.com:5000"
	for name, row := range map[string]struct {
		login, given, no string
		want             string // part of the error
		tunnels          bool
	}{
		"without a login":    {tunnels: true},
		"with a login":       {login: "user:hunter2", given: "user:hunter2@", tunnels: true},
		"with a wrong login": {login: "user:hunter2", given: "user:hunter3@", want: "answers 407 Proxy Authentication Required"},
		"not for this host":  {no: "example.com", want: "registry unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.New(t)
			smallImage(t, server)
			address, tunnels := newProxy(t, server, row.login)
			client, err := registry.NewClient(registry.Options{
				CAs: [][]byte{server.CA}, Retry: registry.Retry{Tries: 1},
				Proxy: proxy.Config{HTTPS: "http://" + row.given + address, No: row.no},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if row.no != "" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				cancel() // nothing answers there, or somebody else does
			}
			_, err = client.Resolve(ctx, host+"/os/base:1")
			switch {
			case row.no != "":
				if err == nil {
					t.Error("there was an answer")
				}
			case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("error = %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("%v shows the login", err)
			}
			if (tunnels.Load() > 0) != row.tunnels {
				t.Errorf("%d tunnels", tunnels.Load())
			}
		})
	}
}

func TestProxyThatIsDown(t *testing.T) {
	server := registrytest.New(t)
	client, err := registry.NewClient(registry.Options{
		CAs: [][]byte{server.CA}, Retry: registry.Retry{Tries: 1}, Proxy: proxy.Config{HTTPS: "http://user:hunter2@127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Resolve(context.Background(), "example.com:5000/os/base:1")
	if !errors.Is(err, registry.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
	if _, err := registry.NewClient(registry.Options{Proxy: proxy.Config{HTTP: "hunter2@x"}}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}

// TestAnswersOfProxiesAreToldFromRegistries: what net/http says by itself has neither the
// proxy nor its status.
func TestAnswersOfProxiesAreToldFromRegistries(t *testing.T) {
	for status, row := range map[int]struct {
		class     error
		temporary bool
	}{
		http.StatusProxyAuthRequired:  {registry.ErrProxy, false},
		http.StatusForbidden:          {registry.ErrProxy, false},
		http.StatusNotFound:           {registry.ErrProxy, false},
		http.StatusTooManyRequests:    {registry.ErrUnavailable, true},
		http.StatusBadGateway:         {registry.ErrUnavailable, true},
		http.StatusServiceUnavailable: {registry.ErrUnavailable, true},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(status) }))
			t.Cleanup(server.Close)
			address := server.Listener.Addr().String()
			client, err := registry.NewClient(registry.Options{Retry: registry.Retry{Tries: 4, Wait: time.Millisecond}, Proxy: proxy.Config{HTTPS: "http://user:hunter2@" + address}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Resolve(context.Background(), "registry.example.com/os/base:1")
			var failure *registry.Error
			if !errors.As(err, &failure) || !errors.Is(failure.Class, row.class) || failure.Temporary() != row.temporary || failure.Status != status {
				t.Errorf("error %#v, want %v", err, row.class)
			}
			if want := fmt.Sprintf("proxy %s answers %d %s", address, status, http.StatusText(status)); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want %q without the login", err, want)
			}
			if n := asked.Load(); !row.temporary && n != 1 || row.temporary && n < 4 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
