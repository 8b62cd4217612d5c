package registry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

var fast = registry.Retry{Tries: 3, Wait: time.Millisecond}

func newClient(t *testing.T, cas [][]byte, login string) *registry.Client {
	t.Helper()
	options := registry.Options{CAs: cas, Retry: fast}
	if login != "" {
		var err error
		if options.Credentials, err = dockerconfig.ParseDockerCfg([]byte(login)); err != nil {
			t.Fatal(err)
		}
	}
	client, err := registry.NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func smallImage(t *testing.T, server *registrytest.Server) string {
	t.Helper()
	layer := registrytest.Tar(t, registrytest.Member{Name: "etc/"}, registrytest.Member{Name: "etc/os-release", Content: "ID=test\n"})
	return server.Push(t, "os/base:1", registrytest.Image(t, "amd64", layer))
}

func TestResolveAndInspect(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	client := newClient(t, [][]byte{server.CA}, "")
	info, err := client.Inspect(context.Background(), pullspec)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := client.Resolve(context.Background(), pullspec)
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != digest || info.Index || info.Labels["vendor"] != "test" || strings.Join(info.Platforms, ",") != "linux/amd64" {
		t.Errorf("info = %+v, digest = %s", info, digest)
	}
	byDigest := server.Host + "/os/base@" + digest
	if again, err := client.Resolve(context.Background(), byDigest); err != nil || again != digest {
		t.Errorf("by digest: %s, %v", again, err)
	}
}

func TestS30AnswersAreToldApart(t *testing.T) {
	tests := []struct {
		status    int
		want      error
		temporary bool
		manifests bool // only manifest requests fail, not the ping
	}{
		{401, registry.ErrUnauthorized, false, true},
		{403, registry.ErrDenied, false, true},
		{404, registry.ErrNotFound, false, true},
		{405, registry.ErrUnsupported, false, true},
		{400, registry.ErrRejected, false, true},
		{429, registry.ErrRateLimited, true, true},
		{500, registry.ErrUnavailable, true, true},
		{503, registry.ErrUnavailable, true, true},
		{0, registry.ErrUnavailable, true, true},
		{403, registry.ErrDenied, false, false},
		{429, registry.ErrRateLimited, true, false},
		{502, registry.ErrUnavailable, true, false},
	}
	all := []error{
		registry.ErrUnauthorized, registry.ErrDenied, registry.ErrNotFound, registry.ErrUnsupported,
		registry.ErrRejected, registry.ErrRateLimited, registry.ErrUnavailable, registry.ErrTLS, registry.ErrInvalidReference,
		registry.ErrProxy,
	}
	for _, test := range tests {
		server := registrytest.New(t)
		pullspec := smallImage(t, server)
		server.Fault(func(r *http.Request) (int, bool) {
			return test.status, !test.manifests || strings.Contains(r.URL.Path, "/manifests/")
		})
		client := newClient(t, [][]byte{server.CA}, "")
		for name, ask := range map[string]func() error{
			"resolve": func() error { _, err := client.Resolve(context.Background(), pullspec); return err },
			"inspect": func() error { _, err := client.Inspect(context.Background(), pullspec); return err },
		} {
			err := ask()
			for _, class := range all {
				if errors.Is(err, class) != errors.Is(test.want, class) {
					t.Errorf("%s, status %d: error %v, is %v: %v", name, test.status, err, class, errors.Is(err, class))
				}
			}
			var answer *registry.Error
			if !errors.As(err, &answer) || answer.Temporary() != test.temporary || !strings.Contains(answer.Reference, "os/base:1") {
				t.Errorf("%s, status %d: error = %#v", name, test.status, err)
			}
		}
	}
}

func TestLogins(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	server.Login(func(user, password string, _ *http.Request) int {
		switch {
		case user == "good" && password == "p:w":
			return 0
		case user == "reader":
			return http.StatusForbidden
		default:
			return http.StatusUnauthorized
		}
	})
	tests := []struct {
		login string
		want  error
	}{
		{"", registry.ErrUnauthorized},
		{`{"` + server.Host + `":{"username":"bad","password":"hunter2"}}`, registry.ErrUnauthorized},
		{`{"` + server.Host + `":{"username":"reader","password":"x"}}`, registry.ErrDenied},
		{`{"` + server.Host + `":{"username":"good","password":"p:w"}}`, nil},
		{`{"` + server.Host + `":{"username":"bad","password":"x"},"` + server.Host + `/os":{"username":"good","password":"p:w"}}`, nil},
		{`{"` + server.Host + `/other":{"username":"good","password":"p:w"}}`, registry.ErrUnauthorized},
	}
	for _, test := range tests {
		_, err := newClient(t, [][]byte{server.CA}, test.login).Resolve(context.Background(), pullspec)
		if !errors.Is(err, test.want) {
			t.Errorf("login %.60s…: error = %v, want %v", test.login, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v has the password in it", err)
		}
	}
}

func TestOtherFailures(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	plain := http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = plain.Serve(listener) }()
	t.Cleanup(func() { _ = plain.Close() })
	tests := []struct {
		name, pullspec string
		cas            [][]byte
		want           error
	}{
		{"unknown authority", pullspec, nil, registry.ErrTLS},
		{"no such tag", server.Host + "/os/base:2", [][]byte{server.CA}, registry.ErrNotFound},
		{"no such repository", server.Host + "/os/none:1", [][]byte{server.CA}, registry.ErrNotFound},
		{"bad reference", "quay.io/UPPER:1", nil, registry.ErrInvalidReference},
		{"nothing listens", closed.Addr().String() + "/os/base:1", nil, registry.ErrUnavailable},
		{"speaks no TLS", listener.Addr().String() + "/os/base:1", nil, registry.ErrTLS},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newClient(t, test.cas, "").Resolve(context.Background(), test.pullspec)
			if !errors.Is(err, test.want) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
			if strings.Contains(err.Error(), "http://") {
				t.Errorf("error %v tells of the try without TLS", err)
			}
		})
	}
	if _, err := registry.NewClient(registry.Options{CAs: [][]byte{[]byte("nonsense")}}); err == nil {
		t.Error("a bundle without certificates was accepted")
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	release := make(chan struct{})
	defer close(release)
	server.Fault(func(r *http.Request) (int, bool) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return 500, true
	})
	client := newClient(t, [][]byte{server.CA}, "")
	expired, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Resolve(expired, pullspec); !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v, want ErrUnavailable by DeadlineExceeded", err)
	}
	cancelled, cancelNow := context.WithCancel(context.Background())
	cancelNow()
	if _, err := client.Resolve(cancelled, pullspec); !errors.Is(err, context.Canceled) || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("cancelled: %v, want Canceled alone", err)
	}
}

func TestTransientFailuresAreRetried(t *testing.T) {
	for _, status := range []int{429, 500, 503, 0} {
		server := registrytest.New(t)
		pullspec := smallImage(t, server)
		failures := 2
		server.Fault(func(r *http.Request) (int, bool) {
			if !strings.Contains(r.URL.Path, "/manifests/") || failures == 0 {
				return 0, false
			}
			failures--
			return status, true
		})
		if _, err := newClient(t, [][]byte{server.CA}, "").Resolve(context.Background(), pullspec); err != nil {
			t.Errorf("status %d twice: %v", status, err)
		}
	}
}
