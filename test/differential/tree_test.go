package differential

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// unpack lays a tar over a directory as an OCI runtime lays a layer over lower
// ones: whiteouts remove, other entries replace, directories stay.
func unpack(root string, r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackMember(root, header, archive); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func unpackMember(root string, header *tar.Header, content io.Reader) error {
	at := filepath.Join(root, filepath.Clean("/"+header.Name))
	dir, name := filepath.Split(at)
	if hidden, ok := strings.CutPrefix(name, ".wh."); ok {
		return os.RemoveAll(dir + hidden)
	}
	if old, err := os.Lstat(at); err == nil && (!old.IsDir() || header.Typeflag != tar.TypeDir) {
		if err := os.RemoveAll(at); err != nil {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		file, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if _, err := io.Copy(file, content); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := os.Symlink(header.Linkname, at); err != nil {
			return err
		}
		return os.Lchown(at, header.Uid, header.Gid)
	case tar.TypeLink:
		return os.Link(filepath.Join(root, filepath.Clean("/"+header.Linkname)), at)
	default:
		return nil // devices: nothing looks at them
	}
	if err := os.Lchown(at, header.Uid, header.Gid); err != nil {
		return err
	}
	return syscall.Chmod(at, uint32(header.Mode)&0o7777)
}

// snapshot describes every path of a root file system by one line each.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	lines := map[string]string{}
	names := map[uint64]string{}
	err := filepath.WalkDir(root, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := "/" + strings.TrimPrefix(strings.TrimPrefix(at, root), "/")
		var st syscall.Stat_t
		if err := syscall.Lstat(at, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%06o %d:%d", st.Mode, st.Uid, st.Gid)
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			line += " -> " + target
		case syscall.S_IFREG:
			data, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x", len(data), sha256.Sum256(data))
			if len(data) < 200 {
				line += fmt.Sprintf(" %q", data)
			}
			if first, ok := names[st.Ino]; ok {
				line += " = " + first
			} else if st.Nlink > 1 {
				names[st.Ino] = rel
			}
		}
		lines[rel] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// compare reports every path that differs.
func compare(t *testing.T, want, got map[string]string) {
	t.Helper()
	all := map[string]bool{}
	for at := range want {
		all[at] = true
	}
	for at := range got {
		all[at] = true
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if want[at] != got[at] {
			t.Errorf("%s\n  ignition: %s\n  ours:     %s", at, want[at], got[at])
		}
	}
}
