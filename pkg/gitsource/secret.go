package gitsource

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitaddress"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// Keys of a source Secret (build.openshift.io/v1 BuildSource.sourceSecret, and types
// kubernetes.io/ssh-auth and kubernetes.io/basic-auth).
const (
	keySSH        = "ssh-privatekey"
	keyKnownHosts = "known_hosts"
	keyUsername   = "username"
	keyPassword   = "password"
	keyToken      = "token"
	keyCA         = "ca.crt"
	keyConfig     = ".gitconfig"
)

var keys = []string{keySSH, keyKnownHosts, keyUsername, keyPassword, keyToken, keyCA, keyConfig}

// Files in git's own directory.
const (
	fileConfig      = "config"
	fileUserConfig  = "user-config"
	fileCredentials = "credentials"
	fileCAs         = "ca.crt"
	fileSSHConfig   = "ssh-config"
	fileSSHKey      = "ssh-key"
	fileKnownHosts  = "known-hosts"
)

// systemCAs is where Debian's ca-certificates has all in one file.
const systemCAs = "/etc/ssl/certs/ca-certificates.crt"

// defaultUser is who a token is for where nobody says: servers take any name with it.
const defaultUser = "builder"

// maxKey bounds one key of a Secret; a Secret has less.
const maxKey = 4 << 20

// newGit writes what git and ssh need to know into private.
func newGit(private string, address gitaddress.Address, options Options) (*git, error) {
	if options.Line == nil {
		options.Line = func(string) {}
	}
	secret, err := readSecret(options.SecretDir)
	if err != nil {
		return nil, err
	}
	g := &git{options: options, address: address, private: private}
	config := &strings.Builder{}
	if len(secret[keyConfig]) > 0 {
		// First, so that what follows counts.
		if err := g.write(fileUserConfig, secret[keyConfig]); err != nil {
			return nil, err
		}
		fmt.Fprintf(config, "[include]\n\tpath = %s\n", g.inside(fileUserConfig))
	}
	secrets, err := g.writeLogin(config, secret)
	if err != nil {
		return nil, err
	}
	if err := g.writeCAs(config, secret[keyCA]); err != nil {
		return nil, err
	}
	if err := g.writeSSH(secret); err != nil {
		return nil, err
	}
	g.hide = redact.New(append(secrets, options.Proxy.Secrets()...)...)
	return g, g.write(fileConfig, []byte(config.String()))
}

func (g *git) write(name string, content []byte) error {
	if err := os.WriteFile(g.inside(name), content, 0o600); err != nil {
		return fmt.Errorf("preparing git: %w", err)
	}
	return nil
}

// readSecret reads the keys that are known. A Secret without any of them is not one
// for git.
func readSecret(dir string) (map[string][]byte, error) {
	if dir == "" {
		return nil, nil
	}
	secret := map[string][]byte{}
	for _, key := range keys {
		file := filepath.Join(dir, key)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading spec.source.sourceSecret: %w", err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxKey {
			return nil, fmt.Errorf("reading spec.source.sourceSecret: %s is no file of at most %d bytes", key, maxKey)
		}
		if secret[key], err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading spec.source.sourceSecret: %w", err)
		}
	}
	// known_hosts lets nobody in.
	if len(secret) > 1 || len(secret) == 1 && secret[keyKnownHosts] == nil {
		return secret, nil
	}
	var have []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading spec.source.sourceSecret: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			have = append(have, entry.Name())
		}
	}
	return nil, fmt.Errorf("no auth handler was found for secrets in %s: the Secret of spec.source.sourceSecret has the keys [%s]; use %s",
		dir, strings.Join(have, ", "), strings.Join(slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == keyKnownHosts }), ", "))
}

// writeLogin leaves the login where git looks for one of this host, and for no other.
// Name and password are each the Secret's, else the URI's. It returns what nobody may see.
func (g *git) writeLogin(config *strings.Builder, secret map[string][]byte) ([]string, error) {
	own, _ := g.address.Login.Password()
	user := cmp.Or(strings.TrimSpace(string(secret[keyUsername])), g.address.Login.Username())
	password := cmp.Or(strings.TrimSpace(string(secret[keyToken])), strings.TrimRight(string(secret[keyPassword]), "\r\n"), own)
	g.loggedIn = password != "" || user != "" || len(secret[keySSH]) > 0
	if user == "" && password == "" || g.address.Server == nil {
		return nil, nil
	}
	if user == "" {
		user = defaultUser
	}
	login := *g.address.Server
	login.User = url.UserPassword(user, password)
	if err := g.write(fileCredentials, []byte(login.String()+"\n")); err != nil {
		return nil, err
	}
	fmt.Fprintf(config, "[credential]\n\thelper = store --file=%s\n", g.inside(fileCredentials))
	hidden := cmp.Or(password, user) // a token may stand as the user, alone
	return []string{hidden, url.QueryEscape(hidden), url.PathEscape(hidden)}, nil
}

// writeCAs adds authorities to those of the system.
func (g *git) writeCAs(config *strings.Builder, own []byte) error {
	bundles := slices.Clone(g.options.CAs)
	if len(own) > 0 {
		bundles = append(bundles, own)
	}
	if len(bundles) == 0 {
		return nil
	}
	system, err := os.ReadFile(systemCAs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("preparing git: %w", err)
	}
	fmt.Fprintf(config, "[http]\n\tsslCAInfo = %s\n", g.inside(fileCAs))
	return g.write(fileCAs, bytes.Join(append([][]byte{system}, bundles...), []byte("\n")))
}

// writeSSH tells ssh which key to use, and whom to believe. Without known_hosts it
// believes a host that it sees for the first time, as every Build does that was made
// for OpenShift; with them, nobody else.
func (g *git) writeSSH(secret map[string][]byte) error {
	strict := "accept-new"
	if len(secret[keyKnownHosts]) > 0 {
		strict = "yes"
	}
	if err := g.write(fileKnownHosts, secret[keyKnownHosts]); err != nil {
		return err
	}
	text := fmt.Sprintf("Host *\n\tBatchMode yes\n\tConnectTimeout 30\n\tGlobalKnownHostsFile /dev/null\n\tUserKnownHostsFile %s\n\tStrictHostKeyChecking %s\n\tIdentitiesOnly yes\n",
		g.inside(fileKnownHosts), strict)
	if key := secret[keySSH]; len(key) > 0 {
		// ssh does not read a key whose last line has no end.
		if err := g.write(fileSSHKey, append(bytes.TrimRight(key, "\r\n"), '\n')); err != nil {
			return err
		}
		text += fmt.Sprintf("\tIdentityFile %s\n", g.inside(fileSSHKey))
	}
	return g.write(fileSSHConfig, []byte(text))
}
