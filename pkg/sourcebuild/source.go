package sourcebuild

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile/managed"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

// generated makes the Dockerfile of a source strategy, and lays out its context.
func (p *preparation) generated(ctx context.Context, strategy *buildv1.SourceBuildStrategy, report *buildreport.Report) (string, error) {
	source, err := os.OpenRoot(p.options.WorkDir.inputs())
	if err != nil {
		return "", fmt.Errorf("opening the source: %w", err)
	}
	defer func() { _ = source.Close() }()
	options, err := p.sourceOptions(ctx, strategy, source.FS())
	if err != nil {
		return "", err
	}
	downloads, err := s2i.Downloads(options)
	if err != nil {
		return "", ofSource(err)
	}
	if options.Fetched, err = p.fetchScripts(ctx, downloads); err != nil {
		return "", fail(s2i.ReasonFetchScriptsFailed, err)
	}
	if strategy.Incremental != nil && *strategy.Incremental {
		if options.Previous, err = p.pullPrevious(ctx, report); err != nil {
			return "", err
		}
	}
	layout, err := s2i.Plan(options)
	if err != nil {
		return "", ofSource(err)
	}
	p.plan.Context = p.options.WorkDir.generated()
	if err := layOut(p.plan.Context, layout.Files); err != nil {
		return "", fail(s2i.ReasonFileSystemFailed, fmt.Errorf("laying out the build: %w", err))
	}
	return managed.Rewrite(layout.Dockerfile, managed.Changes{Hook: hook(p.options.Build.Spec.PostCommit)})
}

// ofSource takes the reason over that source-to-image has for an error.
func ofSource(err error) error {
	var known *s2i.Error
	if errors.As(err, &known) {
		return fail(known.Reason, err)
	}
	return err
}

func (p *preparation) sourceOptions(ctx context.Context, strategy *buildv1.SourceBuildStrategy, source fs.FS) (s2i.Options, error) {
	build := p.options.Build
	builder, err := p.open(ctx, strategy.From.Name)
	if err != nil {
		return s2i.Options{}, err
	}
	p.builder = builder
	settings, err := builder.image.Settings()
	if err != nil {
		return s2i.Options{}, fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	options := s2i.Options{
		Source: source, ContextDir: build.Spec.Source.ContextDir, Scripts: strategy.Scripts, Output: output(build), AllowedUIDs: p.options.AllowedUIDs,
		Builder: s2i.Builder{Name: strategy.From.Name, Labels: settings.Labels, User: settings.User, WorkingDir: settings.WorkingDir, OnBuild: settings.OnBuild},
	}
	options.Builder.HasFile = func(name string) bool { return p.hasFile(ctx, builder.image, name) }
	for _, variable := range buildEnv(build, p.info) {
		options.Env = append(options.Env, corev1.EnvVar{Name: variable.Name, Value: variable.Value})
	}
	options.Env = append(options.Env, strategy.Env...)
	for _, label := range labels(build, p.info) {
		options.Labels = append(options.Labels, buildv1.ImageLabel{Name: label.Name, Value: label.Value})
	}
	for i, secret := range build.Spec.Source.Secrets {
		injected, err := injection(fmt.Sprintf("spec.source.secrets[%d]", i), secret.Secret.Name, p.options.SecretInputs, secret.DestinationDir)
		if err != nil {
			return options, err
		}
		options.Secrets = append(options.Secrets, injected)
	}
	for i, config := range build.Spec.Source.ConfigMaps {
		injected, err := injection(fmt.Sprintf("spec.source.configMaps[%d]", i), config.ConfigMap.Name, p.options.ConfigMapInputs, config.DestinationDir)
		if err != nil {
			return options, err
		}
		options.ConfigMaps = append(options.ConfigMaps, injected)
	}
	return options, nil
}

// hasFile says whether a file is in an image. It looks into the layers from the top,
// where a builder image mostly has its scripts, and only where that does not tell, at
// what all of them make. An image that cannot be read is left to those who pull it.
func (p *preparation) hasFile(ctx context.Context, image *registry.BaseImage, name string) bool {
	member := strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, layer := range slices.Backward(image.Layers) {
		found, touched := false, false
		err := eachMember(ctx, image, layer.Digest, func(header *tar.Header) bool {
			at := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
			found = at == member && (header.Typeflag == tar.TypeReg || header.Typeflag == tar.TypeLink)
			touched = !found && (at == member || touches(at, header.Typeflag, member))
			return !found && !touched
		})
		if err != nil || found {
			return true
		}
		if touched {
			break
		}
	}
	tree, err := learn(ctx, image)
	if err != nil {
		return true
	}
	entry, err := (&copying{tree: tree}).resolve("/"+member, true)
	return err == nil && entry.Type == configlayer.TypeFile
}

// touches says whether a member of a layer takes a file of the layers below away, or
// lets its path lead elsewhere (OCI image specification, layer filesystem changeset).
func touches(at string, kind byte, member string) bool {
	dir, base := path.Split(at)
	if base == ".wh..wh..opq" {
		return strings.HasPrefix(member, dir)
	}
	if hidden, isWhiteout := strings.CutPrefix(base, ".wh."); isWhiteout {
		at = dir + hidden
		return at == member || strings.HasPrefix(member, at+"/")
	}
	return kind != tar.TypeDir && strings.HasPrefix(member, at+"/")
}

// eachMember reads the headers of a layer until more says that it is enough.
func eachMember(ctx context.Context, image *registry.BaseImage, digest string, more func(*tar.Header) bool) error {
	stream, err := image.OpenLayer(ctx, digest)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !more(header) {
			return nil
		}
	}
}

func injection(at, name string, mounted map[string]string, destination string) (s2i.Injection, error) {
	dir, found := mounted[name]
	if !found {
		return s2i.Injection{}, fail(buildv1.StatusReasonGenericBuildFailed, fmt.Errorf("%s: it is not mounted", at))
	}
	return s2i.Injection{Name: name, Destination: destination, Keys: os.DirFS(dir)}, nil
}

// maxScript bounds a script that is fetched.
const maxScript = 16 << 20

// fetchScripts asks for each script where it may be, and leaves out those that nobody
// has.
func (p *preparation) fetchScripts(ctx context.Context, downloads []s2i.Download) (map[string]s2i.Fetched, error) {
	if len(downloads) == 0 {
		return nil, nil
	}
	through, err := scriptsProxy(p.clients.Proxy, p.options.Build)
	if err != nil {
		return nil, err
	}
	transport, err := registry.NewTransport(p.clients.CAs, through)
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Minute}
	fetched := map[string]s2i.Fetched{}
	for _, download := range downloads {
		for _, at := range download.URLs {
			content, err := fetchScript(ctx, client, at)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("fetching script %s: %w", download.Script, err)
			}
			fetched[download.Script] = s2i.Fetched{URL: at, Content: content}
			break
		}
	}
	return fetched, nil
}

// fetchScript fails with fs.ErrNotExist where the server says so.
func fetchScript(ctx context.Context, client *http.Client, at string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, errors.New("its URL does not parse")
	}
	// A login or a query may be what lets one in.
	plain := (&url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host, Path: request.URL.Path}).String()
	response, err := client.Do(request)
	if err != nil {
		var told *url.Error
		if errors.As(err, &told) {
			err = told.Err
		}
		return nil, fmt.Errorf("%s: %w", plain, err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", plain, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("%s answers %s", plain, response.Status)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plain, err)
	}
	if len(content) > maxScript {
		return nil, fmt.Errorf("%s has more than %d bytes", plain, maxScript)
	}
	return content, nil
}

// layOut writes a build context, in place of what an earlier try left.
func layOut(dir string, files []s2i.File) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // steps may copy it for any user
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, file := range files {
		if err := layOutFile(root, file); err != nil {
			return fmt.Errorf("%s: %w", file.Path, err)
		}
	}
	return nil
}

func layOutFile(root *os.Root, file s2i.File) error {
	switch {
	case file.Mode.IsDir():
		return root.Mkdir(file.Path, file.Mode.Perm()|0o700)
	case file.Mode&fs.ModeSymlink != 0:
		return root.Symlink(file.Target, file.Path)
	}
	content, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	if err := writeInto(root, file.Path, content); err != nil {
		return err
	}
	return root.Chmod(file.Path, file.Mode.Perm())
}
