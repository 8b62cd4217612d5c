package configlayer

import (
	"errors"
	"fmt"
)

// ConfigError says that the MachineConfig cannot be laid over the base image as
// it is: somebody must change it (or the base image), trying again is of no use.
type ConfigError struct {
	// Path is the place in the Ignition config, as in "$.storage.files[3]".
	Path string
	// Err says what is wrong there.
	Err error
}

// Error names the place and what is wrong.
func (e *ConfigError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

func configErrorf(at, format string, args ...any) error {
	return &ConfigError{Path: at, Err: fmt.Errorf(format, args...)}
}

// inConfig says where in the config an error arose, if nothing within has said
// so more exactly; name, if any, is what the config calls the thing there.
// Errors of the base's reader, of the fetcher and of the context are told apart:
// they are nothing that the config could do better.
func inConfig(at, name string, err error) error {
	if err == nil {
		return nil
	}
	var outside *outsideError
	var inside *ConfigError
	switch {
	case errors.As(err, &outside):
		if outside.placed {
			return outside
		}
		return &outsideError{placed: true, err: fmt.Errorf("%s: %w", at, outside.err)}
	case errors.As(err, &inside):
		at, err = inside.Path, inside.Err
	}
	if name != "" {
		err = fmt.Errorf("%q: %w", name, err)
	}
	return &ConfigError{Path: at, Err: err}
}

// outsideError marks an error that came from Deps or from the context; placed is
// set once it says for what of the config something was needed.
type outsideError struct {
	err    error
	placed bool
}

func (e *outsideError) Error() string { return e.err.Error() }
func (e *outsideError) Unwrap() error { return e.err }
