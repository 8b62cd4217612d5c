package sourcebuild

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// extractImages copies what spec.source.images name into the inputs. Of an image, its
// layers are streamed once to learn what is where, and those with wanted files again.
func (p *preparation) extractImages(ctx context.Context) error {
	for i, source := range p.options.Build.Spec.Source.Images {
		if len(source.Paths) == 0 {
			continue
		}
		if err := p.extractImage(ctx, i, source); err != nil {
			return fail(buildv1.StatusReasonFetchImageContentFailed, fmt.Errorf("spec.source.images[%d]: %w", i, err))
		}
	}
	return nil
}

func (p *preparation) extractImage(ctx context.Context, i int, source buildv1.ImageSource) error {
	access := p.options.Access
	if dir, found := p.options.ImageSecretDirs[i]; found {
		access.PullSecretDirs = append([]string{dir}, access.PullSecretDirs...)
	}
	clients, err := access.Clients()
	if err != nil {
		return p.options.ofSecret(err)
	}
	opened, err := clients.Pull.Open(ctx, source.From.Name)
	if err != nil {
		return err
	}
	image, err := forThisMachine(opened)
	if err != nil {
		return err
	}
	tree, err := learn(ctx, image)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(p.options.WorkDir.inputs())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	copying := &copying{tree: tree, root: root, wanted: map[string]map[string][]target{}}
	for j, wanted := range source.Paths {
		if err := copying.plan(wanted); err != nil {
			return fmt.Errorf("paths[%d]: %w", j, err)
		}
	}
	if err := copying.run(ctx, image); err != nil {
		return err
	}
	p.progress.Note("copied %d files from %s, %s", copying.files, source.From.Name, opened.Digest)
	return nil
}

func learn(ctx context.Context, image *registry.BaseImage) (*configlayer.Tree, error) {
	builder := configlayer.NewTreeBuilder()
	for _, layer := range image.Layers {
		if err := eachLayer(ctx, image, layer.Digest, func(stream io.Reader) error { return builder.AddLayer(layer.Digest, stream) }); err != nil {
			return nil, err
		}
	}
	return builder.Tree(), nil
}

// eachLayer reads a layer to its end, where its digest is known to be right.
func eachLayer(ctx context.Context, image *registry.BaseImage, digest string, read func(io.Reader) error) error {
	stream, err := image.OpenLayer(ctx, digest)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if err := read(stream); err != nil {
		return fmt.Errorf("reading layer %s: %w", digest, err)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return fmt.Errorf("reading layer %s: %w", digest, err)
	}
	return nil
}

// copying takes files out of an image and puts them below root.
type copying struct {
	tree *configlayer.Tree
	root *os.Root
	// wanted says where the members of each layer go.
	wanted map[string]map[string][]target
	dirs   []target
	files  int
}

// target is where something goes, and its permissions.
type target struct {
	name string
	mode fs.FileMode
}

// maxLinks is how many symbolic links a path may lead through (Linux, MAXSYMLINKS).
const maxLinks = 40

// resolve follows the links of a path within the image; of the last one, only where
// that is asked for.
func (c *copying) resolve(name string, last bool) (configlayer.Entry, error) {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at, links := "/", 0
	for len(rest) > 0 && rest[0] != "" {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		entry, found := c.tree.Lookup(next)
		if !found {
			return entry, fmt.Errorf("sourcePath %s: the image has no %s", name, next)
		}
		if entry.Type != configlayer.TypeSymlink || len(rest) == 0 && !last {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return entry, fmt.Errorf("sourcePath %s: it leads through more than %d symbolic links", name, maxLinks)
		}
		to := entry.Link
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(next), to)
		}
		at, rest = "/", append(strings.Split(strings.Trim(path.Clean(to), "/"), "/"), rest...)
		rest = slices.DeleteFunc(rest, func(part string) bool { return part == "" })
	}
	entry, found := c.tree.Lookup(at)
	if !found {
		return entry, fmt.Errorf("sourcePath %s: the image has no %s", name, at)
	}
	return entry, nil
}

// plan makes the directories and links of one path, and notes its files. As with cp, a
// path that ends in "/." means what is in the directory, and any other what it names.
func (c *copying) plan(wanted buildv1.ImageSourcePath) error {
	contents := strings.HasSuffix(wanted.SourcePath, "/.")
	from, err := c.resolve(wanted.SourcePath, contents)
	if err != nil {
		return err
	}
	if contents && from.Type != configlayer.TypeDir {
		return fmt.Errorf("sourcePath %s: %s is no directory of the image", wanted.SourcePath, from.Path)
	}
	to := relative(wanted.DestinationDir)
	if err := c.root.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("destinationDir %q: it must be a directory of the source: %w", wanted.DestinationDir, err)
	}
	if !contents {
		to = path.Join(to, path.Base(path.Clean("/"+wanted.SourcePath)))
	}
	for entry := range c.tree.All() {
		below, found := strings.CutPrefix(entry.Path, from.Path)
		if !found || below != "" && from.Path != "/" && below[0] != '/' {
			continue
		}
		if contents && entry.Path == from.Path {
			continue
		}
		if err := c.add(entry, path.Join(to, below)); err != nil {
			return fmt.Errorf("sourcePath %s: %s: %w", wanted.SourcePath, entry.Path, err)
		}
	}
	return nil
}

func (c *copying) add(entry configlayer.Entry, to string) error {
	at := target{name: to, mode: fs.FileMode(entry.Mode & 0o777)}
	switch entry.Type {
	case configlayer.TypeDir:
		if err := c.root.Mkdir(to, 0o700); err != nil {
			if info, statErr := c.root.Lstat(to); statErr != nil || !info.IsDir() {
				return err
			}
		}
		// Its permissions may forbid to write there.
		c.dirs = append(c.dirs, at)
	case configlayer.TypeSymlink:
		if err := c.root.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return c.root.Symlink(entry.Link, to)
	case configlayer.TypeFile:
		digest, member, err := c.tree.Member(entry.Path)
		if err != nil {
			return err
		}
		if c.wanted[digest] == nil {
			c.wanted[digest] = map[string][]target{}
		}
		c.wanted[digest][member] = append(c.wanted[digest][member], at)
	default:
		return errors.New("it is a device, a pipe or a socket, which no build context can have")
	}
	return nil
}

// run copies the files, and then sets the permissions of directories.
func (c *copying) run(ctx context.Context, image *registry.BaseImage) error {
	for _, layer := range image.Layers {
		members := c.wanted[layer.Digest]
		if len(members) == 0 {
			continue
		}
		if err := eachLayer(ctx, image, layer.Digest, func(stream io.Reader) error { return c.extract(stream, members) }); err != nil {
			return err
		}
		// A layer may be there twice.
		delete(c.wanted, layer.Digest)
		for member, at := range members {
			for _, file := range at {
				if _, err := c.root.Lstat(file.name); err != nil {
					return fmt.Errorf("layer %s has no member %s: %w", layer.Digest, member, err)
				}
			}
			c.files += len(at)
		}
	}
	for _, dir := range slices.Backward(c.dirs) {
		// Whoever removes the work directory must be able to.
		if err := c.root.Chmod(dir.name, dir.mode|0o700); err != nil {
			return err
		}
	}
	return nil
}

// extract writes the members that are wanted. The last one of a name counts.
func (c *copying) extract(stream io.Reader, members map[string][]target) error {
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := members[strings.TrimPrefix(path.Clean("/"+header.Name), "/")]
		if len(at) == 0 || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeInto(c.root, at[0].name, archive); err != nil {
			return err
		}
		for _, other := range at[1:] {
			if err := c.again(at[0].name, other.name); err != nil {
				return err
			}
		}
		for _, file := range at {
			if err := c.root.Chmod(file.name, file.mode); err != nil {
				return err
			}
		}
	}
}

// again copies a file that was written; two names of one file become two files, since
// a change of one in the context is none of the other.
func (c *copying) again(from, to string) error {
	file, err := c.root.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return writeInto(c.root, to, file)
}
