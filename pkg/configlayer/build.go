package configlayer

import (
	"context"
	"encoding/json"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

// CurrentConfigPath is where the image holds its MachineConfig, as the
// machine-config daemon does on a node.
const CurrentConfigPath = "/etc/machine-config-daemon/currentconfig"

// currentConfigMode lets only root read the config: it holds pull secrets.
const currentConfigMode = 0o600

// Deps is what Build cannot know by itself.
type Deps struct {
	// ReadBase returns the content of a regular file of the base image. The path
	// is absolute and holds no link; Tree.Member says where the bytes lie. It is
	// called only for what the config appends to, hard-links, or changes the mode
	// or owner of. May be nil: a config that needs it is then refused.
	ReadBase func(ctx context.Context, path string) ([]byte, error)
	// Fetch returns the body of an http or https source as it is served; Build
	// decompresses and verifies it. May be nil: such sources are then refused.
	Fetch func(ctx context.Context, source Source) ([]byte, error)
}

// Source is something to fetch.
type Source struct {
	// URL is an http or https URL.
	URL string
	// Header holds the request headers that the config asks for.
	Header map[string][]string
	// At is the source's place in the config, for messages.
	At string
}

// Build makes the layer that lays mc over a base image.
//
// Errors: *ConfigError when the config cannot be laid over this base (it is
// invalid, of an unknown spec version, names users the base lacks, contradicts
// what is in the base, ...); otherwise an error of deps or of ctx.
func Build(ctx context.Context, mc *mcfgv1.MachineConfig, base *Tree, deps Deps) (*Layer, error) {
	b := &build{view: newView(base), deps: deps}
	raw := mc.Spec.Config.Raw
	cfg, warned, err := ignition.Parse(raw, spec2.Convert)
	if err != nil {
		return nil, &ConfigError{Path: "$", Err: err}
	}
	b.warnings = append(b.warnings, warned...)
	cfg, warned, err = ignition.Render(ctx, cfg, b.fetchConfig, spec2.Convert)
	if err != nil {
		return nil, inConfig("$.ignition.config", "", err)
	}
	b.warnings = append(b.warnings, warned...)
	if err := checkNames(cfg); err != nil {
		return nil, err
	}
	b.warnUnsupported(cfg)
	if err := b.storage(ctx, cfg); err != nil {
		return nil, err
	}
	if err := b.units(ctx, cfg.Systemd.Units); err != nil {
		return nil, err
	}
	if err := b.kernelArguments(mc.Spec.KernelArguments); err != nil {
		return nil, err
	}
	if err := b.currentConfig(mc); err != nil {
		return nil, err
	}
	if err := b.loadChanged(ctx); err != nil {
		return nil, err
	}
	return &Layer{members: b.view.diff(), warnings: b.warnings}, nil
}

// build is one run of Build.
type build struct {
	view     *view
	deps     Deps
	warnings []string
	// spent is the number of bytes of contents so far.
	spent int64
}

func (b *build) warnf(at, format string, args ...any) {
	b.warnings = append(b.warnings, at+": "+fmt.Sprintf(format, args...))
}

// warnUnsupported names what Ignition's --ignore-unsupported leaves out when it
// works on a file tree.
func (b *build) warnUnsupported(cfg ignition.Config) {
	for _, part := range []struct {
		at    string
		count int
		what  string
	}{
		{"$.kernelArguments.shouldExist", len(cfg.KernelArguments.ShouldExist), "kernel arguments are not part of an image"},
		{"$.kernelArguments.shouldNotExist", len(cfg.KernelArguments.ShouldNotExist), "kernel arguments are not part of an image"},
		{"$.passwd.groups", len(cfg.Passwd.Groups), "groups are not created in an image"},
		{"$.passwd.users", len(cfg.Passwd.Users), "users are not created in an image"},
		{"$.storage.disks", len(cfg.Storage.Disks), "disks are partitioned at first boot only"},
		{"$.storage.filesystems", len(cfg.Storage.Filesystems), "file systems are made at first boot only"},
		{"$.storage.luks", len(cfg.Storage.Luks), "encrypted devices are made at first boot only"},
		{"$.storage.raid", len(cfg.Storage.Raid), "RAID arrays are made at first boot only"},
	} {
		if part.count > 0 {
			b.warnf(part.at, "skipped: %s", part.what)
		}
	}
}

// currentConfig writes the MachineConfig, without what the API server adds to
// it: that would give equal configs different layers.
func (b *build) currentConfig(mc *mcfgv1.MachineConfig) error {
	plain := *mc
	plain.TypeMeta = metav1.TypeMeta{APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig"}
	plain.ObjectMeta = metav1.ObjectMeta{Name: mc.Name, Labels: mc.Labels, Annotations: mc.Annotations}
	text, err := json.Marshal(&plain)
	if err != nil {
		return configErrorf("$", "writing the MachineConfig as JSON: %w", err)
	}
	if err := b.view.replaceFile(CurrentConfigPath, text, currentConfigMode); err != nil {
		return configErrorf("$", "writing %s: %w", CurrentConfigPath, err)
	}
	return nil
}

func (b *build) fetchConfig(ctx context.Context, ref ignition.Resource, at string) ([]byte, error) {
	data, err := b.resource(ctx, ref, at)
	return data, inConfig(at, "", err)
}
