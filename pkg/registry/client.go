package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// Retry says how often and how patiently a failed request is repeated. The zero
// value means five tries, the first wait 500 ms, doubling.
type Retry struct {
	Tries int
	Wait  time.Duration
}

// glances is how often a mirror is asked that does not answer.
const glances = 2

// Options configure a Client.
type Options struct {
	Credentials *dockerconfig.Config // nil: anonymous
	CAs         [][]byte             // PEM bundles, trusted besides the system's
	// Mirrors are where Open, Resolve, Inspect and what they return read images; nil for
	// where their names say. Nothing is ever pushed to one.
	Mirrors   *registriesconf.Config
	Proxy     proxy.Config // zero: as the environment says
	UserAgent string
	Retry     Retry
	Jobs      int // parallel requests, default 8
}

// Client talks to registries with one set of credentials. It is safe for
// concurrent use.
type Client struct {
	meter   *meter
	idle    func()
	options []remote.Option
	puller  *remote.Puller
	mirrors *registriesconf.Config
	// glance asks a mirror, after which there is another place to ask.
	glance *remote.Puller
	jobs   int
	wait   time.Duration
}

// NewClient fails only for a certificate bundle without certificates.
func NewClient(options Options) (*Client, error) {
	transport, err := NewTransport(options.CAs, options.Proxy)
	if err != nil {
		return nil, err
	}
	if options.Retry.Tries == 0 {
		options.Retry.Tries = 5
	}
	if options.Retry.Wait == 0 {
		options.Retry.Wait = 500 * time.Millisecond
	}
	if options.Jobs == 0 {
		options.Jobs = 8
	}
	if options.UserAgent == "" {
		options.UserAgent = "machine-os-builder"
	}
	client := &Client{
		meter: &meter{inner: transport}, idle: transport.CloseIdleConnections, mirrors: options.Mirrors,
		jobs: options.Jobs, wait: options.Retry.Wait,
	}
	client.options = []remote.Option{
		remote.WithTransport(client.meter),
		remote.WithAuthFromKeychain(keychain{options.Credentials}),
		remote.WithUserAgent(options.UserAgent),
		remote.WithJobs(options.Jobs),
		remote.WithRetryPredicate(retryable),
		remote.WithRetryBackoff(remote.Backoff{
			Duration: options.Retry.Wait, Factor: 2, Jitter: 0.1, Steps: options.Retry.Tries,
		}),
	}
	client.puller, err = remote.NewPuller(client.options...)
	if err != nil {
		return nil, fmt.Errorf("making registry client: %w", err)
	}
	if !options.Mirrors.IsZero() {
		client.glance, err = remote.NewPuller(append(slices.Clone(client.options), remote.WithRetryBackoff(remote.Backoff{
			Duration: options.Retry.Wait, Factor: 2, Jitter: 0.1, Steps: min(options.Retry.Tries, glances),
		}))...)
		if err != nil {
			return nil, fmt.Errorf("making registry client: %w", err)
		}
	}
	return client, nil
}

// retryable decides for single requests, below the classes of this package.
func retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var temporary interface{ Temporary() bool }
	var timeout net.Error
	return errors.As(err, &temporary) && temporary.Temporary() ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// Close gives up the connections that are kept open for further requests.
func (c *Client) Close() { c.idle() }

// Traffic returns the bytes moved since the client was made.
func (c *Client) Traffic() Traffic { return c.meter.traffic() }

// keychain answers the library's question for a login from a dockerconfig.
type keychain struct{ config *dockerconfig.Config }

// Resolve implements authn.Keychain.
func (k keychain) Resolve(resource authn.Resource) (authn.Authenticator, error) {
	repository := ""
	if repo, ok := resource.(name.Repository); ok {
		repository = repo.RepositoryStr()
	}
	credential, found := k.config.Lookup(resource.RegistryStr(), repository)
	if !found || credential.IsZero() {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: credential.Username, Password: credential.Password,
		IdentityToken: credential.IdentityToken, RegistryToken: credential.RegistryToken,
	}), nil
}

func parseReference(op, pullspec string) (name.Reference, error) {
	reference, err := name.ParseReference(pullspec)
	if err != nil {
		return nil, failure(op, pullspec, err)
	}
	return reference, nil
}

func parseTag(op, pullspec string) (name.Tag, error) {
	reference, err := parseReference(op, pullspec)
	if err != nil {
		return name.Tag{}, err
	}
	tag, isTag := reference.(name.Tag)
	if !isTag {
		return tag, &Error{Class: ErrInvalidReference, Op: op, Reference: pullspec, Detail: "has a digest, want a tag"}
	}
	return tag, nil
}

// Resolve asks for the digest of what a pullspec names: the mirrors as Open does.
func (c *Client) Resolve(ctx context.Context, pullspec string) (string, error) {
	const op = "resolving"
	var digest string
	err := c.anywhere(ctx, op, pullspec, func(source registriesconf.Source, puller *remote.Puller) error {
		reference, err := parseReference(op, source.Pullspec)
		if err != nil {
			return err
		}
		digest, err = resolve(ctx, op, reference, puller)
		return err
	})
	return digest, err
}

func resolve(ctx context.Context, op string, reference name.Reference, puller *remote.Puller) (string, error) {
	head, err := puller.Head(ctx, reference)
	if err == nil {
		return head.Digest.String(), nil
	}
	// A HEAD has no body to explain itself, and some registries do not answer it
	// well; a refusal is a refusal with GET too.
	switch err := failure(op, reference.String(), err); {
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrRateLimited), errors.Is(err, ErrTLS), errors.Is(err, ErrProxy), ctx.Err() != nil:
		return "", err
	}
	got, err := puller.Get(ctx, reference)
	if err != nil {
		return "", failure(op, reference.String(), err)
	}
	return got.Digest.String(), nil
}

// Info describes an image in a registry.
type Info struct {
	Digest      string
	MediaType   string
	Index       bool // several platforms
	Labels      map[string]string
	Annotations map[string]string
	Platforms   []string // "linux/amd64"
	Members     []string // digests of an index's images, in the order of Platforms
}

// Inspect reads an image's manifest and config. For an index, the labels are
// those of its first image, the annotations its own.
func (c *Client) Inspect(ctx context.Context, pullspec string) (Info, error) {
	base, err := c.open(ctx, "inspecting", pullspec)
	if err != nil {
		return Info{}, err
	}
	info := Info{Digest: base.Digest, MediaType: base.mediaType, Index: base.Index, Annotations: base.annotations}
	for i, image := range base.Images {
		info.Platforms = append(info.Platforms, image.Platform)
		if base.Index {
			info.Members = append(info.Members, image.Digest)
		}
		if i > 0 {
			continue
		}
		if info.Labels, err = image.Labels(); err != nil {
			return Info{}, failure("inspecting", pullspec, err)
		}
	}
	return info, nil
}

// Delete removes what a pullspec names; a registry that forbids it answers
// ErrUnsupported or ErrDenied.
func (c *Client) Delete(ctx context.Context, pullspec string) error {
	const op = "deleting"
	reference, err := parseReference(op, pullspec)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return failure(op, pullspec, err)
	}
	return failure(op, pullspec, pusher.Delete(ctx, reference))
}

// hashOf is for content that was already checked.
func hashOf(digest string) v1.Hash {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return v1.Hash{}
	}
	return hash
}
