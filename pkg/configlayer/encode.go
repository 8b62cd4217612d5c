package configlayer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
)

// TreeMediaType names the format that Encode writes, for whoever stores it.
const TreeMediaType = "application/vnd.machineosbuilder.base-index.v1+gzip"

// treeMagic starts every encoded tree; its last byte is the format's version.
const treeMagic = "mobtree\x01"

// Encode writes the tree: the magic with the format's version, then gzip over
// columns of variable-length numbers and front-coded names. The same tree gives
// the same bytes. Errors are the writer's.
func (t *Tree) Encode(w io.Writer) error {
	if _, err := io.WriteString(w, treeMagic); err != nil {
		return fmt.Errorf("writing base index: %w", err)
	}
	zip, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err != nil {
		return fmt.Errorf("writing base index: %w", err)
	}
	var e encoder
	e.strings(t.layers)
	e.number(len(t.attrs))
	for _, a := range t.attrs {
		e.number(int(a.typ), int(a.mode), a.uid, a.gid)
	}
	e.number(len(t.name))
	e.names(t)
	for i := range t.name {
		e.number(int(t.attr[i]))
	}
	for i := range t.name {
		e.number(int(t.layer[i]))
	}
	column(&e, t.link, e.text)
	column(&e, t.hard, func(first int32) { e.number(int(first)) })
	column(&e, t.member, e.text)
	column(&e, t.xattrs, func(all map[string]string) {
		e.number(len(all))
		for _, key := range slices.Sorted(maps.Keys(all)) {
			e.text(key)
			e.text(all[key])
		}
	})
	column(&e, t.kept, func(k kept) {
		e.number(bit(k.install))
		e.text(k.data)
	})
	if _, err := zip.Write(e.out.Bytes()); err != nil {
		return fmt.Errorf("writing base index: %w", err)
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("writing base index: %w", err)
	}
	return nil
}

type encoder struct {
	out     bytes.Buffer
	scratch [binary.MaxVarintLen64]byte
}

func (e *encoder) number(all ...int) {
	for _, n := range all {
		size := binary.PutUvarint(e.scratch[:], uint64(n))
		e.out.Write(e.scratch[:size])
	}
}

func (e *encoder) text(s string) {
	e.number(len(s))
	e.out.WriteString(s)
}

func (e *encoder) strings(all []string) {
	e.number(len(all))
	for _, s := range all {
		e.text(s)
	}
}

// names writes, column by column, how many levels each path lies above the one
// before it, how much of that one's name its own repeats, and the rest.
func (e *encoder) names(t *Tree) {
	var rest bytes.Buffer
	var repeats, lengths []int
	for i := 1; i < len(t.name); i++ {
		ups := 0
		for at := int32(i) - 1; at != t.parent[i]; at = t.parent[at] {
			ups++
		}
		e.number(ups)
		same := commonPrefix(t.name[i-1], t.name[i])
		repeats = append(repeats, same)
		lengths = append(lengths, len(t.name[i])-same)
		rest.WriteString(t.name[i][same:])
	}
	e.number(repeats...)
	e.number(lengths...)
	e.out.Write(rest.Bytes())
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// column writes a sparse column: the number of values, then each one's distance
// from the one before and the value.
func column[V any](e *encoder, values map[int32]V, write func(V)) {
	e.number(len(values))
	last := int32(0)
	for _, i := range slices.Sorted(maps.Keys(values)) {
		e.number(int(i - last))
		last = i
		write(values[i])
	}
}

func bit(set bool) int {
	if set {
		return 1
	}
	return 0
}
