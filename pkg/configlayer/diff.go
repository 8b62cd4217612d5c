package configlayer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Layer is what lies between a base image's file system and the one that the
// MachineConfig asks for.
type Layer struct {
	members  []member
	warnings []string
}

// member is one entry of the tar.
type member struct {
	header tar.Header
	data   []byte
}

// Warnings returns what of the MachineConfig was left out or is doubtful, one
// line each.
func (l *Layer) Warnings() []string { return slices.Clone(l.warnings) }

// Len returns the number of entries of the tar.
func (l *Layer) Len() int { return len(l.members) }

// WriteTar writes the layer as an uncompressed tar. It may be called any number
// of times and writes the same bytes each time. Errors are the writer's.
func (l *Layer) WriteTar(w io.Writer) error {
	archive := tar.NewWriter(w)
	for i := range l.members {
		header := l.members[i].header
		if err := archive.WriteHeader(&header); err != nil {
			return fmt.Errorf("writing config layer: %q: %w", header.Name, err)
		}
		if _, err := archive.Write(l.members[i].data); err != nil {
			return fmt.Errorf("writing config layer: %q: %w", header.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing config layer: %w", err)
	}
	return nil
}

// differ walks the view beside the base and notes what differs.
type differ struct {
	view    *view
	members []member
	// written holds the directories that are in the tar.
	written map[string]bool
	// first is the name under which a file was written.
	first map[*inode]string
}

// diff makes the layer's entries: parents first, siblings by name.
func (v *view) diff() []member {
	d := differ{view: v, written: map[string]bool{"/": true}, first: map[*inode]string{}}
	if v.root.changed {
		d.add(v.root, "./", tar.TypeDir)
	}
	d.dir(v.root, 0, "/")
	return d.members
}

// dir compares a directory with what the base has at the same path: base is the
// index there, -1 when the base has nothing or no directory.
func (d *differ) dir(dir *inode, base int32, at string) {
	if !dir.loaded && dir.base == base {
		return
	}
	below := map[string]int32{}
	if base >= 0 {
		for i := range d.view.base.children(base) {
			below[d.view.base.name[i]] = i
		}
	}
	children := d.view.entries(dir)
	names := slices.Collect(maps.Keys(children))
	for name := range below {
		if children[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		under, ok := below[name]
		if !ok {
			under = -1
		}
		if node := children[name]; node != nil {
			d.node(node, under, path.Join(at, name))
		} else {
			d.whiteout(at, name)
		}
	}
}

func (d *differ) node(node *inode, under int32, at string) {
	d.view.checkLoaded(node, under)
	if node.typ != TypeDir {
		if node.changed || !d.sameAsBase(node, under) {
			d.parents(path.Dir(at))
			d.file(node, at)
		}
		return
	}
	if node.changed {
		d.parents(path.Dir(at))
		d.directory(node, at)
	}
	if under >= 0 && d.view.base.at(under).typ != TypeDir {
		under = -1
	}
	d.dir(node, under, at)
}

// sameAsBase tells whether an unchanged inode is still where the base has it.
func (d *differ) sameAsBase(node *inode, under int32) bool {
	if under < 0 {
		return false
	}
	if first, linked := d.view.base.hard[under]; linked {
		under = first
	}
	return node.base == under
}

// checkLoaded loads a directory that took another one's place, so that what the
// base has there gets its whiteouts.
func (v *view) checkLoaded(node *inode, under int32) {
	if node.typ == TypeDir && node.base != under {
		v.entries(node)
	}
}

// parents writes the directories that lead to a path. They are as the base has
// them; without them some appliers would make up their mode and owner.
func (d *differ) parents(at string) {
	if d.written[at] {
		return
	}
	d.parents(path.Dir(at))
	node, err := d.view.lstat(at)
	if err == nil && node.typ == TypeDir {
		d.directory(node, at)
	}
}

func (d *differ) directory(node *inode, at string) {
	if !d.written[at] {
		d.written[at] = true
		d.add(node, strings.TrimPrefix(at, "/")+"/", tar.TypeDir)
	}
}

func (d *differ) file(node *inode, at string) {
	name := strings.TrimPrefix(at, "/")
	switch node.typ {
	case TypeSymlink:
		d.add(node, name, tar.TypeSymlink)
	case TypeFile:
		if first, ok := d.first[node]; ok {
			d.add(&inode{attr: node.attr, link: first}, name, tar.TypeLink)
			return
		}
		d.first[node] = name
		d.add(node, name, tar.TypeReg)
		d.members[len(d.members)-1].data = node.data
		d.members[len(d.members)-1].header.Size = int64(len(node.data))
	case TypeDir, TypeOther:
	}
}

func (d *differ) whiteout(dir, name string) {
	d.parents(dir)
	at := strings.TrimPrefix(path.Join(dir, whiteoutPrefix+name), "/")
	d.add(&inode{attr: attr{typ: TypeFile}}, at, tar.TypeReg)
}

func (d *differ) add(node *inode, name string, flag byte) {
	header := tar.Header{
		Typeflag: flag, Name: name, Mode: int64(node.mode), Uid: node.uid, Gid: node.gid,
		ModTime: time.Unix(0, 0).UTC(), Linkname: node.link,
	}
	if flag != tar.TypeLink {
		for key, value := range node.xattrs {
			if header.PAXRecords == nil {
				header.PAXRecords = map[string]string{}
			}
			header.PAXRecords[xattrRecord+key] = value
		}
	}
	d.members = append(d.members, member{header: header})
}

var errNoBase = errors.New("needs the content of a file of the base image, which cannot be read here")

// content returns a file's bytes, from the base if need be.
func (b *build) content(ctx context.Context, node *inode) ([]byte, error) {
	if !node.inBase {
		return node.data, nil
	}
	at := b.view.base.path(node.base)
	if k, ok := b.view.base.kept[node.base]; ok && !k.install {
		return []byte(k.data), nil
	}
	if b.deps.ReadBase == nil {
		return nil, fmt.Errorf("%q: %w", at, errNoBase)
	}
	data, err := b.deps.ReadBase(ctx, at)
	if err != nil {
		return nil, &outsideError{err: fmt.Errorf("reading %q of the base image: %w", at, err)}
	}
	return data, nil
}

// loadChanged reads the contents of those files of the base that the layer must
// hold because their mode, owner or number of names changed.
func (b *build) loadChanged(ctx context.Context) error {
	for _, at := range slices.Sorted(maps.Keys(b.view.shared)) {
		node := b.view.shared[at]
		if !node.changed || !node.inBase {
			continue
		}
		data, err := b.content(ctx, node)
		if err != nil {
			return inConfig("$.storage", "", err)
		}
		node.data, node.inBase = data, false
	}
	return nil
}

// Removes says what a member of a layer removes, by its name in the archive; false
// for one that removes nothing.
func Removes(member string) (removed string, isWhiteout bool) {
	dir, base := path.Split(member)
	name, isWhiteout := strings.CutPrefix(base, whiteoutPrefix)
	return dir + name, isWhiteout
}
