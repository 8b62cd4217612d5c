package configlayer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

const (
	unitDir  = "/etc/systemd/system"
	nullPath = "/dev/null"
)

// preset is what the preset file will say of one unit, or of all the instances
// of one template.
type preset struct {
	unit      string
	enabled   bool
	template  bool
	instances []string
}

// line is the preset's line without the verb. A template enabled by itself ends
// in a blank, as in Ignition's file.
func (p preset) line() string {
	if !p.template {
		return p.unit
	}
	return p.unit + " " + strings.Join(p.instances, " ")
}

// units writes units and drop-ins, masks and unmasks, then the preset file, in
// Ignition's order, and then does what systemd does with that file at a first
// boot: it enables and disables the units.
func (b *build) units(ctx context.Context, units []ignition.Unit) error {
	presets := map[string]*preset{}
	for i, u := range units {
		at := fmt.Sprintf("$.systemd.units[%d]", i)
		if err := b.writeUnit(u, at); err != nil {
			return err
		}
		if u.Enabled != nil {
			if err := notePreset(presets, u); err != nil {
				return inConfig(at+".name", "", err)
			}
		}
		if u.Mask != nil {
			if err := b.mask(u.Name, *u.Mask); err != nil {
				return inConfig(at+".mask", u.Name, err)
			}
		}
	}
	if err := b.presets(ctx, presets); err != nil {
		return inConfig("$.systemd.units", "", err)
	}
	for i, u := range units {
		if u.Enabled == nil {
			continue
		}
		at := fmt.Sprintf("$.systemd.units[%d].enabled", i)
		var err error
		if *u.Enabled {
			err = b.enable(ctx, u.Name, at)
		} else {
			err = b.disable(ctx, u.Name)
		}
		if err != nil {
			return inConfig(at, u.Name, err)
		}
	}
	return nil
}

// writeUnit writes a unit's drop-ins and the unit itself, over what is there.
// A unit without contents is not written, a drop-in without contents neither.
func (b *build) writeUnit(u ignition.Unit, at string) error {
	for k, d := range u.Dropins {
		if d.Contents == nil {
			continue
		}
		err := b.writeBelow(unitDir+"/"+u.Name+".d", d.Name, *d.Contents)
		if err != nil {
			return inConfig(fmt.Sprintf("%s.dropins[%d]", at, k), d.Name, err)
		}
	}
	if u.Contents == nil || *u.Contents == "" {
		return nil
	}
	if err := b.writeBelow(unitDir, u.Name, *u.Contents); err != nil {
		return inConfig(at, u.Name, err)
	}
	return nil
}

func (b *build) writeBelow(dir, name, text string) error {
	landed, err := b.land(dir + "/" + name)
	if err != nil {
		return err
	}
	return b.view.replaceFile(landed, []byte(text), defaultFileMode)
}

func notePreset(presets map[string]*preset, u ignition.Unit) error {
	suffix := "-disabled"
	if *u.Enabled {
		suffix = "-enabled"
	}
	template, instance, ok := splitInstance(u.Name)
	if !ok {
		presets[u.Name+suffix] = &preset{unit: u.Name, enabled: *u.Enabled}
		return nil
	}
	if template == "" {
		return errors.New("instance of a template has no suffix")
	}
	known := presets[template+suffix]
	if known == nil {
		known = &preset{unit: template, enabled: *u.Enabled, template: true}
		presets[template+suffix] = known
	}
	known.instances = append(known.instances, instance)
	return nil
}

// splitInstance takes the name of a template's instance (or of a template, whose
// instance is empty) apart. ok is false for other names; template is empty when
// the name has no suffix.
func splitInstance(name string) (template, instance string, ok bool) {
	prefix, rest, found := strings.Cut(name, "@")
	if !found {
		return "", "", false
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return "", "", true
	}
	return prefix + "@" + rest[dot:], rest[:dot], true
}

// mask puts a link to /dev/null in a unit's place, or takes such a link away.
func (b *build) mask(name string, on bool) error {
	landed, err := b.land(unitDir + "/" + name)
	if err != nil {
		return err
	}
	if on {
		if err := b.view.mkdirAll(path.Dir(landed)); err != nil {
			return err
		}
		if err := b.view.remove(landed); err != nil {
			return err
		}
		return b.view.symlink(nullPath, landed)
	}
	node, err := b.view.lstat(landed)
	if errors.Is(err, errNotExist) {
		return nil
	}
	if err != nil || node.typ != TypeSymlink || node.link != nullPath {
		return err
	}
	return b.view.remove(landed)
}

// presets appends to Ignition's preset file. A disabled unit gets a line only
// when it counts as enabled at that moment, an instance never, as in Ignition.
func (b *build) presets(ctx context.Context, presets map[string]*preset) error {
	for _, key := range slices.Sorted(maps.Keys(presets)) {
		p := presets[key]
		verb := "enable "
		if !p.enabled {
			counts, err := b.countsAsEnabled(ctx, p)
			if err != nil {
				return err
			}
			if !counts {
				continue
			}
			if err := b.disable(ctx, p.unit); err != nil {
				return err
			}
			verb = "disable "
		}
		if err := b.appendPreset(ctx, verb+p.line()+"\n"); err != nil {
			return fmt.Errorf("writing preset file: %w", err)
		}
	}
	return nil
}

func (b *build) appendPreset(ctx context.Context, line string) error {
	landed, err := b.land(presetPath)
	if err != nil {
		return err
	}
	if err := b.view.mkdirAll(path.Dir(landed)); err != nil {
		return err
	}
	if _, err := b.view.stat(landed); errors.Is(err, errNotExist) {
		if err := b.view.create(landed, true, &inode{attr: attr{typ: TypeFile, mode: defaultFileMode}}); err != nil {
			return err
		}
	}
	return b.append(ctx, landed, []byte(line))
}
