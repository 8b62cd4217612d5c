package s2i

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
)

const (
	// maxLinks is how many links are followed on the way to a file, as many as Linux
	// follows (path_resolution(7)).
	maxLinks = 40
	// maxSmall is the size in bytes of what is read of the source into memory.
	maxSmall = 1 << 20
)

var (
	errOutside = errors.New("a symbolic link leads out of the source; copy the file to where the link is")
	errLoop    = errors.New("symbolic links lead in a circle")
)

// resolve follows the links of a path in the source, none of which may lead out of
// it: what lies around the source are the builder's own files, such as credentials.
// The result has no link, so that opening it follows none.
func resolve(source fs.FS, name string) (string, error) {
	done, rest, links := ".", name, 0
	for rest != "" {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		switch {
		case first == "" || first == ".":
			continue
		case first == ".." && done == ".":
			return "", errOutside
		case first == "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, first)
		info, err := fs.Lstat(source, next)
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", errLoop
		}
		target, err := fs.ReadLink(source, next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			return "", errOutside
		}
		rest = target + "/" + rest
	}
	return done, nil
}

// findRoot looks for the context dir.
func (p *planner) findRoot() error {
	wrong := func(format string, args ...any) error {
		return failf(buildv1.StatusReasonInvalidContextDirectory, "spec.source.contextDir %q "+format, append([]any{p.ContextDir}, args...)...)
	}
	if _, tells := p.Source.(fs.ReadLinkFS); !tells {
		return failf(ReasonFileSystemFailed, "reading the source: its file system cannot tell links from files")
	}
	root := path.Clean(strings.TrimLeft(p.ContextDir, "/"))
	if !fs.ValidPath(root) {
		return wrong("leads out of the source; name a folder in it")
	}
	resolved, err := resolve(p.Source, root)
	if errors.Is(err, fs.ErrNotExist) {
		return wrong("is not in the source; name a folder that is")
	}
	if err != nil {
		return wrong("cannot be used: %w", err)
	}
	info, err := fs.Stat(p.Source, resolved)
	if err != nil {
		return wrong("cannot be used: %w", err)
	}
	if !info.IsDir() {
		return wrong("is no folder; name the folder that is to be built")
	}
	p.root = resolved
	return nil
}

// find looks for a file of the context dir and returns where it is in the source,
// links followed; found is false where there is none.
func (p *planner) find(name string) (resolved string, info fs.FileInfo, err error) {
	resolved, err = resolve(p.Source, path.Join(p.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("reading %s of the source: %w", name, err)
	}
	info, err = fs.Stat(p.Source, resolved)
	if err != nil {
		return "", nil, fmt.Errorf("reading %s of the source: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return "", nil, fmt.Errorf("reading %s of the source: it is no file, but %s", name, kindOf(info.Mode()))
	}
	return resolved, info, nil
}

// readSmall returns the text of a file of the context dir, empty for none.
func (p *planner) readSmall(name string) (string, error) {
	resolved, info, err := p.find(name)
	if err != nil || resolved == "" {
		return "", err
	}
	if info.Size() > maxSmall {
		return "", fmt.Errorf("reading %s of the source: it has %d bytes, and may have %d", name, info.Size(), maxSmall)
	}
	text, err := fs.ReadFile(p.Source, resolved)
	if err != nil {
		return "", fmt.Errorf("reading %s of the source: %w", name, err)
	}
	return string(text), nil
}

// sourceFiles lists what of the source is laid out: everything but what .s2iignore
// names and the scripts that are moved.
func (p *planner) sourceFiles(moved map[string]bool) ([]File, error) {
	var files []File
	err := fs.WalkDir(p.Source, p.root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative := "."
		if name != p.root {
			relative = strings.TrimPrefix(name, p.root+"/")
			if p.root == "." {
				relative = name
			}
		}
		switch {
		case relative != "." && p.ignored.match(relative) && entry.IsDir():
			return fs.SkipDir
		case relative != "." && p.ignored.match(relative), moved[relative]:
			return nil
		}
		file, err := p.sourceFile(name, entry)
		if err != nil {
			return err
		}
		file.Path = path.Join(sourceDir, relative)
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, failf(ReasonFileSystemFailed, "reading the source: %w", err)
	}
	return files, nil
}

func (p *planner) sourceFile(name string, entry fs.DirEntry) (File, error) {
	if !fs.ValidPath(name) {
		return File{}, fmt.Errorf("%q has a name that is not UTF-8; rename it, or name it in %s", name, ignoreFile)
	}
	info, err := entry.Info()
	if err != nil {
		return File{}, err
	}
	file := File{Mode: info.Mode()}
	switch info.Mode().Type() {
	case 0:
		file.fsys, file.name = p.Source, name
	case fs.ModeDir:
		// Whoever lays it out writes into it.
		file.Mode |= 0o700
	case fs.ModeSymlink:
		file.Target, err = fs.ReadLink(p.Source, name)
	default:
		err = fmt.Errorf("%s is %s, and only files, folders and links can be copied; remove it, or name it in %s", name, kindOf(info.Mode()), ignoreFile)
	}
	return file, err
}

// kindOf says what a file is, for errors.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "of another kind"
	}
}
