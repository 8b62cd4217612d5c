package kubelet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is a registry of this process, over TLS, that keeps images in memory.
type Registry struct {
	// Host is what pullspecs begin with, CA the certificate to trust, in PEM.
	Host string
	CA   []byte

	server  *httptest.Server
	inner   http.Handler
	fault   atomic.Int32
	history *history
}

// NewRegistry starts one; the caller closes it.
func NewRegistry() *Registry {
	r := &Registry{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0))), history: newHistory()}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch status := int(r.fault.Load()); status {
		case 0:
			r.serve(w, q)
		case Down:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(status)
		}
	}))
	r.Host = r.server.Listener.Addr().String()
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	r.server.StartTLS()
	r.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	return r
}

// certificate is one for this machine. Its key is of an elliptic curve: every
// question to a registry is a connection of its own, and signing with RSA took a
// tenth of the time of the tests that ask much.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // there is no randomness
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "example.com"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	data, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err) // the template is complete
	}
	return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}

// Close ends the registry.
func (r *Registry) Close() { r.server.Close() }

// Down makes Fault drop every connection.
const Down = -1

// Fault makes every request fail with an HTTP status from now on, or, with
// Down, with no answer at all; 0 ends that.
func (r *Registry) Fault(status int) { r.fault.Store(int32(status)) }

// RoundTrip implements http.RoundTripper for a look at what the registry has,
// whatever Fault says.
func (r *Registry) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.inner.ServeHTTP(w, q)
	response := w.Result()
	response.Request = q
	return response, nil
}

// Push pushes an image as a build does and returns its digest.
func (r *Registry) Push(ctx context.Context, pullspec string, image v1.Image) (string, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, image, append(r.once(), remote.WithContext(ctx))...); err != nil {
		return "", err
	}
	digest, err := image.Digest()
	return digest.String(), err
}

// once are the options of one try: a fault is to be met, not to be waited out.
func (r *Registry) once() []remote.Option {
	return []remote.Option{
		remote.WithTransport(r.server.Client().Transport), remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes(),
	}
}

// Labels returns the labels of an image; an error when it is not there.
func (r *Registry) Labels(pullspec string) (map[string]string, error) {
	image, err := r.image(pullspec)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	return config.Config.Labels, nil
}

// Has tells whether an image is there.
func (r *Registry) Has(pullspec string) bool {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return false
	}
	_, err = remote.Head(ref, remote.WithTransport(r))
	return err == nil
}

// Delete removes a tag and the image that it names.
func (r *Registry) Delete(tag string) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	named, err := r.Digest(tag)
	if err != nil {
		return err
	}
	digest, err := name.NewDigest(named)
	if err != nil {
		return err
	}
	// Nobody is to miss it before it is known why. A tag may outlive its image.
	if r.Has(named) {
		r.history.mu.Lock()
		r.history.removed[named] = true
		r.history.mu.Unlock()
	}
	if err := remote.Delete(ref, remote.WithTransport(r)); err != nil {
		return err
	}
	return remote.Delete(digest, remote.WithTransport(r))
}
