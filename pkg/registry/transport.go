package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// Traffic is how many bytes of content went over the network.
type Traffic struct {
	Down, Up int64
}

// NewTransport returns one that trusts the system's certificates and those of the
// PEM bundles, and goes through a proxy; the zero one is for what the environment
// says. It fails for a bundle without certificates, and for what is no proxy.
func NewTransport(bundles [][]byte, through proxy.Config) (*http.Transport, error) {
	if err := through.Check(); err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for i, bundle := range bundles {
		if !pool.AppendCertsFromPEM(bundle) {
			return nil, fmt.Errorf("reading certificate bundle %d: no certificate in it", i+1)
		}
	}
	by := http.ProxyFromEnvironment
	if !through.IsZero() {
		choose := through.For()
		by = func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
	}
	return &http.Transport{
		Proxy:                 by,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   20,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
		OnProxyConnectResponse: func(_ context.Context, by *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			return &proxyError{by.Host, answer.StatusCode, answer.Status}
		},
	}, nil
}

// proxyError is a proxy that made no connection. Without it, the words of the answer alone
// are left, as if they were the registry's.
type proxyError struct {
	host   string
	code   int
	status string
}

// Error implements error.
func (e *proxyError) Error() string { return fmt.Sprintf("proxy %s answers %s", e.host, e.status) }

// Unwrap tells other clients of the transport the class.
func (e *proxyError) Unwrap() error { return e.class() }

// Temporary lets the request be made again.
func (e *proxyError) Temporary() bool { return errors.Is(e.class(), ErrUnavailable) }

// class tells whether the proxy would not, or could not.
func (e *proxyError) class() error {
	if class := classOfStatus(e.code); errors.Is(class, ErrUnavailable) || errors.Is(class, ErrRateLimited) {
		return ErrUnavailable
	}
	return ErrProxy
}

// meter counts bytes and refuses to speak without TLS: the library below would
// fall back to plain HTTP for private addresses.
type meter struct {
	inner    http.RoundTripper
	down, up atomic.Int64
}

func (m *meter) traffic() Traffic { return Traffic{Down: m.down.Load(), Up: m.up.Load()} }

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" {
		return nil, fmt.Errorf("connecting to %s: plain %s is refused", request.URL.Host, request.URL.Scheme)
	}
	if request.Body != nil && request.Body != http.NoBody {
		request = request.Clone(request.Context())
		request.Body = &countingReader{ReadCloser: request.Body, count: &m.up}
	}
	response, err := m.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &countingReader{ReadCloser: response.Body, count: &m.down}
	return response, nil
}

type countingReader struct {
	io.ReadCloser
	count *atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.count.Add(int64(n))
	return n, err
}
