package configlayer

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// maxKept is the largest content that an index keeps; larger ones are read from
// the base when they are needed.
const maxKept = 1 << 20

const presetPath = "/etc/systemd/system-preset/20-ignition.preset"

// keptWhole are the files whose contents decisions depend on: the names of users
// and groups, and the preset file that Ignition appends to.
var keptWhole = map[string]bool{
	"/etc/passwd":     true,
	"/etc/group":      true,
	"/usr/lib/passwd": true,
	"/usr/lib/group":  true,
	presetPath:        true,
}

// unitDirs are systemd's directories of system units, first wins. /run is not
// part of an image.
var unitDirs = []string{
	"/etc/systemd/system",
	"/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system",
	"/lib/systemd/system",
}

// Keeps tells whether an index needs the content of a regular file, by its path
// from the root; of any other, its header is enough.
func Keeps(at string) bool { return keptWhole[at] || isUnitFile(at) }

// keep reads the content of a file that the index holds; nil when it does not.
func keep(at string, size int64, content io.Reader) (*kept, error) {
	whole := keptWhole[at]
	if (!whole && !isUnitFile(at)) || size > maxKept {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(content, maxKept))
	if err != nil {
		return nil, fmt.Errorf("reading content: %w", err)
	}
	if whole {
		return &kept{data: string(data)}, nil
	}
	return &kept{install: true, data: installSection(string(data))}, nil
}

// isUnitFile tells whether a path is a unit file or a drop-in of one.
func isUnitFile(at string) bool {
	for _, dir := range unitDirs {
		rest, ok := strings.CutPrefix(at, dir+"/")
		if !ok {
			continue
		}
		sub, file := path.Split(rest)
		if sub == "" {
			return unitSuffixes[path.Ext(file)]
		}
		return strings.HasSuffix(sub, ".d/") && path.Ext(file) == ".conf"
	}
	return false
}

var unitSuffixes = map[string]bool{
	".service": true, ".socket": true, ".device": true, ".mount": true, ".automount": true, ".swap": true,
	".target": true, ".path": true, ".timer": true, ".slice": true, ".scope": true,
}
