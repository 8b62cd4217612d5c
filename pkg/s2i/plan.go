package s2i

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Folders of the build context.
const (
	scriptsDir    = "upload/scripts"
	sourceDir     = "upload/src"
	injectionsDir = "upload/injections"
)

// Layout is a build context and its Dockerfile, which is not part of it.
type Layout struct {
	Dockerfile string
	// Files are all files and folders below upload, a folder before what is in it.
	Files []File
}

// File is a file, folder or symbolic link of a build context.
type File struct {
	// Path is relative to the context, with slashes.
	Path string
	// Mode has type and permissions.
	Mode fs.FileMode
	// Target is where a symbolic link leads, as it stands in the source: it may be
	// anywhere, and is for the image. Create the link, never follow it.
	Target string

	// What a file has is either content or the file name in fsys.
	content []byte
	fsys    fs.FS
	name    string
}

// Open returns the content of a regular file.
func (f File) Open() (io.ReadCloser, error) {
	if f.fsys == nil {
		return io.NopCloser(bytes.NewReader(f.content)), nil
	}
	return f.fsys.Open(f.name)
}

func folder(name string) File { return File{Path: name, Mode: fs.ModeDir | 0o755} }

// Plan returns the Dockerfile and the files of a build. It fails with an *Error.
func Plan(o Options) (Layout, error) {
	p, err := newPlanner(o)
	if err != nil {
		return Layout{}, err
	}
	own, err := p.findScripts()
	if err != nil {
		return Layout{}, err
	}
	source, err := p.sourceFiles(own.moved)
	if err != nil {
		return Layout{}, err
	}
	injected, injectionFiles, err := p.inject()
	if err != nil {
		return Layout{}, err
	}
	text, err := p.dockerfile(own, injected)
	if err != nil {
		return Layout{}, err
	}
	layout := Layout{Dockerfile: text, Files: []File{folder("upload")}}
	layout.Files = append(layout.Files, source...)
	if len(own.files) > 0 {
		layout.Files = append(append(layout.Files, folder(scriptsDir)), own.files...)
	}
	if len(injectionFiles) > 0 {
		layout.Files = append(append(layout.Files, folder(injectionsDir)), injectionFiles...)
	}
	return layout, nil
}

// injection is an Injection's place in the context and in the image.
type injection struct {
	dir         string // in the context
	destination string
	// remove are the files that must be gone when assemble has run.
	remove []string
}

// inject lays the keys of Secrets and ConfigMaps out, Secrets first.
func (p *planner) inject() ([]injection, []File, error) {
	var injected []injection
	var files []File
	for _, kind := range []struct {
		field, dir string
		list       []Injection
		remove     bool
	}{
		{"spec.source.secrets", injectionsDir + "/secrets", p.Secrets, true},
		{"spec.source.configMaps", injectionsDir + "/config-maps", p.ConfigMaps, false},
	} {
		laid := map[string]bool{}
		if len(kind.list) > 0 {
			files = append(files, folder(kind.dir))
		}
		for i, input := range kind.list {
			fail := func(err error) error {
				return failf(ReasonGenericFailed, "%s[%d]: %q: %w", kind.field, i, input.Name, err)
			}
			if problems := validation.IsDNS1123Subdomain(input.Name); len(problems) > 0 {
				return nil, nil, fail(fmt.Errorf("no name of an object: %s", strings.Join(problems, "; ")))
			}
			in := injection{dir: path.Join(kind.dir, input.Name)}
			var err error
			if in.destination, err = p.destinationOf(input); err != nil {
				return nil, nil, fail(err)
			}
			keys, err := keyFiles(input.Keys, in.dir)
			if err != nil {
				return nil, nil, fail(err)
			}
			if !laid[in.dir] {
				files = append(append(files, folder(in.dir)), keys...)
				laid[in.dir] = true
			}
			for _, key := range keys {
				if kind.remove {
					in.remove = append(in.remove, path.Join(in.destination, path.Base(key.Path)))
				}
			}
			injected = append(injected, in)
		}
	}
	return injected, files, nil
}

// destinationOf returns an injection's folder in the image.
func (p *planner) destinationOf(input Injection) (string, error) {
	destination := input.Destination
	if !path.IsAbs(destination) {
		destination = path.Join(p.workingDir, destination)
	}
	if err := checkDir(destination); err != nil {
		return "", fmt.Errorf("destinationDir: %w", err)
	}
	return path.Clean(destination), nil
}

// keyFiles lists the keys of a mounted Secret or ConfigMap.
func keyFiles(keys fs.FS, dir string) ([]File, error) {
	entries, err := fs.ReadDir(keys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading its keys: %w", err)
	}
	var files []File
	for _, entry := range entries {
		name := entry.Name()
		// The kubelet keeps the keys of the moment in folders beside the links to them.
		if strings.HasPrefix(name, "..") {
			continue
		}
		if !isPrintable(name) {
			return nil, fmt.Errorf("key %q has a character that cannot be printed; rename it", name)
		}
		info, err := fs.Stat(keys, name)
		if err != nil {
			return nil, fmt.Errorf("reading key %q: %w", name, err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("key %q is no file, but %s; only keys at the top of the volume are copied", name, kindOf(info.Mode()))
		}
		files = append(files, File{Path: path.Join(dir, name), Mode: info.Mode(), fsys: keys, name: name})
	}
	return files, nil
}
