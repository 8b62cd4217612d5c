package gitsource

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

const password = "hunter2 /@:%"

// token is one that stands as the user, as some servers take it.
const token = "hunter2-token"

// server serves repositories over https as git's own program does.
type server struct {
	url  string
	ca   []byte
	root string

	mu     sync.Mutex
	logins []string
	hang   int // so many requests are not answered
}

func newServer(t *testing.T) *server {
	t.Helper()
	backend := &cgi.Handler{Path: runGit(t, "", "--exec-path") + "/git-http-backend", Stderr: io.Discard}
	s := &server{root: t.TempDir()}
	backend.Env = []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	listener := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, _ := r.BasicAuth()
		s.mu.Lock()
		s.logins = append(s.logins, user+"|"+given)
		hang := s.hang > 0
		s.hang--
		s.mu.Unlock()
		if hang {
			<-r.Context().Done()
			return
		}
		if strings.HasPrefix(r.URL.Path, "/private/") && given != password && user != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	s.url = listener.URL
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: listener.Certificate().Raw})
	return s
}

func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.Command("git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A. U. Thor", "GIT_AUTHOR_EMAIL=author@example.com", "GIT_COMMITTER_NAME=C. O. Mitter", "GIT_COMMITTER_EMAIL=committer@example.com",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always", "GIT_CONFIG_KEY_1=init.defaultBranch", "GIT_CONFIG_VALUE_1=main")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, output)
	}
	return strings.TrimSpace(string(output))
}

// repository makes one with a submodule, two commits on main, a tag on the first of
// them, a branch and a ref that a clone leaves out.
func (s *server) repository(t *testing.T, name string) (commits map[string]string) {
	t.Helper()
	module, work := filepath.Join(s.root, filepath.Dir(name), "module"), t.TempDir()
	runGit(t, "", "init", "--bare", module)
	runGit(t, "", "init", work)
	commits = map[string]string{}
	commit := func(as, message string) {
		if err := os.WriteFile(filepath.Join(work, "file"), []byte(as), 0o600); err != nil {
			t.Fatal(err)
		}
		runGit(t, work, "add", ".")
		runGit(t, work, "commit", "-m", message)
		commits[as] = runGit(t, work, "rev-parse", "HEAD")
	}
	commit("module", "m")
	runGit(t, work, "push", module, "main")
	work = t.TempDir()
	runGit(t, "", "init", work)
	runGit(t, work, "remote", "add", "origin", filepath.Join(s.root, name))
	runGit(t, "", "init", "--bare", filepath.Join(s.root, name))
	commit("first", "one")
	runGit(t, work, "tag", "v1")
	runGit(t, work, "submodule", "add", "--", module, "below/module")
	runGit(t, work, "config", "-f", ".gitmodules", "submodule.below/module.url", "../module")
	runGit(t, work, "add", ".gitmodules")
	commit("main", "two\n\nmore of it")
	runGit(t, work, "checkout", "-b", "branch")
	commit("branch", "three")
	runGit(t, work, "checkout", "main")
	runGit(t, work, "checkout", "--detach")
	commit("pull", "four")
	runGit(t, work, "push", "origin", "main", "branch", "v1", "HEAD:refs/pull/1/head")
	return commits
}

func writeSecret(t *testing.T, keys map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for key, value := range keys {
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestClone(t *testing.T) {
	s := newServer(t)
	commits := s.repository(t, "public/app")
	for name, test := range map[string]struct {
		ref, commit string
		want        string
	}{
		"HEAD":                   {want: "main"},
		"a branch":               {ref: "branch", want: "branch"},
		"a tag":                  {ref: "v1", want: "first"},
		"a commit":               {ref: commits["first"], want: "first"},
		"a commit of a revision": {ref: "branch", commit: commits["first"], want: "first"},
		"another ref":            {ref: "refs/pull/1/head", want: "pull"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "inputs")
			info, err := Clone(context.Background(), Options{URI: s.url + "/public/app", Ref: test.ref, Commit: test.commit, Dir: dir, CAs: [][]byte{s.ca}})
			if err != nil {
				t.Fatal(err)
			}
			if info.Commit != commits[test.want] || info.Ref != test.ref || info.URI != s.url+"/public/app" {
				t.Errorf("info = %+v, want commit %s", info, commits[test.want])
			}
			if content, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(content) != test.want {
				t.Errorf("file: %q, %v", content, err)
			}
			if content, err := os.ReadFile(filepath.Join(dir, "below/module/file")); test.want != "first" && (err != nil || string(content) != "module") {
				t.Errorf("submodule: %q, %v", content, err)
			}
			if test.want == "main" {
				want := Info{URI: info.URI, Commit: info.Commit, Author: User{"A. U. Thor", "author@example.com"}, Committer: User{"C. O. Mitter", "committer@example.com"}, Date: info.Date, Message: "two"}
				if info != want || info.Date == "" {
					t.Errorf("info = %+v, want %+v", info, want)
				}
				if count := runGit(t, dir, "rev-list", "--count", "HEAD"); count != "1" {
					t.Errorf("%s commits were fetched", count)
				}
			}
		})
	}
}

// TestLogins: whoever has one gets in, and it is nowhere to be seen afterwards.
func TestLogins(t *testing.T) {
	s := newServer(t)
	s.repository(t, "private/app")
	encoded := "hunter2%20%2F%40%3A%25"
	for name, test := range map[string]struct {
		secret map[string]string
		uri    string
		login  string
	}{
		"name and password":                        {secret: map[string]string{"username": "me\n", "password": password + "\n"}, login: "me|" + password},
		"token":                                    {secret: map[string]string{"token": password + "\n"}, login: "builder|" + password},
		"URL":                                      {uri: strings.Replace(s.url, "https://", "https://me:"+encoded+"@", 1), login: "me|" + password},
		"a token goes before a password":           {secret: map[string]string{"username": "me", "password": "other", "token": password}, login: "me|" + password},
		"a token as the URL's name":                {uri: strings.Replace(s.url, "https://", "https://"+token+"@", 1), login: token + "|"},
		"the URL's name, the Secret's password":    {secret: map[string]string{"password": password}, uri: strings.Replace(s.url, "https://", "https://alice@", 1), login: "alice|" + password},
		"the URL's name, the Secret's token":       {secret: map[string]string{"token": password}, uri: strings.Replace(s.url, "https://", "https://alice@", 1), login: "alice|" + password},
		"the URL's password, the Secret's name":    {secret: map[string]string{"username": "alice"}, uri: strings.Replace(s.url, "https://", "https://me:"+encoded+"@", 1), login: "alice|" + password},
		"the Secret's both go before the URL's":    {secret: map[string]string{"username": "alice", "password": password}, uri: strings.Replace(s.url, "https://", "https://me:other@", 1), login: "alice|" + password},
		"the URL's, where the Secret is about ssh": {secret: map[string]string{"ssh-privatekey": "x"}, uri: strings.Replace(s.url, "https://", "https://me:"+encoded+"@", 1), login: "me|" + password},
		"settings":                                 {secret: map[string]string{".gitconfig": "[url \"" + s.url + "/private/\"]\n\tinsteadOf = " + s.url + "/other/\n", "password": password}, uri: s.url + "/other/../private", login: "builder|" + password},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			s.logins = nil
			uri := test.uri
			if uri == "" {
				uri = s.url
			}
			if !strings.HasSuffix(uri, "private") {
				uri += "/private"
			}
			options := Options{URI: uri + "/app", Dir: filepath.Join(t.TempDir(), "inputs"), CAs: [][]byte{s.ca}}
			if test.secret != nil {
				options.SecretDir = writeSecret(t, test.secret)
			}
			var lines []string
			options.Line = func(line string) { lines = append(lines, line) }
			info, err := Clone(context.Background(), options)
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
			}
			if !slices.Contains(s.logins, test.login) {
				t.Errorf("logins = %q", s.logins)
			}
			if text := strings.Join(lines, "\n") + info.URI; strings.Contains(text, "hunter2") {
				t.Errorf("told: %s", text)
			}
			checkNoSecret(t, options.Dir)
			checkNoSecret(t, os.TempDir())
		})
	}
}

func checkNoSecret(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "hunter2") {
			t.Errorf("%s is left behind", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCloneFailures(t *testing.T) {
	s := newServer(t)
	s.repository(t, "private/app")
	s.repository(t, "public/app")
	for name, test := range map[string]struct {
		options Options
		secret  map[string]string
		want    string
	}{
		"no login":         {options: Options{URI: s.url + "/private/app"}, want: "wants a login, which spec.source.sourceSecret can name"},
		"wrong login":      {options: Options{URI: s.url + "/private/app"}, secret: map[string]string{"password": "hunter3"}, want: `with provided credentials: git ls-remote: exit status 128`},
		"no repository":    {options: Options{URI: s.url + "/public/none"}, want: `requested repository "` + s.url + `/public/none" not found`},
		"no ref":           {options: Options{URI: s.url + "/public/app", Ref: "none"}, want: `checking out "none": the repository has no such branch, tag or commit`},
		"an option":        {options: Options{URI: s.url + "/public/app", Ref: "--orphan=x"}, want: "begins with -"},
		"another protocol": {options: Options{URI: "ext::sh -c id"}, want: "cannot be reached from a pod; use https:"},
		"a file":           {options: Options{URI: "file://" + s.root + "/public/app"}, want: "cannot be reached from a pod"},
		"password for ssh": {options: Options{URI: "ssh://me:hunter2@example.com/x"}, want: "has a password, which ssh does not use"},
		"another Secret":   {options: Options{URI: s.url + "/public/app"}, secret: map[string]string{"known_hosts": "x", "key": "y", "..data": "z"}, want: "no auth handler was found for secrets in "},
		"unknown authority": {
			options: Options{URI: s.url + "/public/app", CAs: [][]byte{nil}}, want: "certificate",
		},
		"a proxy that is not there": {options: Options{URI: s.url + "/public/app", Proxy: proxy.Config{HTTPS: "http://u:hunter2@127.0.0.1:1"}}, want: "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Dir = filepath.Join(t.TempDir(), "inputs")
			if test.options.CAs == nil {
				test.options.CAs = [][]byte{s.ca}
			}
			if test.secret != nil {
				test.options.SecretDir = writeSecret(t, test.secret)
			}
			var lines []string
			test.options.Line = func(line string) { lines = append(lines, line) }
			_, err := Clone(context.Background(), test.options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error = %v, want %q", err, test.want)
			}
			if text := err.Error() + strings.Join(lines, "\n"); strings.Contains(text, "hunter") {
				t.Errorf("told: %s", text)
			}
		})
	}
}

// TestNoVerification: the variable of the strategy reaches git.
func TestNoVerification(t *testing.T) {
	s := newServer(t)
	s.repository(t, "public/app")
	options := Options{URI: s.url + "/public/app", Dir: filepath.Join(t.TempDir(), "inputs"), Env: map[string]string{"GIT_SSL_NO_VERIFY": "true", "GIT_SSH": "/bin/false"}}
	if _, err := Clone(context.Background(), options); err != nil {
		t.Error(err)
	}
}

func TestServerThatHangsIsAskedAgain(t *testing.T) {
	s := newServer(t)
	s.repository(t, "public/app")
	options := Options{URI: s.url + "/public/app", Dir: filepath.Join(t.TempDir(), "inputs"), CAs: [][]byte{s.ca}, Retry: Retry{Tries: 2, Timeout: 3 * time.Second}}
	s.hang = 1
	if _, err := Clone(context.Background(), options); err != nil {
		t.Fatal(err)
	}
	options.Dir, options.Retry = filepath.Join(t.TempDir(), "inputs"), Retry{Tries: 1, Timeout: 100 * time.Millisecond}
	s.hang = 1
	if _, err := Clone(context.Background(), options); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Clone(ctx, options); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
