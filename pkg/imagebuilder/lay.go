package imagebuilder

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// LayOptions are the inputs of Lay.
type LayOptions struct {
	MachineConfigDir    string
	MachineConfigSHA256 string
	// BaseDir is the root of the base image's file system.
	BaseDir string
	// LayerDir gets the config layer's files; it must not exist.
	LayerDir string
	// RemovedFile gets what the layer removes, for Remove. A whiteout (OCI image
	// specification, "Representing Changes") cannot be copied: where it lies, it hides.
	RemovedFile string
}

// Lay writes the files of the config layer, made for a base image whose file system
// is mounted, where a Dockerfile can copy them from.
func Lay(ctx context.Context, options LayOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	progress.Step("inputs", "reading the MachineConfig and the base image's files")
	config, err := readMachineConfig(options.MachineConfigDir, options.MachineConfigSHA256)
	if err != nil {
		return result, err
	}
	tree, err := treeOfDir(options.BaseDir)
	if err != nil {
		return result, err
	}
	progress.Done("%s; %d files", config.Name, tree.Len())

	progress.Step("layer", "writing the config layer")
	fetch, err := newFetcher(&registryaccess.Clients{})
	if err != nil {
		return result, err
	}
	layer, err := configlayer.Build(ctx, config, tree, configlayer.Deps{
		ReadBase: func(_ context.Context, file string) ([]byte, error) { return readBelow(options.BaseDir, file) },
		Fetch:    fetch.fetch,
	})
	if err != nil {
		return result, fmt.Errorf("making the config layer: %w", err)
	}
	for _, warning := range layer.Warnings() {
		progress.Note("warning: %s", warning)
	}
	removed, err := extract(layer, options.LayerDir)
	if err == nil {
		err = writeRemoved(options.RemovedFile, removed)
	}
	if err != nil {
		return result, fmt.Errorf("writing the config layer: %w", err)
	}
	progress.Done("%s, %d removed", steplog.Plural(layer.Len()-len(removed), "file"), len(removed))
	result.Succeeded = true
	return result, nil
}

func readBelow(dir, file string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.ReadFile(strings.TrimPrefix(file, "/"))
}

// treeOfDir is the index of a mounted file system, read as the layer that would
// make it.
func treeOfDir(dir string) (*configlayer.Tree, error) {
	builder := configlayer.NewTreeBuilder()
	out, in := io.Pipe()
	go func() {
		w := tarWriter{dir: dir, out: tar.NewWriter(in), first: map[[2]uint64]string{}}
		err := filepath.WalkDir(dir, w.add)
		if err == nil {
			err = w.out.Close()
		}
		in.CloseWithError(err)
	}()
	err := builder.AddLayer("", out)
	_ = out.Close()
	if err != nil {
		return nil, fmt.Errorf("reading the base image's files: %w", err)
	}
	return builder.Tree(), nil
}

// tarWriter writes what an index needs to know of a file system: contents only
// where decisions depend on them.
type tarWriter struct {
	dir string
	out *tar.Writer
	// first is the first name of each file that has several, by device and inode.
	first map[[2]uint64]string
}

func (w *tarWriter) add(file string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(w.dir, file)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the system tells no owner", file)
	}
	header := &tar.Header{Name: name, Mode: int64(stat.Mode & 0o7777), Uid: int(stat.Uid), Gid: int(stat.Gid), Format: tar.FormatPAX}
	var content []byte
	switch mode := info.Mode(); {
	case mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	case mode&fs.ModeSymlink != 0:
		header.Typeflag = tar.TypeSymlink
		header.Linkname, err = os.Readlink(file)
	case w.linkTo(header, name, stat):
	case mode.IsRegular():
		header.Typeflag = tar.TypeReg
		content, err = w.read(header, file, name)
	default:
		header.Typeflag = tar.TypeFifo // devices and sockets: it counts that they are no files
	}
	if err != nil {
		return err
	}
	if err := w.out.WriteHeader(header); err != nil {
		return err
	}
	_, err = w.out.Write(content)
	return err
}

// linkTo makes a hard link of a further name of a file.
func (w *tarWriter) linkTo(header *tar.Header, name string, stat *syscall.Stat_t) bool {
	if stat.Nlink < 2 {
		return false
	}
	id := [2]uint64{stat.Dev, stat.Ino}
	first, found := w.first[id]
	if !found {
		w.first[id] = name
		return false
	}
	header.Typeflag, header.Linkname = tar.TypeLink, first
	return true
}

// read adds a file's attributes and returns its content, where that is kept.
func (w *tarWriter) read(header *tar.Header, file, name string) ([]byte, error) {
	capability, err := xattr(file, capabilityXattr)
	if err != nil {
		return nil, err
	}
	if capability != "" {
		header.PAXRecords = map[string]string{"SCHILY.xattr." + capabilityXattr: capability}
	}
	if !configlayer.Keeps("/" + name) {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	header.Size = int64(len(content))
	return content, err
}

// capabilityXattr is the one attribute that a change of a file takes away
// (capabilities(7), "File capabilities").
const capabilityXattr = "security.capability"

func xattr(file, name string) (string, error) {
	value := make([]byte, 256)
	n, err := unix.Lgetxattr(file, name, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading attribute %s of %s: %w", name, file, err)
	}
	return string(value[:n]), nil
}

// extract writes a layer's members as files, and returns the paths that it removes.
func extract(layer layerWriter, dir string) (removed []string, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // it becomes the root of an image
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	out, in := io.Pipe()
	go func() { in.CloseWithError(layer.WriteTar(in)) }()
	defer func() { _ = out.Close() }()
	members := tar.NewReader(out)
	var headers []*tar.Header
	for {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if gone, isWhiteout := configlayer.Removes(header.Name); isWhiteout {
			removed = append(removed, gone)
			continue
		}
		if err := writeMember(root, header, members); err != nil {
			return nil, fmt.Errorf("%s: %w", header.Name, err)
		}
		headers = append(headers, header)
	}
	// What lies in a directory changes its time, so that one is set after all else.
	for _, header := range headers {
		if header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeReg {
			if err := root.Chtimes(filepath.Clean(header.Name), header.ModTime, header.ModTime); err != nil {
				return nil, err
			}
		}
	}
	return removed, nil
}

func writeMember(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeDir:
		if name != "." {
			if err := root.Mkdir(name, 0o700); err != nil {
				return err
			}
		}
	case tar.TypeReg:
		if err := writeFile(root, name, content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Symlink(header.Linkname, name); err != nil {
			return err
		}
		return root.Lchown(name, header.Uid, header.Gid)
	case tar.TypeLink:
		return root.Link(filepath.Clean(header.Linkname), name)
	default:
		return fmt.Errorf("type %q is none that a config has", header.Typeflag)
	}
	if err := root.Lchown(name, header.Uid, header.Gid); err != nil {
		return err
	}
	// After the owner, whose change takes set-user-ID bits away.
	if err := root.Chmod(name, fs.FileMode(header.Mode).Perm()|specialBits(header.Mode)); err != nil {
		return err
	}
	if value, found := header.PAXRecords["SCHILY.xattr."+capabilityXattr]; found {
		return unix.Lsetxattr(filepath.Join(root.Name(), name), capabilityXattr, []byte(value), 0)
	}
	return nil
}

func specialBits(mode int64) fs.FileMode {
	var bits fs.FileMode
	for bit, special := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			bits |= special
		}
	}
	return bits
}

func writeFile(root *os.Root, name string, content io.Reader) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
