package configlayer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// database is one of the files in which names of users or groups are looked up.
type database struct {
	what  string
	paths []string
}

// Image-based systems keep the names that came with the image below /usr.
var (
	users  = database{"user", []string{"/etc/passwd", "/usr/lib/passwd"}}
	groups = database{"group", []string{"/etc/group", "/usr/lib/group"}}
)

// owner resolves a user or group: the number, else the name as the image knows
// it at this moment (the config may have written the file itself), else what it
// is already.
func (b *build) owner(ctx context.Context, db database, id *int, name *string, present int) (int, error) {
	switch {
	case id != nil:
		if *id < 0 || *id >= math.MaxUint32 {
			return 0, fmt.Errorf("%s id %d is out of range", db.what, *id)
		}
		return *id, nil
	case name == nil || *name == "":
		return present, nil
	}
	for _, p := range db.paths {
		node, err := b.view.stat(p)
		if err != nil || node.typ != TypeFile {
			continue
		}
		text, err := b.content(ctx, node)
		if err != nil {
			return 0, err
		}
		if found, ok := lookupName(string(text), *name); ok {
			return found, nil
		}
	}
	return 0, fmt.Errorf("%s %q is not in the base image's %s (the config's passwd section is not applied to images): %w",
		db.what, *name, db.paths[0], errUnknownName)
}

var errUnknownName = errors.New("unknown name")

// lookupName finds the number of a name in the text of a passwd or group file.
func lookupName(text, name string) (int, bool) {
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 3 || fields[0] != name {
			continue
		}
		if id, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
			return int(id), true
		}
	}
	return 0, false
}
