package configlayer

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The errors of a view's operations, named like the kernel's.
var (
	errNotExist = errors.New("no such file or directory")
	errExist    = errors.New("file exists")
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errLoop     = errors.New("too many levels of symbolic links")
	errNotPerm  = errors.New("operation not permitted")
)

// view is the base's file system with changes on top. Directories of the base
// are loaded when they are first looked into, so that a build touches only what
// the config touches.
type view struct {
	base *Tree
	root *inode
	// shared holds the files of the base that have more than one name.
	shared map[int32]*inode
}

// inode is a file, directory, link or device. Hard links are names of the same
// inode.
type inode struct {
	attr
	link   string
	xattrs map[string]string
	// data is a file's content; it lies in the base as long as inBase is set.
	data []byte
	// base is the inode's index in the base; -1 when it is new.
	base   int32
	inBase bool
	// changed is set once the inode differs from the base's.
	changed bool

	parent   *inode // of a directory
	children map[string]*inode
	loaded   bool
}

func newView(base *Tree) *view {
	v := &view{base: base, shared: map[int32]*inode{}}
	v.root = v.fromBase(0, nil)
	v.root.parent = v.root
	return v
}

// fromBase makes the inode of a path of the base.
func (v *view) fromBase(i int32, parent *inode) *inode {
	first := i
	if f, linked := v.base.hard[i]; linked {
		first = f
	}
	if node := v.shared[first]; node != nil {
		return node
	}
	a := v.base.at(i)
	node := &inode{attr: a, link: v.base.link[i], xattrs: v.base.xattrs[first], base: first, inBase: a.typ == TypeFile, parent: parent}
	if a.typ != TypeDir {
		v.shared[first] = node
	}
	return node
}

// entries returns a directory's children.
func (v *view) entries(dir *inode) map[string]*inode {
	if !dir.loaded {
		dir.loaded = true
		dir.children = map[string]*inode{}
		if dir.base >= 0 {
			for i := range v.base.children(dir.base) {
				dir.children[v.base.name[i]] = v.fromBase(i, dir)
			}
		}
	}
	return dir.children
}

// place is where a path leads: the directory that holds it, its name there, and
// what is there, nil when nothing is.
type place struct {
	dir  *inode
	name string
	node *inode
}

// resolve follows a path as the kernel does inside a root file system: links on
// the way are followed, ".." of the root is the root. The last part is followed
// only if follow is set. Errors: errNotExist when a directory on the way is
// missing, errNotDir, errLoop.
func (v *view) resolve(p string, follow bool) (place, error) {
	at := place{dir: v.root, name: "", node: v.root}
	todo := strings.Split(p, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == "" || part == "." {
			continue
		}
		if at.node == nil {
			return place{}, errNotExist
		}
		if at.node.typ != TypeDir {
			return place{}, errNotDir
		}
		dir := at.node
		if part == ".." {
			at = place{dir: dir.parent.parent, node: dir.parent}
			continue
		}
		if len(part) > maxNameLength {
			return place{}, fmt.Errorf("file name of %d bytes is too long", len(part))
		}
		next := v.entries(dir)[part]
		last := !slices.ContainsFunc(todo, func(s string) bool { return s != "" })
		if next != nil && next.typ == TypeSymlink && (follow || !last) {
			if links++; links > maxLinks {
				return place{}, errLoop
			}
			todo = append(strings.Split(next.link, "/"), todo...)
			if at.node = dir; strings.HasPrefix(next.link, "/") {
				at.node = v.root
			}
			continue
		}
		at = place{dir: dir, name: part, node: next}
	}
	return at, nil
}

// lstat returns what a path names, without following a link at its end.
func (v *view) lstat(p string) (*inode, error) { return v.stat1(p, false) }

// stat returns what a path leads to.
func (v *view) stat(p string) (*inode, error) { return v.stat1(p, true) }

func (v *view) stat1(p string, follow bool) (*inode, error) {
	at, err := v.resolve(p, follow)
	if err != nil {
		return nil, err
	}
	if at.node == nil {
		return nil, errNotExist
	}
	return at.node, nil
}

// create puts a new inode at a path that is free, with the group that a setgid
// directory hands down.
func (v *view) create(p string, follow bool, node *inode) error {
	at, err := v.resolve(p, follow)
	if err != nil {
		return err
	}
	if at.node != nil {
		return errExist
	}
	v.put(at, node)
	return nil
}

func (v *view) put(at place, node *inode) {
	node.base, node.changed = -1, true
	if at.dir.mode&modeSetgid != 0 {
		node.gid = at.dir.gid
		if node.typ == TypeDir {
			node.mode |= modeSetgid
		}
	}
	if node.typ == TypeDir {
		node.parent = at.dir
	}
	v.entries(at.dir)[at.name] = node
}

// The special mode bits.
const (
	modeSetuid = 0o4000
	modeSetgid = 0o2000
)

const (
	defaultDirMode  = 0o755
	defaultFileMode = 0o644
)

// mkdirAll makes a directory and its missing parents.
func (v *view) mkdirAll(p string) error {
	node, err := v.stat(p)
	switch {
	case err == nil && node.typ == TypeDir:
		return nil
	case err == nil:
		return errNotDir
	}
	if parent := path.Dir(p); parent != p {
		if err := v.mkdirAll(parent); err != nil {
			return err
		}
	}
	err = v.create(p, false, &inode{attr: attr{typ: TypeDir, mode: defaultDirMode}})
	if errors.Is(err, errExist) {
		// a link that leads nowhere
		return fmt.Errorf("%q is a link to what does not exist: %w", p, errExist)
	}
	return err
}

// remove takes a path away, with all that is below it. A path that does not
// exist is fine.
func (v *view) remove(p string) error {
	at, err := v.resolve(p, false)
	if errors.Is(err, errNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if at.node == v.root {
		return errNotPerm
	}
	delete(v.entries(at.dir), at.name)
	return nil
}

// replaceFile puts a new file, owned by root, in the place of whatever a path
// names that is no directory. Directories on the way are made.
func (v *view) replaceFile(p string, data []byte, mode uint32) error {
	if err := v.mkdirAll(path.Dir(p)); err != nil {
		return err
	}
	at, err := v.resolve(p, false)
	if err != nil {
		return err
	}
	if at.node != nil && at.node.typ == TypeDir {
		return errIsDir
	}
	v.put(at, &inode{attr: attr{typ: TypeFile, mode: mode}, data: data})
	return nil
}

// symlink makes a symbolic link; directories on the way are made.
func (v *view) symlink(target, p string) error {
	if err := v.mkdirAll(path.Dir(p)); err != nil {
		return err
	}
	return v.create(p, false, &inode{attr: attr{typ: TypeSymlink, mode: 0o777}, link: target})
}

// hardlink makes another name of what target names.
func (v *view) hardlink(target, p string) error {
	if err := v.mkdirAll(path.Dir(p)); err != nil {
		return err
	}
	node, err := v.lstat(target)
	if err != nil {
		return fmt.Errorf("target %q: %w", target, err)
	}
	if node.typ == TypeDir || node.typ == TypeOther {
		return fmt.Errorf("target %q is a directory or a device: %w", target, errNotPerm)
	}
	at, err := v.resolve(p, false)
	if err != nil {
		return err
	}
	if at.node != nil {
		return errExist
	}
	v.change(node)
	v.entries(at.dir)[at.name] = node
	return nil
}

// chown sets the owner; as the kernel does, it takes setuid and setgid from
// files, and file capabilities.
func (v *view) chown(node *inode, uid, gid int) {
	mode, capable := node.mode, false
	if node.typ == TypeFile {
		mode &^= modeSetuid
		if mode&0o010 != 0 {
			mode &^= modeSetgid
		}
		_, capable = node.xattrs[xattrCapability]
	}
	if node.uid == uid && node.gid == gid && node.mode == mode && !capable {
		return
	}
	v.change(node)
	node.uid, node.gid, node.mode = uid, gid, mode
	v.dropCapability(node)
}

const xattrCapability = "security.capability"

func (v *view) dropCapability(node *inode) {
	if _, ok := node.xattrs[xattrCapability]; !ok {
		return
	}
	rest := map[string]string{}
	for key, value := range node.xattrs {
		if key != xattrCapability {
			rest[key] = value
		}
	}
	node.xattrs = rest
}

func (v *view) chmod(node *inode, mode uint32) {
	if node.mode != mode {
		v.change(node)
		node.mode = mode
	}
}

// write sets a file's content.
func (v *view) write(node *inode, data []byte) {
	v.change(node)
	node.data, node.inBase = data, false
	v.dropCapability(node)
}

// change marks an inode as different from the base's. All names of a file of the
// base must then be in the layer, so the directories that hold them are loaded.
func (v *view) change(node *inode) {
	if node.changed {
		return
	}
	node.changed = true
	if node.base < 0 || node.typ == TypeDir {
		return
	}
	for _, name := range v.base.names(node.base) {
		if at, err := v.resolve(path.Dir(v.base.path(name)), false); err == nil && at.node != nil && at.node.typ == TypeDir {
			v.entries(at.node)
		}
	}
}
