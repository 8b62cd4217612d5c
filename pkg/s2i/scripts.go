package s2i

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
)

// The scripts of a build.
const (
	scriptAssemble      = "assemble"
	scriptRun           = "run"
	scriptSaveArtifacts = "save-artifacts"
)

var scriptNames = []string{scriptAssemble, scriptRun, scriptSaveArtifacts}

// scriptDirs are where a source has scripts of its own; the second is deprecated.
var scriptDirs = []string{".s2i/bin", ".sti/bin"}

// Download is a script that has to be fetched before Plan.
type Download struct {
	// Script is its name, for Options.Fetched.
	Script string
	// URLs are where it may be. A later one is asked only where a server says that an
	// earlier one does not exist; where none does, the script is left out of Fetched.
	// Any other answer fails the build.
	URLs []string
}

// location is where scripts are: in a folder of the image, at a URL, or nowhere.
type location struct {
	dir string
	url *url.URL
}

// locate reads a scripts URL: image:///path, http:// or https://.
func locate(text string) (location, error) {
	if text == "" {
		return location{}, nil
	}
	if dir, isImage := strings.CutPrefix(text, "image://"); isImage {
		if err := checkDir(dir); err != nil {
			return location{}, err
		}
		return location{dir: path.Clean(dir)}, nil
	}
	at, err := url.Parse(text)
	if err != nil {
		// What does not parse cannot be rid of a password, so it is not shown.
		return location{}, errors.New("it is no URL; use http://…, https://… or image:///<folder of the image>")
	}
	if at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return location{}, errors.New("use http://…, https://… or image:///<folder of the image>")
	}
	return location{url: at}, nil
}

// of returns the URL of a script.
func (l location) of(script string) string { return l.url.JoinPath(script).String() }

// findLocations reads both places that may be named.
func (p *planner) findLocations() error {
	var err error
	if p.strategy, err = locate(p.Scripts); err != nil {
		return failf(ReasonFetchScriptsFailed, "spec.strategy.sourceStrategy.scripts %q: %w", shown(p.Scripts), err)
	}
	for _, name := range []string{labelScriptsURL, labelScriptsURLDeprecated} {
		text := p.Builder.Labels[name]
		if text == "" {
			continue
		}
		if p.label, err = locate(text); err != nil {
			return failf(ReasonFetchScriptsFailed, "builder image %q: label %s %q: %w", p.Builder.Name, name, shown(text), err)
		}
		return nil
	}
	return nil
}

// shown is a URL without what lets one in.
func shown(text string) string {
	at, err := url.Parse(text)
	if err != nil {
		return "…"
	}
	plain := withoutQuery(*at)
	return plain.Redacted()
}

// withoutQuery is a URL without its query, which may have a token, and fragment.
func withoutQuery(at url.URL) url.URL {
	at.RawQuery, at.ForceQuery, at.Fragment, at.RawFragment = "", false, "", ""
	return at
}

// Downloads says which scripts have to be fetched before Plan is called with the
// same options. It fails with an *Error.
func Downloads(o Options) ([]Download, error) {
	p, err := newPlanner(o)
	if err != nil {
		return nil, err
	}
	if p.strategy.dir != "" {
		return nil, nil
	}
	var downloads []Download
	for _, name := range scriptNames {
		d := Download{Script: name}
		if p.strategy.url != nil {
			d.URLs = append(d.URLs, p.strategy.of(name))
		}
		if p.label.url != nil {
			_, file, err := p.sourceScript(name)
			if err != nil {
				return nil, err
			}
			if file == "" {
				d.URLs = append(d.URLs, p.label.of(name))
			}
		}
		if len(d.URLs) > 0 {
			downloads = append(downloads, d)
		}
	}
	return downloads, nil
}

// sourceScript looks for a script of the source: its path in the context dir, and
// where that leads in the source; both empty for none.
func (p *planner) sourceScript(name string) (relative, resolved string, err error) {
	for _, dir := range scriptDirs {
		relative := path.Join(dir, name)
		if p.ignores(relative) {
			continue
		}
		resolved, _, err := p.find(relative)
		if err != nil {
			return "", "", failf(ReasonFetchScriptsFailed, "%w", err)
		}
		if resolved != "" {
			return relative, resolved, nil
		}
	}
	return "", "", nil
}

// scripts are those that take the place of the builder image's.
type scripts struct {
	files []File
	// moved are the paths in the context dir of those that are the source's own.
	moved map[string]bool
	// imageDir is where the others are in the image.
	imageDir string
}

func (s scripts) has(name string) bool {
	return slices.ContainsFunc(s.files, func(f File) bool { return path.Base(f.Path) == name })
}

// findScripts decides for each script: that of strategy.scripts, the source's, that
// of the label's URL, the builder image's. An image URL in strategy.scripts decides
// for all.
func (p *planner) findScripts() (scripts, error) {
	found := scripts{imageDir: defaultScriptsDir, moved: map[string]bool{}}
	if p.label.dir != "" {
		found.imageDir = p.label.dir
	}
	if p.strategy.dir != "" {
		found.imageDir = p.strategy.dir
		return found, p.checkAssemble(found)
	}
	fromStrategy := false
	for _, name := range scriptNames {
		file := File{Path: path.Join(scriptsDir, name), Mode: 0o755}
		fetched, isFetched := p.Fetched[name]
		first := isFetched && p.strategy.url != nil && fetched.URL == p.strategy.of(name)
		relative, resolved, err := p.sourceScript(name)
		switch {
		case err != nil:
			return scripts{}, err
		case first:
			fromStrategy = true
			file.content = fetched.Content
		case resolved != "":
			file.fsys, file.name = p.Source, resolved
			found.moved[relative] = true
		case isFetched:
			file.content = fetched.Content
		default:
			continue
		}
		found.files = append(found.files, file)
	}
	if p.strategy.url != nil && !fromStrategy {
		return scripts{}, failf(ReasonFetchScriptsFailed, "spec.strategy.sourceStrategy.scripts %q: none of %s is there; name the folder that has them",
			shown(p.Scripts), strings.Join(scriptNames, ", "))
	}
	return found, p.checkAssemble(found)
}

// checkAssemble tells of a missing assemble before anything runs.
func (p *planner) checkAssemble(s scripts) error {
	name := path.Join(s.imageDir, scriptAssemble)
	if s.has(scriptAssemble) || p.Builder.HasFile == nil || p.Builder.HasFile(name) {
		return nil
	}
	return failf(ReasonFetchScriptsFailed, "builder image %q has no %s; set spec.strategy.sourceStrategy.scripts, add %s/%s to the source, or use an image whose label %s names the folder that has it",
		p.Builder.Name, name, scriptDirs[0], scriptAssemble, labelScriptsURL)
}
