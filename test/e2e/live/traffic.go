package live

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Traffic is what the registry logs from some moment on.
type Traffic struct {
	path  string
	start int64
}

// WatchRegistry begins at the present end of the registry's log.
func (c *Cluster) WatchRegistry() (Traffic, error) {
	t := Traffic{path: filepath.Join(c.Logs, "registry.log")}
	info, err := os.Stat(t.path)
	if err != nil {
		return t, fmt.Errorf("finding the registry's log: %w", err)
	}
	t.start = info.Size()
	return t, nil
}

// blobRead is a line of the registry's log that answers a read of a blob.
var blobRead = regexp.MustCompile(`http\.request\.method=GET .*http\.request\.uri="?/v2/[^ ]+/blobs/(sha256:[0-9a-f]{64})`)

// BlobsRead are the digests of the blobs that were read since, each as often
// as it was.
func (t Traffic) BlobsRead() ([]string, error) {
	f, err := os.Open(t.path)
	if err != nil {
		return nil, fmt.Errorf("reading the registry's log: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, t.start, 1<<30))
	if err != nil {
		return nil, fmt.Errorf("reading the registry's log: %w", err)
	}
	var digests []string
	for _, match := range blobRead.FindAllSubmatch(text, -1) {
		digests = append(digests, string(match[1]))
	}
	return digests, nil
}
