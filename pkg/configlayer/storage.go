package configlayer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// entry is one of storage.directories, .files or .links.
type entry struct {
	// at is its place in the config, path where it lands.
	at     string
	path   string
	node   ignition.Node
	isDir  bool
	create func(ctx context.Context, path string) error
}

// storage creates directories, files and links in Ignition's order: the less
// deep first, hard links last, otherwise as the config lists them.
func (b *build) storage(ctx context.Context, cfg ignition.Config) error {
	entries, err := b.entries(cfg)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.createEntry(ctx, e); err != nil {
			return inConfig(e.at, e.node.Path, err)
		}
	}
	return nil
}

func (b *build) createEntry(ctx context.Context, e entry) error {
	if e.path == "/etc" && !e.isDir {
		return errors.New("/etc stays a directory: the image's MachineConfig lies below it, and systemd looks there for units")
	}
	if e.node.Overwrite != nil && *e.node.Overwrite {
		if err := b.view.remove(e.path); err != nil {
			return fmt.Errorf("removing what is there: %w", err)
		}
	}
	return e.create(ctx, e.path)
}

// entries resolves where every entry lands before anything is created, as
// Ignition does, and refuses two that land at the same path.
func (b *build) entries(cfg ignition.Config) ([]entry, error) {
	var soft, hard []entry
	for i, d := range cfg.Storage.Directories {
		at := fmt.Sprintf("$.storage.directories[%d]", i)
		soft = append(soft, entry{at: at, node: d.Node, isDir: true, create: func(ctx context.Context, p string) error {
			return b.directory(ctx, d, p, at)
		}})
	}
	for i, f := range cfg.Storage.Files {
		at := fmt.Sprintf("$.storage.files[%d]", i)
		soft = append(soft, entry{at: at, node: f.Node, create: func(ctx context.Context, p string) error {
			return b.file(ctx, f, p, at)
		}})
	}
	for i, l := range cfg.Storage.Links {
		e := entry{at: fmt.Sprintf("$.storage.links[%d]", i), node: l.Node}
		if l.Hard != nil && *l.Hard {
			e.create = func(_ context.Context, p string) error { return b.hardLink(*l.Target, p) }
			hard = append(hard, e)
			continue
		}
		at := e.at
		e.create = func(ctx context.Context, p string) error { return b.symbolicLink(ctx, l, p, at) }
		soft = append(soft, e)
	}
	all := append(soft, hard...)
	taken := map[string]string{}
	for i := range all {
		landed, err := b.land(all[i].node.Path)
		if err != nil {
			return nil, inConfig(all[i].at, all[i].node.Path, err)
		}
		if other, ok := taken[landed]; ok {
			return nil, configErrorf(all[i].at, "%q lands at %q, and so does %s", all[i].node.Path, landed, other)
		}
		all[i].path, taken[landed] = landed, all[i].at
	}
	sort.SliceStable(all[:len(soft)], func(i, j int) bool { return depth(all[i].path) < depth(all[j].path) })
	return all, nil
}

func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

// land says where a path of the config lies: links of the directories on the way
// are followed as Ignition does, one level each and on paper, so that what they
// point to need not exist. The last part is not followed.
func (b *build) land(p string) (string, error) {
	dir, last := path.Split(path.Clean("/" + p))
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if part == "" {
			continue
		}
		next := path.Join(at, part)
		node, err := b.view.lstat(next)
		switch {
		case errors.Is(err, errNotExist):
			at = next
		case err != nil:
			return "", err
		case node.typ != TypeSymlink:
			at = next
		case path.IsAbs(node.link):
			at = path.Clean(node.link)
		default:
			at = path.Join(path.Dir(next), node.link)
		}
	}
	return path.Join(at, last), nil
}

func (b *build) directory(ctx context.Context, d ignition.Directory, p, at string) error {
	node, err := b.view.lstat(p)
	switch {
	case errors.Is(err, errNotExist):
		if err := b.view.mkdirAll(p); err != nil {
			return err
		}
	case err != nil:
		return err
	case node.typ != TypeDir:
		return errors.New("something that is no directory exists there and overwrite is false")
	}
	return b.setPermissions(ctx, d.Node, d.Mode, p, at)
}

func (b *build) file(ctx context.Context, f ignition.File, p, at string) error {
	node, err := b.view.lstat(p)
	create := errors.Is(err, errNotExist)
	switch {
	case create:
	case err != nil:
		return err
	case node.typ != TypeFile:
		return errors.New("something that is no file exists there and overwrite is false")
	case f.Contents.Source != nil:
		return errors.New("a file exists there and overwrite is false")
	}
	if create {
		data, err := b.resource(ctx, f.Contents, at+".contents")
		if err != nil {
			return inConfig(at+".contents", "", err)
		}
		if err := b.view.replaceFile(p, data, defaultFileMode); err != nil {
			return err
		}
	}
	for i, part := range f.Append {
		if part.Source == nil {
			continue
		}
		where := fmt.Sprintf("%s.append[%d]", at, i)
		data, err := b.resource(ctx, part, where)
		if err != nil {
			return inConfig(where, "", err)
		}
		if err := b.append(ctx, p, data); err != nil {
			return err
		}
	}
	return b.setPermissions(ctx, f.Node, f.Mode, p, at)
}

// append adds to the end of a file.
func (b *build) append(ctx context.Context, p string, data []byte) error {
	node, err := b.view.stat(p)
	if err != nil {
		return err
	}
	if node.typ != TypeFile {
		return errNotRegular
	}
	if len(data) == 0 {
		return nil
	}
	before, err := b.content(ctx, node)
	if err != nil {
		return err
	}
	whole := make([]byte, 0, len(before)+len(data))
	b.view.write(node, append(append(whole, before...), data...))
	return nil
}

func (b *build) symbolicLink(ctx context.Context, l ignition.Link, p, at string) error {
	node, err := b.view.lstat(p)
	switch {
	case errors.Is(err, errNotExist):
	case err != nil:
		return err
	case node.typ != TypeSymlink:
		return errors.New("something that is no symbolic link exists there and overwrite is false")
	case path.Clean(node.link) != path.Clean(*l.Target):
		return fmt.Errorf("a symbolic link to %q exists there and overwrite is false", node.link)
	default:
		return nil
	}
	if err := b.view.symlink(*l.Target, p); err != nil {
		return err
	}
	return b.setPermissions(ctx, l.Node, nil, p, at)
}

func (b *build) hardLink(target, p string) error {
	landed, err := b.land(target)
	if err != nil {
		return fmt.Errorf("target %q: %w", target, err)
	}
	node, err := b.view.lstat(p)
	switch {
	case errors.Is(err, errNotExist):
		return b.view.hardlink(landed, p)
	case err != nil:
		return err
	}
	there, err := b.view.lstat(landed)
	if err != nil {
		return fmt.Errorf("target %q: %w", target, err)
	}
	if there != node {
		return errors.New("a file that is not the target exists there and overwrite is false")
	}
	return nil
}

// setPermissions sets owner and mode. An owner that the config does not name
// stays what it is; a new symbolic link takes that of what it points to.
func (b *build) setPermissions(ctx context.Context, n ignition.Node, mode *int, p, at string) error {
	node, err := b.view.lstat(p)
	if err != nil {
		return err
	}
	uid, gid := 0, 0
	if target, err := b.view.stat(p); err == nil {
		uid, gid = target.uid, target.gid
	}
	if uid, err = b.owner(ctx, users, n.User.ID, n.User.Name, uid); err != nil {
		return inConfig(at+".user", "", err)
	}
	if gid, err = b.owner(ctx, groups, n.Group.ID, n.Group.Name, gid); err != nil {
		return inConfig(at+".group", "", err)
	}
	b.view.chown(node, uid, gid)
	if mode != nil {
		b.view.chmod(node, uint32(*mode)&0o7777)
	}
	return nil
}
