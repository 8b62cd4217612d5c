package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Traffic is how many bytes of content went over the network.
type Traffic struct {
	Down, Up int64
}

// NewTransport returns one that trusts the system's certificates and those of the
// PEM bundles. It fails for a bundle without certificates.
func NewTransport(bundles [][]byte) (*http.Transport, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for i, bundle := range bundles {
		if !pool.AppendCertsFromPEM(bundle) {
			return nil, fmt.Errorf("reading certificate bundle %d: no certificate in it", i+1)
		}
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   20,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
	}, nil
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
