package configlayer

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrCorruptTree says that bytes are no encoded Tree, or a damaged one.
var ErrCorruptTree = errors.New("base index is corrupt")

// ErrTreeVersion says that bytes are a Tree in a format of another version: the
// base image must be indexed again.
var ErrTreeVersion = errors.New("base index has another version")

// maxTreeBytes bounds what an encoded tree may decompress to.
const maxTreeBytes = 256 << 20

// DecodeTree reads what Encode wrote. Errors: ErrCorruptTree, ErrTreeVersion, or
// the reader's own.
func DecodeTree(r io.Reader) (*Tree, error) {
	magic := make([]byte, len(treeMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, fmt.Errorf("reading base index: %w", corruptIfShort(err))
	}
	version := len(treeMagic) - 1
	if string(magic[:version]) != treeMagic[:version] {
		return nil, fmt.Errorf("reading base index: %w: no magic", ErrCorruptTree)
	}
	if magic[version] != treeMagic[version] {
		return nil, fmt.Errorf("reading base index: %w: %d", ErrTreeVersion, magic[version])
	}
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("reading base index: %w", corruptIfShort(err))
	}
	var raw bytes.Buffer
	if _, err := io.Copy(&raw, io.LimitReader(zip, maxTreeBytes+1)); err != nil {
		return nil, fmt.Errorf("reading base index: %w", corruptIfShort(err))
	}
	if raw.Len() > maxTreeBytes {
		return nil, fmt.Errorf("reading base index: %w: larger than %d bytes", ErrCorruptTree, maxTreeBytes)
	}
	d := decoder{in: raw.String()}
	t := d.tree()
	if d.bad == "" && d.in != "" {
		d.fail("bytes after its end")
	}
	if d.bad != "" {
		return nil, fmt.Errorf("reading base index: %w: %s", ErrCorruptTree, d.bad)
	}
	return t, nil
}

// corruptIfShort makes ErrCorruptTree of an early end or of damaged compression
// and leaves a reader's own errors alone.
func corruptIfShort(err error) error {
	var damaged flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fmt.Errorf("%w: %w", ErrCorruptTree, err)
	case errors.As(err, &damaged):
		return fmt.Errorf("%w: %w", ErrCorruptTree, err)
	}
	return err
}

// decoder reads columns; after the first failure every read gives zero values.
type decoder struct {
	in  string
	bad string
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
	d.in = ""
}

// number reads a number below limit.
func (d *decoder) number(limit int) int {
	var n uint64
	for shift := uint(0); ; shift += 7 {
		if d.in == "" || shift > 63 {
			d.fail("a number is cut off or too long")
			return 0
		}
		c := d.in[0]
		d.in = d.in[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	if n >= uint64(limit) {
		d.fail("a number is out of range")
		return 0
	}
	return int(n)
}

// count reads the number of things to come; each takes at least one byte.
func (d *decoder) count() int { return d.number(len(d.in) + 1) }

func (d *decoder) text() string {
	n := d.count()
	if n > len(d.in) {
		d.fail("a text is cut off")
		return ""
	}
	s := d.in[:n]
	d.in = d.in[n:]
	return s
}

func (d *decoder) tree() *Tree {
	t := &Tree{layers: []string{}}
	for n := d.count(); n > 0 && d.bad == ""; n-- {
		t.layers = append(t.layers, d.text())
	}
	const anyID = 1 << 32
	for n := d.count(); n > 0 && d.bad == ""; n-- {
		typ, mode := d.number(int(TypeOther)+1), d.number(0o10000)
		a := attr{typ: EntryType(typ), mode: uint32(mode), uid: d.number(anyID), gid: d.number(anyID)}
		if a.typ == 0 {
			d.fail("a path has no type")
		}
		t.attrs = append(t.attrs, a)
	}
	n := d.number(min(len(d.in), maxPaths) + 1)
	if n == 0 {
		d.fail("it has no root")
		return nil
	}
	ups := d.ups(n)
	d.names(t, n)
	t.attr = d.indexes(n, len(t.attrs))
	t.layer = d.indexes(n, max(len(t.layers), 1))
	if d.bad != "" {
		return nil
	}
	d.shape(t, ups)
	t.link = sparse(d, n, d.text)
	t.hard = sparse(d, n, func() int32 { return int32(d.number(n)) })
	t.member = sparse(d, n, d.text)
	t.xattrs = sparse(d, n, d.pairs)
	t.kept = sparse(d, n, func() kept { return kept{install: d.number(2) == 1, data: d.text()} })
	d.checkLinks(t)
	return t
}

func (d *decoder) ups(n int) []int {
	ups := make([]int, n)
	for i := 1; i < n; i++ {
		ups[i] = d.number(n)
	}
	return ups
}

func (d *decoder) names(t *Tree, n int) {
	repeats, lengths := make([]int, n), make([]int, n)
	for i := 1; i < n; i++ {
		repeats[i] = d.number(len(d.in) + 1)
	}
	total := 0
	for i := 1; i < n; i++ {
		lengths[i] = d.number(len(d.in) + 1)
		total += repeats[i] + lengths[i]
	}
	if total > maxTreeBytes {
		d.fail("names are too long")
	}
	t.name = make([]string, n)
	var all strings.Builder
	last, starts := "", make([]int, n+1)
	for i := 1; i < n && d.bad == ""; i++ {
		if repeats[i] > len(last) || lengths[i] > len(d.in) {
			d.fail("a name is cut off")
			return
		}
		starts[i] = all.Len()
		all.WriteString(last[:repeats[i]])
		all.WriteString(d.in[:lengths[i]])
		d.in = d.in[lengths[i]:]
		last = all.String()[starts[i]:]
		t.name[i] = last
		if last == "" || last == "." || last == ".." || strings.ContainsAny(last, "/\x00") {
			d.fail("a name is no name")
		}
	}
}

func (d *decoder) indexes(n, limit int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(d.number(limit))
	}
	return out
}

// shape rebuilds parents and ends, and checks that siblings are in order.
func (d *decoder) shape(t *Tree, ups []int) {
	n := int32(len(t.name))
	t.parent, t.end = make([]int32, n), make([]int32, n)
	if t.at(0).typ != TypeDir {
		d.fail("its root is no directory")
		return
	}
	for i := int32(1); i < n; i++ {
		parent, before := i-1, int32(-1)
		for up := ups[i]; up > 0; up-- {
			if parent == 0 {
				d.fail("a path lies above the root")
				return
			}
			t.end[parent] = i
			before, parent = parent, t.parent[parent]
		}
		if t.at(parent).typ != TypeDir {
			d.fail("a path lies below a file")
			return
		}
		if before >= 0 && t.name[before] >= t.name[i] {
			d.fail("names are out of order")
			return
		}
		t.parent[i] = parent
	}
	for i := range t.end {
		if t.end[i] == 0 {
			t.end[i] = n
		}
	}
}

func (d *decoder) pairs() map[string]string {
	all := map[string]string{}
	for n := d.count(); n > 0 && d.bad == ""; n-- {
		key := d.text()
		all[key] = d.text()
	}
	return all
}

func sparse[V any](d *decoder, n int, read func() V) map[int32]V {
	count := d.count()
	values := make(map[int32]V, min(count, n))
	at := 0
	for ; count > 0 && d.bad == ""; count-- {
		if at += d.number(n); at >= n {
			d.fail("a column is too long")
			return values
		}
		values[int32(at)] = read()
	}
	return values
}

// checkLinks checks that hard links lead to files that are none themselves, and
// that just the symbolic links have a target.
func (d *decoder) checkLinks(t *Tree) {
	if d.bad != "" {
		return
	}
	for i, first := range t.hard {
		_, chained := t.hard[first]
		if chained || first >= i || t.at(first).typ == TypeDir || t.at(first) != t.at(i) {
			d.fail("a hard link leads nowhere")
		}
	}
	for i := range t.link {
		if t.at(i).typ != TypeSymlink {
			d.fail("a path that is no link has a target")
		}
	}
	for i := range t.member {
		if t.at(i).typ != TypeFile {
			d.fail("a path that is no file has a member")
		}
	}
	if len(t.layers) == 0 && len(t.name) > 1 {
		d.fail("paths come from no layer")
	}
}
