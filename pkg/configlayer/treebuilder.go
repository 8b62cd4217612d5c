package configlayer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh."

	xattrRecord = "SCHILY.xattr."

	// maxLinks is the number of symbolic links that one path may lead through, as
	// in Linux.
	maxLinks = 40
	// maxPathLength and maxNameLength are Linux's limits.
	maxPathLength = 4095
	maxNameLength = 255
	// maxPaths bounds the size of an index.
	maxPaths = 8 << 20
	// maxDetails bounds the contents and extended attributes in one.
	maxDetails = 128 << 20
)

// TreeBuilder makes a Tree from an image's layers.
type TreeBuilder struct {
	layers []string
	root   *layerNode
	count  int
	// details are the bytes of contents and extended attributes so far.
	details int
}

// layerNode is a path while layers are read.
type layerNode struct {
	name     string
	layer    int
	file     *layerFile
	parent   *layerNode
	children map[string]*layerNode
}

// layerFile is what the names of a hard-linked file share.
type layerFile struct {
	attr
	layer  int
	member string
	link   string
	xattrs map[string]string
	kept   *kept
}

// NewTreeBuilder returns a builder that holds an empty root directory.
func NewTreeBuilder() *TreeBuilder {
	root := &layerNode{file: &layerFile{attr: attr{typ: TypeDir, mode: 0o755}}}
	return &TreeBuilder{root: root, count: 1}
}

// Builder returns a builder that holds the tree, to which more layers can be
// added. The tree stays as it is.
func (t *Tree) Builder() *TreeBuilder {
	nodes, details := make([]*layerNode, len(t.name)), 0
	for i := range t.name {
		n := &layerNode{name: t.name[i], layer: int(t.layer[i]), file: t.layerFile(int32(i), nodes)}
		details += n.file.details()
		if nodes[i] = n; i == 0 {
			continue
		}
		n.parent = nodes[t.parent[i]]
		if n.parent.children == nil {
			n.parent.children = map[string]*layerNode{}
		}
		n.parent.children[n.name] = n
	}
	return &TreeBuilder{layers: t.Layers(), root: nodes[0], count: len(nodes), details: details}
}

// layerFile is the file of path i; nodes are those of all paths before it.
func (t *Tree) layerFile(i int32, nodes []*layerNode) *layerFile {
	if first, linked := t.hard[i]; linked {
		return nodes[first].file
	}
	file := &layerFile{attr: t.at(i), layer: int(t.layer[i]), member: t.member[i], link: t.link[i], xattrs: t.xattrs[i]}
	if file.member == "" {
		file.member = strings.TrimPrefix(t.path(i), "/")
	}
	if content, ok := t.kept[i]; ok {
		file.kept = &content
	}
	return file
}

// AddLayer applies one layer, given as an uncompressed tar, as an OCI runtime
// does: later entries win, whiteouts remove what lower layers hold. Layers come
// lowest first; digest names the layer for Tree.Layers and Tree.Member. After an
// error the builder is of no use.
func (b *TreeBuilder) AddLayer(digest string, r io.Reader) error {
	index := len(b.layers)
	b.layers = append(b.layers, digest)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading layer %s: %w", digest, err)
		}
		if err := b.addMember(index, header, archive); err != nil {
			return fmt.Errorf("reading layer %s: member %q: %w", digest, header.Name, err)
		}
	}
}

func (b *TreeBuilder) addMember(layer int, header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	clean := path.Clean("/" + header.Name)
	if strings.ContainsRune(clean, 0) || len(clean) > maxPathLength {
		return fmt.Errorf("name holds a NUL or is longer than %d bytes", maxPathLength)
	}
	if clean == "/" {
		if header.Typeflag != tar.TypeDir {
			return errors.New("root is not a directory")
		}
		b.root.file = newLayerFile(layer, header, TypeDir)
		return nil
	}
	parent, err := b.parentOf(layer, clean)
	if err != nil {
		return err
	}
	name := path.Base(clean)
	switch {
	case name == whiteoutOpaque:
		parent.prune(layer)
		return nil
	case strings.HasPrefix(name, whiteoutMeta):
		return nil
	case strings.HasPrefix(name, whiteoutPrefix):
		parent.whiteout(layer, strings.TrimPrefix(name, whiteoutPrefix))
		return nil
	}
	file, err := b.fileOf(layer, header, path.Join(parent.path(), name), content)
	if err != nil {
		return err
	}
	if b.count++; b.count > maxPaths {
		return fmt.Errorf("more than %d paths", maxPaths)
	}
	if b.details += file.details(); b.details > maxDetails {
		return fmt.Errorf("more than %d bytes of unit files and extended attributes", maxDetails)
	}
	parent.set(layer, name, file)
	return nil
}

// fileOf makes the file that a member describes, or finds the one it links to.
func (b *TreeBuilder) fileOf(layer int, header *tar.Header, at string, content io.Reader) (*layerFile, error) {
	switch header.Typeflag {
	case tar.TypeLink:
		target := b.lookup(path.Clean("/" + header.Linkname))
		if target == nil {
			return nil, fmt.Errorf("hard link to %q, which does not exist", header.Linkname)
		}
		if target.file.typ == TypeDir {
			return nil, fmt.Errorf("hard link to directory %q", header.Linkname)
		}
		return target.file, nil
	case tar.TypeDir:
		return newLayerFile(layer, header, TypeDir), nil
	case tar.TypeSymlink:
		return newLayerFile(layer, header, TypeSymlink), nil
	case tar.TypeReg:
		file := newLayerFile(layer, header, TypeFile)
		var err error
		file.kept, err = keep(at, header.Size, content)
		return file, err
	default:
		return newLayerFile(layer, header, TypeOther), nil
	}
}

func newLayerFile(layer int, header *tar.Header, typ EntryType) *layerFile {
	file := &layerFile{
		attr:   attr{typ: typ, mode: uint32(header.Mode) & 0o7777, uid: header.Uid, gid: header.Gid},
		layer:  layer,
		member: strings.TrimPrefix(path.Clean("/"+header.Name), "/"),
	}
	if typ == TypeSymlink {
		file.link, file.mode = header.Linkname, 0o777
	}
	for key, value := range header.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if file.xattrs == nil {
				file.xattrs = map[string]string{}
			}
			file.xattrs[name] = value
		}
	}
	return file
}

// details is how many bytes of content and extended attributes are kept.
func (f *layerFile) details() int {
	bytes := 0
	for name, value := range f.xattrs {
		bytes += len(name) + len(value)
	}
	if f.kept != nil {
		bytes += len(f.kept.data)
	}
	return bytes
}

// parentOf finds the directory that holds a path, through links of the tree, and
// makes the directories that are missing.
func (b *TreeBuilder) parentOf(layer int, clean string) (*layerNode, error) {
	at := b.root
	todo := strings.Split(strings.TrimPrefix(path.Dir(clean), "/"), "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at.parent != nil {
				at = at.parent
			}
			continue
		}
		next := at.children[part]
		if next != nil && next.file.typ == TypeSymlink {
			if links++; links > maxLinks {
				return nil, errors.New("too many levels of symbolic links")
			}
			target := next.file.link
			todo = append(strings.Split(target, "/"), todo...)
			if strings.HasPrefix(target, "/") {
				at = b.root
			}
			continue
		}
		if next == nil || next.file.typ != TypeDir {
			next = at.set(layer, part, &layerFile{attr: attr{typ: TypeDir, mode: 0o755}, layer: layer})
			b.count++
		}
		at = next
	}
	return at, nil
}

// lookup finds a path without making anything; nil when there is none.
func (b *TreeBuilder) lookup(clean string) *layerNode {
	at := b.root
	for part := range strings.SplitSeq(strings.TrimPrefix(clean, "/"), "/") {
		for links := 0; at != nil && at.file.typ == TypeSymlink; links++ {
			if links > maxLinks {
				return nil
			}
			target := at.file.link
			if !strings.HasPrefix(target, "/") {
				target = path.Join(at.parent.path(), target)
			}
			at = b.lookupPlain(path.Clean("/" + target))
		}
		if at == nil {
			return nil
		}
		at = at.children[part]
	}
	return at
}

func (b *TreeBuilder) lookupPlain(clean string) *layerNode {
	at := b.root
	if clean == "/" {
		return at
	}
	for part := range strings.SplitSeq(clean[1:], "/") {
		if at = at.children[part]; at == nil {
			return nil
		}
	}
	return at
}

func (n *layerNode) path() string {
	if n.parent == nil {
		return "/"
	}
	return path.Join(n.parent.path(), n.name)
}

// set puts a file under a name; a directory keeps what it already holds.
func (n *layerNode) set(layer int, name string, file *layerFile) *layerNode {
	old := n.children[name]
	if old != nil && old.file.typ == TypeDir && file.typ == TypeDir {
		old.file, old.layer = file, layer
		return old
	}
	node := &layerNode{name: name, layer: layer, file: file, parent: n}
	if n.children == nil {
		n.children = map[string]*layerNode{}
	}
	n.children[name] = node
	return node
}

// whiteout removes what lower layers hold under a name.
func (n *layerNode) whiteout(layer int, name string) {
	child := n.children[name]
	if child == nil {
		return
	}
	child.prune(layer)
	if child.layer < layer && len(child.children) == 0 {
		delete(n.children, name)
	}
}

// prune removes what lower layers put below a directory.
func (n *layerNode) prune(layer int) {
	for name, child := range n.children {
		child.prune(layer)
		if child.layer < layer && len(child.children) == 0 {
			delete(n.children, name)
		}
	}
}
