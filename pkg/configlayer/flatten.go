package configlayer

import (
	"maps"
	"path"
	"slices"
)

// Tree returns the index. The builder must not be used afterwards.
func (b *TreeBuilder) Tree() *Tree {
	t := &Tree{
		layers: b.layers,
		link:   map[int32]string{}, hard: map[int32]int32{}, member: map[int32]string{},
		xattrs: map[int32]map[string]string{}, kept: map[int32]kept{},
	}
	f := flattener{tree: t, attrs: map[attr]uint32{}, first: map[*layerFile]int32{}}
	if len(t.layers) == 0 {
		t.layers = []string{}
	}
	f.add(b.root, 0, "")
	return t
}

// flattener lays a tree of nodes out in preorder.
type flattener struct {
	tree  *Tree
	attrs map[attr]uint32
	first map[*layerFile]int32
}

func (f *flattener) add(node *layerNode, parent int32, at string) {
	t, file := f.tree, node.file
	i := int32(len(t.name))
	index, ok := f.attrs[file.attr]
	if !ok {
		index = uint32(len(t.attrs))
		f.attrs[file.attr] = index
		t.attrs = append(t.attrs, file.attr)
	}
	t.name = append(t.name, node.name)
	t.parent = append(t.parent, parent)
	t.end = append(t.end, 0)
	t.attr = append(t.attr, index)
	t.layer = append(t.layer, uint32(file.layer))
	if first, linked := f.first[file]; linked {
		t.hard[i] = first
	} else {
		f.first[file] = i
		f.addDetails(i, file, at)
	}
	if file.typ == TypeSymlink {
		t.link[i] = file.link
	}
	for _, name := range slices.Sorted(maps.Keys(node.children)) {
		f.add(node.children[name], i, path.Join(at, name))
	}
	t.end[i] = int32(len(t.name))
}

func (f *flattener) addDetails(i int32, file *layerFile, at string) {
	if file.typ == TypeFile && file.member != at {
		f.tree.member[i] = file.member
	}
	if len(file.xattrs) > 0 {
		f.tree.xattrs[i] = file.xattrs
	}
	if file.kept != nil {
		f.tree.kept[i] = *file.kept
	}
}
