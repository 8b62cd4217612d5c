package configlayer

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// checkNames refuses names that no file system or layer can hold, or that would
// mean something else there.
func checkNames(cfg ignition.Config) error {
	for i, d := range cfg.Storage.Directories {
		if err := checkNode(d.Node); err != nil {
			return configErrorf(fmt.Sprintf("$.storage.directories[%d].path", i), "%q: %w", d.Path, err)
		}
	}
	for i, f := range cfg.Storage.Files {
		if err := checkNode(f.Node); err != nil {
			return configErrorf(fmt.Sprintf("$.storage.files[%d].path", i), "%q: %w", f.Path, err)
		}
	}
	for i, l := range cfg.Storage.Links {
		at := fmt.Sprintf("$.storage.links[%d]", i)
		if err := checkNode(l.Node); err != nil {
			return configErrorf(at+".path", "%q: %w", l.Path, err)
		}
		if l.Target == nil || strings.ContainsRune(*l.Target, 0) || len(*l.Target) > maxPathLength {
			return configErrorf(at+".target", "target is missing, too long or holds a NUL")
		}
	}
	return checkUnitNames(cfg.Systemd.Units)
}

func checkUnitNames(units []ignition.Unit) error {
	for i, u := range units {
		at := fmt.Sprintf("$.systemd.units[%d]", i)
		if err := checkName(u.Name); err != nil {
			return configErrorf(at+".name", "%q: %w", u.Name, err)
		}
		for k, d := range u.Dropins {
			if err := checkName(d.Name); err != nil {
				return configErrorf(fmt.Sprintf("%s.dropins[%d].name", at, k), "%q: %w", d.Name, err)
			}
		}
	}
	return nil
}

func checkNode(n ignition.Node) error {
	if len(n.Path) > maxPathLength {
		return fmt.Errorf("path is longer than %d bytes", maxPathLength)
	}
	if !path.IsAbs(n.Path) || path.Clean(n.Path) != n.Path {
		return errors.New("path is not absolute and clean")
	}
	if n.Path == "/" {
		if n.Overwrite != nil && *n.Overwrite {
			return errors.New("the root cannot be overwritten")
		}
		return nil
	}
	for part := range strings.SplitSeq(n.Path[1:], "/") {
		if err := checkName(part); err != nil {
			return err
		}
	}
	return nil
}

// checkName judges one part of a path.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return errors.New("is no name")
	case len(name) > maxNameLength:
		return fmt.Errorf("name is longer than %d bytes", maxNameLength)
	case strings.ContainsRune(name, '/'):
		return errors.New("name holds a slash")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("name holds a control character")
	case strings.HasPrefix(name, whiteoutPrefix):
		return fmt.Errorf("a name that starts with %q would remove files when it is in a layer", whiteoutPrefix)
	}
	return nil
}
