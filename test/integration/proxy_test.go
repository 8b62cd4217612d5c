package integration

import (
	"net"
	"sync"
	"testing"
)

// proxy leads to the API server until it is cut.
type proxy struct {
	address string
	target  string
	mu      sync.Mutex
	isCut   bool
	open    map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{address: listener.Addr().String(), target: target, open: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = listener.Close(); p.cut() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go p.carry(from)
		}
	}()
	return p
}

// carry forwards a connection; one that is made while the proxy is cut stays
// open without an answer, as with a network that loses packets.
func (p *proxy) carry(from net.Conn) {
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = from.Close()
		return
	}
	p.mu.Lock()
	p.open[from], p.open[to] = true, true
	p.mu.Unlock()
	go p.copy(to, from)
	p.copy(from, to)
}

func (p *proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.lost() {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
}

func (p *proxy) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isCut
}

// cut loses everything from now on, in both directions.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
}

// mend forwards again. Connections that lost something are closed.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open, p.isCut = map[net.Conn]bool{}, false
}
