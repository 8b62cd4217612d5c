package sourcebuild

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
)

// layInputs puts the inline Dockerfile and the keys of ConfigMaps and Secrets into the
// context, in this order: a key named Dockerfile goes before the inline one.
func (p *preparation) layInputs() error {
	source := p.options.Build.Spec.Source
	root, err := os.OpenRoot(p.options.WorkDir.inputs())
	if err != nil {
		return fmt.Errorf("opening the source: %w", err)
	}
	defer func() { _ = root.Close() }()
	if source.Git == nil {
		if err := root.MkdirAll(relative(source.ContextDir), 0o755); err != nil {
			return fail(buildv1.StatusReasonInvalidContextDirectory, fmt.Errorf("spec.source.contextDir %q: %w", source.ContextDir, err))
		}
	}
	if err := checkContextDir(p.options.WorkDir.inputs(), source.ContextDir); err != nil {
		return err
	}
	context, err := root.OpenRoot(relative(source.ContextDir))
	if err != nil {
		return fail(buildv1.StatusReasonInvalidContextDirectory, fmt.Errorf("spec.source.contextDir %q: %w", source.ContextDir, err))
	}
	defer func() { _ = context.Close() }()
	if source.Dockerfile != nil {
		if err := writeInto(context, "Dockerfile", strings.NewReader(*source.Dockerfile)); err != nil {
			return fail(buildv1.StatusReasonManageDockerfileFailed, fmt.Errorf("writing spec.source.dockerfile: %w", err))
		}
	}
	if p.options.Build.Spec.Strategy.DockerStrategy == nil {
		// A generated Dockerfile takes them from where they are mounted.
		return nil
	}
	for i, secret := range source.Secrets {
		at := fmt.Sprintf("spec.source.secrets[%d]", i)
		if err := layKeys(context, at, p.options.SecretInputs[secret.Secret.Name], secret.DestinationDir); err != nil {
			return err
		}
	}
	for i, config := range source.ConfigMaps {
		at := fmt.Sprintf("spec.source.configMaps[%d]", i)
		if err := layKeys(context, at, p.options.ConfigMapInputs[config.ConfigMap.Name], config.DestinationDir); err != nil {
			return err
		}
	}
	return nil
}

// layKeys copies the keys of a mounted ConfigMap or Secret into a directory of root.
func layKeys(root *os.Root, at, from, to string) error {
	if from == "" {
		return fmt.Errorf("%s: it is not mounted", at)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if err := root.MkdirAll(relative(to), 0o755); err != nil {
		return fmt.Errorf("%s: destinationDir %q: it must be a directory below spec.source.contextDir: %w", at, to, err)
	}
	for _, entry := range entries {
		// The kubelet's own entries begin so.
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		if err := layKey(root, filepath.Join(from, entry.Name()), path.Join(relative(to), entry.Name())); err != nil {
			return fmt.Errorf("%s: key %s: %w", at, entry.Name(), err)
		}
	}
	return nil
}

func layKey(root *os.Root, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	return writeInto(root, to, file)
}

// writeInto writes a file in place of whatever has its name, and through no link.
func writeInto(root *os.Root, name string, content io.Reader) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
