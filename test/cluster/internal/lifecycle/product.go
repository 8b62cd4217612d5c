package lifecycle

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/ociregistry"
)

// productImage builds one target, under a tag that names its contents, and brings it to the registry and the node.
func (c Cluster) productImage(ctx context.Context, client *http.Client, contextDir, target string, binaries ...string) (string, error) {
	begin := time.Now()
	tag, err := c.images().ProductTag(contextDir, binaries...)
	if err != nil {
		return "", err
	}
	repo := ociregistry.Repository{Client: client, Host: layout.Registry, Name: "machine-os-builder/" + target}
	full := repo.Host + "/" + repo.Name + ":" + tag
	has, err := repo.Has(ctx, tag)
	if err != nil {
		return "", fmt.Errorf("asking for image %s: %w", full, err)
	}
	if !has {
		local := "localhost/machine-os-builder/" + target + ":" + tag
		if err := c.images().EnsureProduct(ctx, contextDir, target, local); err != nil {
			return "", err
		}
		if err := c.images().Push(ctx, local, full, c.Dirs.PKI("ca.crt"), ""); err != nil {
			return "", err
		}
	}
	if err := c.ctr(ctx, "images", "pull", "--hosts-dir", c.Dirs.CertsDir(), full); err != nil {
		return "", err
	}
	if !has {
		fmt.Fprintf(c.Progress, "image %s is on the node, after %s\n", full, time.Since(begin).Round(100*time.Millisecond))
	}
	return full, nil
}
