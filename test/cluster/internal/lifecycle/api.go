package lifecycle

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/component"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

// client trusts the cluster's CA.
func (c Cluster) client() (*http.Client, error) {
	b, err := os.ReadFile(c.Dirs.PKI("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, errors.New("reading the cluster's CA: no certificate in it")
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}, nil
}

// get reads one path of the API as the administrator.
func (c Cluster) get(ctx context.Context, path string) ([]byte, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	token, err := os.ReadFile(c.Dirs.PKI("admin.token"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, layout.APIURL()+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the API server for %s: %s: %s", path, resp.Status, strings.TrimSpace(string(b)))
	}
	return b, nil
}

func (c Cluster) apiReady(ctx context.Context) error {
	_, err := c.get(ctx, "/readyz")
	return err
}

// nodeReady is nil when the node is ready and pods can be made: the default service account exists.
func (c Cluster) nodeReady(ctx context.Context) error {
	b, err := c.get(ctx, "/api/v1/nodes/"+layout.NodeName)
	if err != nil {
		return err
	}
	if err := parseNodeReady(b); err != nil {
		return err
	}
	_, err = c.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
	return err
}

func parseNodeReady(b []byte) error {
	var node struct {
		Spec struct {
			Taints []struct{ Key string } `json:"taints"`
		} `json:"spec"`
		Status struct {
			Conditions []struct{ Type, Status, Message string } `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal(b, &node); err != nil {
		return fmt.Errorf("reading the node: %w", err)
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type != "Ready" {
			continue
		}
		if cond.Status != "True" {
			return fmt.Errorf("node is not ready: %s", cond.Message)
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("node has taint %s", node.Spec.Taints[0].Key)
		}
		return nil
	}
	return errors.New("node has not reported yet")
}

// waitFor asks again and again until a check is good, one of the cluster's daemons has ended, or the limit has passed.
func (c Cluster) waitFor(ctx context.Context, what string, limit time.Duration, check func(context.Context) error, needs ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, name := range needs {
			if _, ok := c.daemons().Alive(name); !ok {
				return fmt.Errorf("waiting for %s: %s ended; its last words:\n%s", what, name, c.lastWords(name))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (logs: %s)", what, err, c.Dirs.Path("logs"))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c Cluster) lastWords(name string) string {
	b, err := os.ReadFile(c.daemons().Log(name))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	return strings.Join(lines, "\n")
}

// Status describes the cluster for a person: each daemon, then the node. It gives ErrDown when the cluster is not whole.
func (c Cluster) Status(ctx context.Context, w io.Writer) error {
	_, err := c.Load()
	for _, name := range component.Order() {
		if p, ok := c.daemons().Alive(name); ok {
			fmt.Fprintf(w, "%-24s running, pid %d\n", name, p.PID)
		} else {
			fmt.Fprintf(w, "%-24s not running\n", name)
		}
	}
	if err != nil {
		return err
	}
	if err := c.nodeReady(ctx); err != nil {
		return err
	}
	fmt.Fprintf(w, "%-24s ready\n", "node "+layout.NodeName)
	return nil
}
