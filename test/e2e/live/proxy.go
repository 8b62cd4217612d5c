package live

import (
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Proxy is a forward proxy on the node, for whoever has its login. To hosts that nobody
// resolves it alone knows the way.
type Proxy struct {
	Address string
	// Close ends it.
	Close func() error

	login  Login
	routes map[string]string

	mu           sync.Mutex
	led, refused map[string]bool
}

// ServeProxy starts a proxy; its routes are addresses by the host that is asked for, with
// the port unless that is plain HTTP's own.
func (c *Cluster) ServeProxy(login Login, routes map[string]string) (*Proxy, error) {
	listener, err := c.Listen()
	if err != nil {
		return nil, err
	}
	p := &Proxy{Address: listener.Addr().String(), login: login, routes: routes}
	p.Forget()
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	p.Close = server.Close
	go func() { _ = server.Serve(listener) }() // until it is closed
	return p, nil
}

// URL is the proxy's, with a login.
func (p *Proxy) URL(login Login) string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(login.User, login.Password), Host: p.Address}).String()
}

// Led are the hosts that the proxy led to since Forget.
func (p *Proxy) Led() []string { return p.hosts(&p.led) }

// Refused are those that somebody without the login asked for.
func (p *Proxy) Refused() []string { return p.hosts(&p.refused) }

func (p *Proxy) hosts(of *map[string]bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(*of))
}

// Forget begins both lists anew.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.led, p.refused = map[string]bool{}, map[string]bool{}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The login has the form of a registry's, in another header.
	asked := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := asked.BasicAuth()
	known := user == p.login.User && password == p.login.Password
	p.mu.Lock()
	if known {
		p.led[r.Host] = true
	} else {
		p.refused[r.Host] = true
	}
	p.mu.Unlock()
	to, found := p.routes[r.Host]
	if !found {
		to = r.Host
	}
	switch {
	case !known:
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
	case r.Method == http.MethodConnect:
		tunnel(w, to)
	default:
		forward := httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host = to }}
		forward.ServeHTTP(w, r)
	}
}

func tunnel(w http.ResponseWriter, to string) {
	far, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close() // nobody asks any more
		return
	}
	// Whoever has gone is noticed by what follows.
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	_, _ = io.Copy(near, far)
	_ = near.Close()
}

// Hidden is a server where no pod gets to by itself.
type Hidden struct {
	Address string
	CA      string // by which alone it is trusted
	// Close ends it.
	Close func() error
}

// ServeHidden serves plain HTTP on the loopback interface.
func ServeHidden(handler http.Handler) (Hidden, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Hidden{}, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	return Hidden{Address: listener.Addr().String(), Close: server.Close}, nil
}

// HideRegistry serves the open registry so under another name.
func (c *Cluster) HideRegistry(name string) (Hidden, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Hidden{}, err
	}
	certificate, ca, err := newCertificate(net.JoinHostPort(name, "443"))
	if err != nil {
		return Hidden{}, errors.Join(err, listener.Close())
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		Handler: &httputil.ReverseProxy{Transport: c.registry, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: c.Registry})
		}},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // until it is closed
	return Hidden{listener.Addr().String(), ca, server.Close}, nil
}
