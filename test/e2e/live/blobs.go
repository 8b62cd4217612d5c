package live

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Blobs searches whatever was pushed to the registries since the witness began:
// layers, image configs and manifests, named by a tag or not.
func (w *Witness) Blobs() error {
	for _, registry := range []string{"registry", "registry-auth"} {
		root := filepath.Join(filepath.Dir(w.cluster.Logs), registry)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if err != nil || info.ModTime().Before(w.began) {
				return err
			}
			return w.blob(path)
		})
		if err != nil {
			return fmt.Errorf("searching the blobs of %s: %w", registry, err)
		}
	}
	return nil
}

// blob searches one file, unpacked where it is a compressed layer.
func (w *Witness) blob(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffered := bufio.NewReader(file)
	var content io.Reader = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" { // a shorter file is not compressed
		if content, err = gzip.NewReader(buffered); err != nil {
			return err
		}
	}
	found, err := w.needles.inStream(content)
	w.note("blobs", 1, found, "blob "+path)
	return err
}
