package configlayer

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"sort"
	"strings"
)

// EntryType is the kind of a path.
type EntryType uint8

// The kinds of path. TypeOther is a device, a FIFO or a socket.
const (
	TypeDir EntryType = iota + 1
	TypeFile
	TypeSymlink
	TypeOther
)

// Entry is what a Tree knows of one path.
type Entry struct {
	// Path is absolute and clean.
	Path string
	// Type is the kind of path.
	Type EntryType
	// Mode holds the permission bits, setuid, setgid and sticky: at most 07777.
	Mode uint32
	// UID and GID own the path.
	UID, GID int
	// Link is a symbolic link's target as it is written in the link.
	Link string
	// Layer is the index in Layers of the layer the entry comes from.
	Layer int
}

// attr is what many paths share.
type attr struct {
	typ      EntryType
	mode     uint32
	uid, gid int
}

// kept is a content that the index holds: all of a file or, of a unit file, only
// its [Install] section.
type kept struct {
	install bool
	data    string
}

// Tree is the index of a base image's file system. It is immutable and safe for
// concurrent use.
//
// Paths are kept in preorder, siblings sorted by name, so that a directory's
// subtree is the range from its index to its end.
type Tree struct {
	layers []string
	attrs  []attr

	name   []string
	parent []int32
	end    []int32
	attr   []uint32
	layer  []uint32

	link   map[int32]string
	hard   map[int32]int32 // another name of a file -> the file's first name
	member map[int32]string
	xattrs map[int32]map[string]string
	kept   map[int32]kept
}

// Layers returns the digests that the index was built from, lowest first.
func (t *Tree) Layers() []string { return append([]string(nil), t.layers...) }

// Len returns the number of paths, the root included.
func (t *Tree) Len() int { return len(t.name) }

// Lookup finds a path. It follows no symbolic link; the path must be absolute
// and clean.
func (t *Tree) Lookup(p string) (Entry, bool) {
	i, ok := t.find(p)
	if !ok {
		return Entry{}, false
	}
	return t.entry(i), true
}

// All lists every path, parents first, siblings by name.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range t.name {
			if !yield(t.entry(int32(i))) {
				return
			}
		}
	}
}

// Member says where the bytes of a regular file lie: in which layer, and under
// which tar member name there (clean, without a leading slash). Errors:
// fs.ErrNotExist when there is no such path, another when it is no regular file.
func (t *Tree) Member(p string) (layerDigest, name string, err error) {
	i, ok := t.find(p)
	if !ok {
		return "", "", fmt.Errorf("finding %q in the base image: %w", p, fs.ErrNotExist)
	}
	if first, linked := t.hard[i]; linked {
		i = first
	}
	if t.at(i).typ != TypeFile {
		return "", "", fmt.Errorf("finding %q in the base image: %w", p, errNotRegular)
	}
	name, ok = t.member[i]
	if !ok {
		name = strings.TrimPrefix(t.path(i), "/")
	}
	return t.layers[t.layer[i]], name, nil
}

var errNotRegular = errors.New("not a regular file")

func (t *Tree) at(i int32) attr { return t.attrs[t.attr[i]] }

func (t *Tree) entry(i int32) Entry {
	a := t.at(i)
	return Entry{
		Path: t.path(i), Type: a.typ, Mode: a.mode, UID: a.uid, GID: a.gid,
		Link: t.link[i], Layer: int(t.layer[i]),
	}
}

func (t *Tree) path(i int32) string {
	if i == 0 {
		return "/"
	}
	var parts []string
	for ; i != 0; i = t.parent[i] {
		parts = append(parts, t.name[i])
	}
	var b strings.Builder
	for k := len(parts) - 1; k >= 0; k-- {
		b.WriteByte('/')
		b.WriteString(parts[k])
	}
	return b.String()
}

func (t *Tree) find(p string) (int32, bool) {
	if p == "/" {
		return 0, true
	}
	if !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		return 0, false
	}
	at := int32(0)
	for part := range strings.SplitSeq(p[1:], "/") {
		next, ok := t.child(at, part)
		if !ok {
			return 0, false
		}
		at = next
	}
	return at, true
}

func (t *Tree) child(dir int32, name string) (int32, bool) {
	for i := range t.children(dir) {
		if t.name[i] == name {
			return i, true
		}
	}
	return 0, false
}

// children lists the indexes of a path's children, by name.
func (t *Tree) children(dir int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := dir + 1; i < t.end[dir]; i = t.end[i] {
			if !yield(i) {
				return
			}
		}
	}
}

// names returns every name of the file that i is a name of, itself included, in
// the order of the tree.
func (t *Tree) names(i int32) []int32 {
	first := i
	if f, ok := t.hard[i]; ok {
		first = f
	}
	all := []int32{first}
	for other, f := range t.hard {
		if f == first {
			all = append(all, other)
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	return all
}
