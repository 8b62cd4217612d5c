package handover

import (
	"bytes"
	"encoding/json"
	"syscall"
	"unicode/utf8"
)

const (
	// maxDocument bounds the manifest and the config: it is the size up to which
	// registries should take manifests (OCI distribution specification).
	maxDocument = 4 << 20
	// maxStepDocuments bounds the manifests and configs of all steps together: they are
	// read into memory.
	maxStepDocuments = 32 << 20
	// maxLayers is how many of them nodes can mount (containers/storage, maxDepth
	// of its overlay driver).
	maxLayers = 500
	// maxError is where the text of a refusal is cut: it may quote what it refuses,
	// and it goes into the log and the termination message.
	maxError = 500
	// wholeFrom is the size from which a file must have been written. Smaller ones
	// may lie inside their inode, and cost nobody anything.
	wholeFrom = 1 << 20
	// seekHole is SEEK_HOLE of lseek(2).
	seekHole = 4
)

// MaxBytes is the limit of Open for those who do not know how large the volume
// of the hand-over is. It is far more than an operating system's new layers
// have, compressed, and what it leaves can be uploaded within hours.
const MaxBytes = 128 << 30

// layerList is a list that is not read beyond what is allowed: an entry of three
// bytes takes a hundred once it is read.
type layerList []descriptor

// UnmarshalJSON implements json.Unmarshaler.
func (l *layerList) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if start, err := decoder.Token(); err != nil || start == nil {
		return err
	} else if start != json.Delim('[') {
		return refuse(manifestFile, "does not parse: its layers are no list")
	}
	for decoder.More() {
		if len(*l) == maxLayers {
			return refuse(manifestFile, "names more than %d layers", maxLayers)
		}
		var layer descriptor
		if err := decoder.Decode(&layer); err != nil {
			return err
		}
		*l = append(*l, layer)
	}
	return nil
}

// budget is how many bytes the layers may have that are uploaded.
type budget struct {
	limit, used int64
	counted     map[string]bool
}

func newBudget(limit int64) *budget { return &budget{limit: limit, counted: map[string]bool{}} }

// spend counts a layer, once: it is uploaded once.
func (b *budget) spend(what, digest string, size int64) error {
	switch {
	case b.counted[digest]:
		return nil
	case size > b.limit:
		return refuse(what, "has %d bytes: all that is handed over may have %d", size, b.limit)
	case size > b.limit-b.used:
		return refuse(what, "has %d bytes: all that is handed over may have %d, and %d are of other layers", size, b.limit, b.used)
	}
	b.used += size
	b.counted[digest] = true
	return nil
}

// checkWritten refuses a file whose size was set and whose content was not
// written: it takes no room on the volume, and hours to upload. A file system
// that compresses, or that counts blocks only once they are on the disk, has
// fewer blocks as well, but no hole; one that knows no holes says that there is
// none, and then the budget is the bound.
func checkWritten(what, dir, name string) error {
	file, err := openFile(dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return refuse(what, "cannot be looked at: %v", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Size() <= wholeFrom || stat.Blocks*512 >= info.Size() {
		return nil
	}
	if hole, err := file.Seek(0, seekHole); err == nil && hole < info.Size() {
		return refuse(what, "has %d bytes, of which only %d were written", info.Size(), stat.Blocks*512)
	}
	return nil
}

// refusal is a text that quotes no more than can be read.
func refusal(text string) string {
	if len(text) <= maxError {
		return text
	}
	n := maxError
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
