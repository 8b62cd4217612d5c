package imagebuilder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// readChunks reads the chunks that are mounted in a directory, in order of their
// names.
func readChunks(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var chunks []string
	for _, entry := range entries { // sorted by name
		// A mounted ConfigMap has hidden entries of the kubelet's besides the keys.
		if entry.Name()[0] == '.' {
			continue
		}
		chunk, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, string(chunk))
	}
	return chunks, nil
}

// readMachineConfig puts the mounted chunks together and checks them against the
// hash.
func readMachineConfig(dir, sha256 string) (*mcfgv1.MachineConfig, error) {
	chunks, err := readChunks(dir)
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfig: %w", err)
	}
	document, err := buildspec.Payload{SHA256: sha256, Chunks: chunks}.Decode()
	if err != nil {
		return nil, stale(fmt.Errorf("reading MachineConfig: %w", err))
	}
	config := &mcfgv1.MachineConfig{}
	if err := json.Unmarshal(document, config); err != nil {
		return nil, fail(api.ReasonInvalidRenderedConfig, fmt.Errorf("reading MachineConfig: %w", err))
	}
	return config, nil
}

// errStale says that a mounted input is not what this build was started for.
// The kubelet can show the pod what an input of the same name held for the pod
// before it; another try sees the right one.
var errStale = errors.New("the node shows another build's input")

// stale marks an input that does not match its hash.
func stale(err error) error {
	return fail(api.ReasonBuildInterrupted, fmt.Errorf("%w: %w", errStale, err))
}

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
				return nil, fail(api.ReasonInvalidConfig, fmt.Errorf("reading credentials: %w", err))
			}
		}
		config, err := dockerconfig.ParseFiles(files)
		if err != nil {
			return nil, fail(api.ReasonInvalidConfig, fmt.Errorf("secret mounted at %s: %w", dir, err))
		}
		configs = append(configs, config)
	}
	return dockerconfig.Merge(configs...), nil
}

// readCAs reads the certificate bundles that are there: the ConfigMap they come
// from is an optional one.
func readCAs(files []string) ([][]byte, error) {
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
	// RegistriesConf is a mounted registries.conf, empty for none, of this hash.
	RegistriesConf       string
	RegistriesConfSHA256 string
	ProxyDir             string         // mounted settings of a proxy; empty for none
	Retry                registry.Retry // of single requests; zero for the default
}

// clients are the two sides: one reads the base and other images, with the pull
// Secrets and, where they have nothing, the push Secret; the other writes.
type clients struct {
	pull, push      *registry.Client
	pullCredentials *dockerconfig.Config
	pushCredentials *dockerconfig.Config
	cas             [][]byte
	mirrors         *registriesconf.Config
	proxy           proxy.Config
}

func (a Access) clients() (*clients, error) {
	var pushDirs []string
	if a.PushSecretDir != "" {
		pushDirs = []string{a.PushSecretDir}
	}
	out := &clients{}
	var err error
	if out.pushCredentials, err = readCredentials(pushDirs); err != nil {
		return nil, err
	}
	pull, err := readCredentials(a.PullSecretDirs)
	if err != nil {
		return nil, err
	}
	out.pullCredentials = dockerconfig.Merge(pull, out.pushCredentials)
	if out.cas, err = readCAs(a.CAFiles); err != nil {
		return nil, err
	}
	if out.mirrors, err = readMirrors(a.RegistriesConf, a.RegistriesConfSHA256); err != nil {
		return nil, err
	}
	if out.proxy, err = readProxy(a.ProxyDir); err != nil {
		return nil, err
	}
	options := registry.Options{CAs: out.cas, UserAgent: "os-image-builder", Retry: a.Retry, Proxy: out.proxy}
	options.Credentials, options.Mirrors = out.pullCredentials, out.mirrors
	if out.pull, err = registry.NewClient(options); err != nil {
		return nil, fail(api.ReasonInvalidConfig, err)
	}
	options.Credentials, options.Mirrors = out.pushCredentials, nil
	if out.push, err = registry.NewClient(options); err != nil {
		return nil, fail(api.ReasonInvalidConfig, err)
	}
	return out, nil
}

func (c *clients) traffic() registry.Traffic {
	pull, push := c.pull.Traffic(), c.push.Traffic()
	return registry.Traffic{Down: pull.Down + push.Down, Up: pull.Up + push.Up}
}
