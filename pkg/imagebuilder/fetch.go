package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// maxSource bounds a file that a MachineConfig names by URL.
const maxSource = 256 << 20

// fetcher reads the http and https sources of a MachineConfig.
type fetcher struct {
	client *http.Client
	tries  int
	wait   time.Duration
}

func newFetcher(c *registryaccess.Clients) (*fetcher, error) {
	transport, err := registry.NewTransport(c.CAs, c.Proxy)
	if err != nil {
		return nil, err
	}
	return &fetcher{client: &http.Client{Transport: transport, Timeout: 5 * time.Minute}, tries: 4, wait: time.Second}, nil
}

// errStatus is an answer that will be the same next time.
var errStatus = errors.New("unexpected status")

// fetch repeats what can pass: no answer, or one of 429 and 5xx. The content is
// verified by the config layer, which knows the expected hash.
func (f *fetcher) fetch(ctx context.Context, source configlayer.Source) ([]byte, error) {
	for try := 1; ; try++ {
		content, err := f.once(ctx, source)
		if err == nil || try >= f.tries || errors.Is(err, errStatus) || errors.Is(err, registry.ErrProxy) || ctx.Err() != nil {
			return content, err
		}
		timer := time.NewTimer(f.wait << (try - 1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

func (f *fetcher) once(ctx context.Context, source configlayer.Source) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w: %w", source.At, errStatus, withoutURL(err))
	}
	for key, values := range source.Header {
		request.Header[http.CanonicalHeaderKey(key)] = values
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %s: %w", source.At, plain(request.URL), withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	switch code := response.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("fetching %s: %s: %w: it answers %s", source.At, plain(request.URL), registry.ErrProxy, response.Status)
	case code == http.StatusTooManyRequests, code >= 500:
		return nil, fmt.Errorf("fetching %s: %s answers %s", source.At, plain(request.URL), response.Status)
	default:
		return nil, fmt.Errorf("fetching %s: %w %s of %s", source.At, errStatus, response.Status, plain(request.URL))
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", source.At, err)
	}
	if len(content) > maxSource {
		return nil, fmt.Errorf("fetching %s: %w: more than %s", source.At, errStatus, steplog.Size(maxSource))
	}
	return content, nil
}

// plain is a URL for messages: a user or a query may be what lets one in.
func plain(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// withoutURL drops the URL that net/http puts before its errors.
func withoutURL(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
