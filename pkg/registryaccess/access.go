package registryaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// The errors of Clients and ReadProxy.
var (
	// ErrInvalid says that a setting is wrong.
	ErrInvalid = errors.New("invalid access settings")
	// ErrStale says that a mounted setting is not what this build was started for.
	ErrStale = errors.New("the node shows another build's input")
)

// invalidError is an ErrInvalid that says only what is wrong.
type invalidError struct{ error }

// Unwrap implements errors.Unwrap.
func (e invalidError) Unwrap() []error { return []error{ErrInvalid, e.error} }

func invalid(format string, args ...any) error { return invalidError{fmt.Errorf(format, args...)} }

// SecretError says that a mounted Secret has no logins that can be read; it is an
// ErrInvalid.
type SecretError struct {
	Dir string // where it is mounted
	Err error
}

// Error implements error.
func (e *SecretError) Error() string { return fmt.Sprintf("secret mounted at %s: %v", e.Dir, e.Err) }

// Unwrap implements errors.Unwrap.
func (e *SecretError) Unwrap() error { return e.Err }

// readCredentials merges the mounted Secrets; the first that has a login wins.
func readCredentials(dirs []string) (*dockerconfig.Config, error) {
	var configs []*dockerconfig.Config
	for _, dir := range dirs {
		files := map[string][]byte{}
		for _, name := range []string{dockerconfig.KeyDockerConfigJSON, dockerconfig.KeyDockerCfg} {
			content, err := os.ReadFile(filepath.Join(dir, name))
			switch {
			case err == nil:
				files[name] = content
			case !errors.Is(err, fs.ErrNotExist):
				return nil, invalid("reading credentials: %w", err)
			}
		}
		config, err := dockerconfig.ParseFiles(files)
		if err != nil {
			return nil, invalid("%w", &SecretError{dir, err})
		}
		configs = append(configs, config)
	}
	return dockerconfig.Merge(configs...), nil
}

// ReadCAs reads the certificate bundles that are there: the ConfigMap they come
// from is an optional one.
func ReadCAs(files []string) ([][]byte, error) {
	var bundles [][]byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		if len(content) > 0 {
			bundles = append(bundles, content)
		}
	}
	return bundles, nil
}

// Access is how registries are reached.
type Access struct {
	PullSecretDirs []string
	PushSecretDir  string
	CAFiles        []string
	// RegistriesConf is a mounted registries.conf, empty for none, of this hash; without
	// one, any is good.
	RegistriesConf       string
	RegistriesConfSHA256 string
	ProxyDir             string         // mounted settings of a proxy; empty for none
	Retry                registry.Retry // of single requests; zero for the default
}

// Clients are the two sides: one reads the base and other images, with the pull
// Secrets and, where they have nothing, the push Secret; the other writes.
type Clients struct {
	Pull, Push      *registry.Client
	PullCredentials *dockerconfig.Config // of both sides
	PushCredentials *dockerconfig.Config
	CAs             [][]byte
	Mirrors         *registriesconf.Config
	Proxy           proxy.Config
}

// Clients reads what is mounted. Settings that are wrong wrap ErrInvalid, those of
// another build ErrStale.
func (a Access) Clients() (*Clients, error) {
	var pushDirs []string
	if a.PushSecretDir != "" {
		pushDirs = []string{a.PushSecretDir}
	}
	out := &Clients{}
	var err error
	if out.PushCredentials, err = readCredentials(pushDirs); err != nil {
		return nil, err
	}
	pull, err := readCredentials(a.PullSecretDirs)
	if err != nil {
		return nil, err
	}
	out.PullCredentials = dockerconfig.Merge(pull, out.PushCredentials)
	if out.CAs, err = ReadCAs(a.CAFiles); err != nil {
		return nil, err
	}
	if out.Mirrors, err = readMirrors(a.RegistriesConf, a.RegistriesConfSHA256); err != nil {
		return nil, err
	}
	if out.Proxy, err = ReadProxy(a.ProxyDir); err != nil {
		return nil, err
	}
	options := registry.Options{CAs: out.CAs, UserAgent: "os-image-builder", Retry: a.Retry, Proxy: out.Proxy}
	options.Credentials, options.Mirrors = out.PullCredentials, out.Mirrors
	if out.Pull, err = registry.NewClient(options); err != nil {
		return nil, invalid("%w", err)
	}
	options.Credentials, options.Mirrors = out.PushCredentials, nil
	if out.Push, err = registry.NewClient(options); err != nil {
		return nil, invalid("%w", err)
	}
	return out, nil
}

// Traffic is that of both.
func (c *Clients) Traffic() registry.Traffic {
	pull, push := c.Pull.Traffic(), c.Push.Traffic()
	return registry.Traffic{Down: pull.Down + push.Down, Up: pull.Up + push.Up}
}
