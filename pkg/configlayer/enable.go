package configlayer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// unitFile is a unit as systemd's tools find it in the image.
type unitFile struct {
	// path is where the unit file lies; that is what links to it say.
	path string
	// masked: the name leads to /dev/null or to an empty file.
	masked bool
	// alias: the name is a link of the image's vendor to another unit.
	alias   bool
	install install
}

// findUnit looks a unit up in systemd's directories, an instance also under its
// template's name, and reads its [Install] section with those of its drop-ins.
// ok is false when there is no such unit.
func (b *build) findUnit(ctx context.Context, name string) (unit unitFile, ok bool, err error) {
	names := []string{name}
	if template, instance, is := splitInstance(name); is && instance != "" {
		names = append(names, template)
	}
	for _, candidate := range names {
		for _, dir := range unitDirs {
			unit, ok, err = b.unitAt(ctx, dir, candidate)
			if err != nil {
				return unit, false, err
			}
			if ok {
				err = b.readDropins(ctx, &unit, names)
				return unit, true, err
			}
		}
	}
	return unitFile{}, false, nil
}

func (b *build) unitAt(ctx context.Context, dir, name string) (unitFile, bool, error) {
	unit := unitFile{path: dir + "/" + name}
	own, err := b.view.lstat(unit.path)
	if err != nil {
		return unit, false, nil
	}
	if own.typ == TypeSymlink {
		if path.Clean(own.link) == nullPath {
			unit.masked = true
			return unit, true, nil
		}
		if dir != unitDir {
			unit.alias = true
			return unit, true, nil
		}
	}
	node, err := b.view.stat(unit.path)
	if err != nil || node.typ != TypeFile {
		return unit, false, nil
	}
	text, err := b.unitText(ctx, node)
	if err != nil {
		return unit, false, err
	}
	unit.install.read(text)
	if own.typ == TypeSymlink {
		// a linked unit: enabling it links to the unit file itself
		unit.path = own.link
		if !path.IsAbs(unit.path) {
			unit.path = path.Join(dir, unit.path)
		}
	}
	return unit, true, nil
}

// unitText is a unit file's text, or its [Install] section alone.
func (b *build) unitText(ctx context.Context, node *inode) (string, error) {
	if k, ok := b.view.base.kept[node.base]; ok && node.inBase {
		return k.data, nil
	}
	data, err := b.content(ctx, node)
	return string(data), err
}

// readDropins reads the drop-ins of a unit, and of its template, in the order of
// their names; of two with the same name the first directory's counts.
func (b *build) readDropins(ctx context.Context, unit *unitFile, names []string) error {
	found := map[string]*inode{}
	for _, name := range names {
		for _, dir := range unitDirs {
			at := dir + "/" + name + ".d"
			node, err := b.view.stat(at)
			if err != nil || node.typ != TypeDir {
				continue
			}
			for file := range b.view.entries(node) {
				target, err := b.view.stat(at + "/" + file)
				if _, known := found[file]; !known && err == nil && path.Ext(file) == ".conf" {
					found[file] = target
				}
			}
		}
	}
	for _, file := range slices.Sorted(maps.Keys(found)) {
		if found[file].typ != TypeFile {
			continue
		}
		text, err := b.unitText(ctx, found[file])
		if err != nil {
			return err
		}
		unit.install.read(text)
	}
	return nil
}

// enable makes the links that a unit's [Install] section asks for, and those of
// the units that it names by Also=. What cannot be enabled is warned of: a
// preset for it has no effect at a first boot either.
func (b *build) enable(ctx context.Context, name, at string) error {
	done := map[string]bool{}
	todo := []string{name}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		if done[next] {
			continue
		}
		done[next] = true
		unit, ok, err := b.findUnit(ctx, next)
		if err != nil {
			return err
		}
		switch {
		case !ok:
			b.warnf(at, "unit %q is neither in the config nor in the base image: not enabled", next)
		case unit.masked:
			b.warnf(at, "unit %q is masked: not enabled", next)
		case unit.alias:
			b.warnf(at, "unit %q is an alias in the base image: enable the unit that it stands for", next)
		default:
			if !unit.install.hasRules() && len(unit.install.also) == 0 && next == name {
				b.warnf(at, "unit %q has no [Install] section: there is nothing to enable", next)
			}
			if err := b.installUnit(unit, next, at); err != nil {
				return err
			}
			todo = append(todo, b.alsoOf(unit, next, at)...)
		}
	}
	return nil
}

func (b *build) alsoOf(unit unitFile, name, at string) []string {
	var all []string
	for _, word := range unit.install.also {
		other, ok := expand(word, name)
		if !ok || checkName(other) != nil {
			b.warnf(at, "unit %q: Also=%s is left out", name, word)
			continue
		}
		all = append(all, other)
	}
	return all
}

// installUnit makes one unit's links.
func (b *build) installUnit(unit unitFile, name, at string) error {
	if template, instance, is := splitInstance(name); is && instance == "" && unit.install.defaultInstance != "" {
		value, ok := expand(unit.install.defaultInstance, name)
		if ok && checkName(value) == nil {
			prefix, suffix, _ := strings.Cut(template, "@")
			name = prefix + "@" + value + suffix
		}
	}
	for _, word := range unit.install.alias {
		if alias, ok := b.linkName(word, name, "Alias", at); ok {
			if err := b.unitLink(unit.path, unitDir, alias, at); err != nil {
				return err
			}
		}
	}
	for _, list := range []struct {
		key, suffix string
		words       []string
	}{
		{"WantedBy", ".wants", unit.install.wantedBy},
		{"RequiredBy", ".requires", unit.install.requiredBy},
		{"UpheldBy", ".upholds", unit.install.upheldBy},
	} {
		for _, word := range list.words {
			if _, instance, is := splitInstance(name); is && instance == "" {
				b.warnf(at, "unit %q is a template without DefaultInstance=: name the instance to enable", name)
				break
			}
			other, ok := b.linkName(word, name, list.key, at)
			if !ok {
				continue
			}
			if err := b.unitLink(unit.path, unitDir+"/"+other+list.suffix, name, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkName expands a name of an [Install] section and checks it.
func (b *build) linkName(word, unit, key, at string) (string, bool) {
	name, ok := expand(word, unit)
	if !ok || checkName(name) != nil || !unitSuffixes[path.Ext(name)] {
		b.warnf(at, "unit %q: %s=%s is left out: not a unit name that can be told without a running system", unit, key, word)
		return "", false
	}
	if key == "Alias" && path.Ext(name) != path.Ext(unit) {
		b.warnf(at, "unit %q: Alias=%s is left out: a unit of another type", unit, word)
		return "", false
	}
	return name, true
}

// unitLink makes one link to a unit. A link that is there stays if it leads to a
// unit of that name, whatever its directory; otherwise it is warned of.
func (b *build) unitLink(target, dir, name, at string) error {
	landed, err := b.land(dir + "/" + name)
	if err != nil {
		return err
	}
	node, err := b.view.lstat(landed)
	switch {
	case errors.Is(err, errNotExist):
	case err != nil:
		return err
	case node.typ == TypeSymlink && path.Base(node.link) == path.Base(target):
		return nil
	case landed == target:
		return nil
	default:
		b.warnf(at, "%q exists and is no link to %q: left as it is", dir+"/"+name, target)
		return nil
	}
	if err := b.view.symlink(target, landed); err != nil {
		return fmt.Errorf("linking %q: %w", dir+"/"+name, err)
	}
	return nil
}

// disable removes the links below /etc/systemd/system that enable a unit, and
// those of the units that it names by Also=. A mask stays.
func (b *build) disable(ctx context.Context, name string) error {
	unit, ok, err := b.findUnit(ctx, name)
	if err != nil || (ok && unit.masked) {
		return err
	}
	gone := map[string]bool{name: true}
	if ok {
		for _, word := range unit.install.also {
			if other, fine := expand(word, name); fine {
				gone[other] = true
			}
		}
	}
	root, err := b.view.stat(unitDir)
	if err != nil || root.typ != TypeDir {
		return nil
	}
	for b.unlinkUnits(root, gone) {
	}
	return nil
}

// unlinkUnits removes the links to units that are to go, or that have their
// names, and directories that become empty by it. It tells whether a further
// name became one to go: that of an alias.
func (b *build) unlinkUnits(dir *inode, gone map[string]bool) bool {
	again := false
	children := b.view.entries(dir)
	for _, name := range slices.Sorted(maps.Keys(children)) {
		node := children[name]
		switch node.typ {
		case TypeDir:
			before := len(b.view.entries(node))
			again = b.unlinkUnits(node, gone) || again
			if before > 0 && len(b.view.entries(node)) == 0 {
				delete(children, name)
			}
		case TypeSymlink:
			if node.link == nullPath || (!gone[name] && !gone[path.Base(node.link)]) {
				continue
			}
			again = again || !gone[name]
			gone[name] = true
			delete(children, name)
		case TypeFile, TypeOther:
		}
	}
	return again
}

// countsAsEnabled tells whether "systemctl is-enabled" would succeed for a unit:
// links enable it, or there is nothing in its [Install] section to be enabled.
// For templates Ignition asks for a name that does not exist.
func (b *build) countsAsEnabled(ctx context.Context, p *preset) (bool, error) {
	if p.template {
		return false, nil
	}
	unit, ok, err := b.findUnit(ctx, p.unit)
	if err != nil || !ok || unit.masked {
		return false, err
	}
	if unit.alias || !unit.install.hasRules() {
		return true, nil
	}
	root, err := b.view.stat(unitDir)
	if err != nil || root.typ != TypeDir {
		return false, nil
	}
	return b.isLinked(root, p.unit, true), nil
}

func (b *build) isLinked(dir *inode, unit string, top bool) bool {
	for name, node := range b.view.entries(dir) {
		switch {
		case node.typ == TypeDir && b.isLinked(node, unit, false):
			return true
		case node.typ != TypeSymlink || node.link == nullPath:
		case !top && name == unit, top && name != unit && path.Base(node.link) == unit:
			return true
		}
	}
	return false
}
