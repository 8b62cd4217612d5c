package gitsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitaddress"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// Options say what to clone, and how.
type Options struct {
	// URI is the repository's: http, https, ssh or git, or host:path for ssh
	// (spec.source.git.uri).
	URI string
	// Ref is a branch, a tag or anything that git can check out; empty for what the
	// repository's HEAD says. Commit goes before it (spec.revision.git.commit).
	Ref, Commit string
	// Dir is made, and must not have anything in it.
	Dir string
	// SecretDir is the mounted source Secret; empty for none.
	SecretDir string
	// CAs are bundles in PEM to trust besides the system's.
	CAs   [][]byte
	Proxy proxy.Config
	// Env are the variables of the Build that git knows (EnvNames).
	Env map[string]string
	// Line takes the programs' output, by the line and without secrets.
	Line func(string)
	// Retry is how often a repository that does not answer is asked, and for how long
	// the first time; zero for 4 times and 16 s. Each next time takes twice as long.
	Retry Retry
}

// Retry is how a repository is asked for what it has.
type Retry struct {
	Tries   int
	Timeout time.Duration
}

// EnvNames are the variables of a Build's strategy that are git's to know.
var EnvNames = []string{"GIT_SSL_NO_VERIFY", "GIT_LFS_SKIP_SMUDGE"}

// User is somebody who made a commit.
type User struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Info is what was cloned.
type Info struct {
	URI       string `json:"uri"` // without a login
	Ref       string `json:"ref,omitempty"`
	Commit    string `json:"commit"`
	Author    User   `json:"author"`
	Committer User   `json:"committer"`
	Date      string `json:"date"`    // of the author, as git log prints it
	Message   string `json:"message"` // its first line
}

// Clone clones a repository with its submodules. Errors show neither a login nor what
// a program printed but its last line.
func Clone(ctx context.Context, options Options) (Info, error) {
	address, err := gitaddress.Read(options.URI)
	if err != nil {
		return Info{}, fmt.Errorf("spec.source.git.uri %w", err)
	}
	for _, name := range []string{options.Ref, options.Commit} {
		if strings.HasPrefix(name, "-") {
			return Info{}, fmt.Errorf("%q is no branch, tag or commit of a git repository: it begins with -", name)
		}
	}
	private, err := os.MkdirTemp("", "git-source-")
	if err != nil {
		return Info{}, fmt.Errorf("preparing git: %w", err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	g, err := newGit(private, address, options)
	if err != nil {
		return Info{}, err
	}
	if err := g.ask(ctx); err != nil {
		return Info{}, err
	}
	if err := g.clone(ctx); err != nil {
		return Info{}, err
	}
	return g.info(ctx)
}

// ask looks whether the repository answers, so that a wrong address or login is told
// at once, and one that hangs is given up.
func (g *git) ask(ctx context.Context) error {
	tries, timeout := g.options.Retry.Tries, g.options.Retry.Timeout
	if tries == 0 {
		tries, timeout = 4, 16*time.Second
	}
	for try := 1; ; try++ {
		limited, cancel := context.WithTimeout(ctx, timeout)
		_, err := g.run(limited, "", "ls-remote", "--heads", "--", g.address.Plain)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fetching the source: %w", context.Cause(ctx))
		case try < tries && errors.Is(err, context.DeadlineExceeded):
			g.options.Line(fmt.Sprintf("%s has not answered within %s, asking again", g.address.Plain, timeout))
			timeout *= 2
		case g.loggedIn:
			return fmt.Errorf("failed to fetch requested repository %q with provided credentials: %w", g.address.Plain, err)
		default:
			return fmt.Errorf("requested repository %q not found, or it wants a login, which spec.source.sourceSecret can name: %w", g.address.Plain, err)
		}
	}
}

func (g *git) clone(ctx context.Context) error {
	want := g.options.Commit
	if want == "" {
		want = g.options.Ref
	}
	if want == "" {
		_, err := g.run(ctx, "", "clone", "--recursive", "--depth=1", "--", g.address.Plain, g.options.Dir)
		return wrap("cloning", err)
	}
	if _, err := g.run(ctx, "", "clone", "--", g.address.Plain, g.options.Dir); err != nil {
		return wrap("cloning", err)
	}
	if _, err := g.run(ctx, g.options.Dir, "checkout", want, "--"); err != nil {
		// Such as a ref of a pull request, which a clone leaves out.
		if _, fetchErr := g.run(ctx, g.options.Dir, "fetch", "origin", want); fetchErr != nil {
			return fmt.Errorf("checking out %q: the repository has no such branch, tag or commit: %w", want, err)
		}
		if _, err := g.run(ctx, g.options.Dir, "checkout", "FETCH_HEAD", "--"); err != nil {
			return wrap("checking out "+want, err)
		}
	}
	_, err := g.run(ctx, g.options.Dir, "submodule", "update", "--init", "--recursive")
	return wrap("fetching submodules", err)
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// info reads what was checked out.
func (g *git) info(ctx context.Context) (Info, error) {
	output, err := g.run(ctx, g.options.Dir, "log", "-1", "--no-show-signature", "--format=%H%x00%an%x00%ae%x00%cn%x00%ce%x00%ad%x00%s")
	if err != nil {
		return Info{}, wrap("reading the commit", err)
	}
	fields := strings.Split(strings.TrimSuffix(output, "\n"), "\x00")
	if len(fields) != 7 {
		return Info{}, fmt.Errorf("reading the commit: git log gives %d fields, want 7", len(fields))
	}
	return Info{
		URI: g.address.Plain, Ref: g.options.Ref, Commit: fields[0],
		Author: User{Name: fields[1], Email: fields[2]}, Committer: User{Name: fields[3], Email: fields[4]},
		Date: fields[5], Message: fields[6],
	}, nil
}

// inside names a file of git's own directory.
func (g *git) inside(name string) string { return filepath.Join(g.private, name) }
