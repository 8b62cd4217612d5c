package live

import (
	"context"
	"fmt"
	"net"
)

// Gate is where a step of a build waits, as long as the test wants.
type Gate struct {
	// Step is the command that waits: of bash, in a step of a Dockerfile.
	Step     string
	listener net.Listener
	arrived  chan net.Conn
	step     net.Conn // that waits
}

// NewGate makes a gate on the node, which is closed until Open.
func (c *Cluster) NewGate() (*Gate, error) {
	listener, err := c.Listen()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	g := &Gate{
		Step:     fmt.Sprintf(`bash -c 'read line < /dev/tcp/%s/%s && test "$line" = open'`, host, port),
		listener: listener, arrived: make(chan net.Conn, 1),
	}
	go func() {
		defer close(g.arrived)
		if step, err := listener.Accept(); err == nil {
			g.arrived <- step
		}
	}()
	return g, nil
}

// Listen listens where pods get to: on the address of the node.
func (c *Cluster) Listen() (net.Listener, error) {
	host, _, err := net.SplitHostPort(c.Registry)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// Waits returns once a step waits at the gate.
func (g *Gate) Waits(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case step, ok := <-g.arrived:
		if !ok {
			return net.ErrClosed
		}
		g.step = step
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a step at the gate: %w", ctx.Err())
	}
}

// Open lets the step pass that waits.
func (g *Gate) Open() error {
	_, err := g.step.Write([]byte("open\n"))
	return err
}

// Close takes the gate away; a step that waits fails.
func (g *Gate) Close() error {
	if g.step != nil {
		_ = g.step.Close() // whoever waited may be gone
	}
	return g.listener.Close()
}
