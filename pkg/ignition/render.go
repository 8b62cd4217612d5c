package ignition

import (
	"context"
	"fmt"

	"github.com/coreos/ignition/v2/config/v3_5"
)

// maxReferences bounds how many configs one config may pull in, so that configs
// that name each other end in an error.
const maxReferences = 64

// FetchConfig returns the bytes of a config that another one refers to,
// decompressed and verified. at is the reference's place, as in
// "$.ignition.config.merge[0]".
type FetchConfig func(ctx context.Context, ref Resource, at string) ([]byte, error)

// Render resolves ignition.config.replace and .merge of cfg as Ignition does:
// a replacement stands in for the whole config, merged configs are laid over it
// in order, each rendered itself first. Warnings are those of the configs that
// were pulled in.
func Render(ctx context.Context, cfg Config, fetch FetchConfig, convert Converter) (Config, []string, error) {
	r := renderer{fetch: fetch, convert: convert}
	out, err := r.render(ctx, cfg)
	return out, r.warned, err
}

type renderer struct {
	fetch   FetchConfig
	convert Converter
	count   int
	warned  []string
}

func (r *renderer) render(ctx context.Context, cfg Config) (Config, error) {
	if ref := cfg.Ignition.Config.Replace; ref.Source != nil {
		replacement, err := r.get(ctx, ref, "$.ignition.config.replace")
		if err != nil {
			return Config{}, err
		}
		return r.render(ctx, replacement)
	}
	merged := cfg
	for i, ref := range cfg.Ignition.Config.Merge {
		child, err := r.get(ctx, ref, fmt.Sprintf("$.ignition.config.merge[%d]", i))
		if err != nil {
			return Config{}, err
		}
		if child, err = r.render(ctx, child); err != nil {
			return Config{}, err
		}
		merged = v3_5.Merge(merged, child)
	}
	return merged, nil
}

func (r *renderer) get(ctx context.Context, ref Resource, at string) (Config, error) {
	if r.count++; r.count > maxReferences {
		return Config{}, &RefError{At: at, Err: fmt.Errorf("more than %d configs are referred to", maxReferences)}
	}
	raw, err := r.fetch(ctx, ref, at)
	if err != nil {
		return Config{}, err
	}
	cfg, warned, err := Parse(raw, r.convert)
	if err != nil {
		return Config{}, &RefError{At: at, Err: err}
	}
	r.warned = append(r.warned, warned...)
	return cfg, nil
}

// RefError says that a config that another one refers to cannot be used.
type RefError struct {
	// At is the reference's place in the config that holds it.
	At string
	// Err says why.
	Err error
}

// Error names the place and the reason.
func (e *RefError) Error() string { return e.At + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *RefError) Unwrap() error { return e.Err }
