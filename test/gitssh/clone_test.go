package gitssh

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
)

// key makes a pair.
func key(t *testing.T) (string, ssh.Signer) {
	t.Helper()
	private, signer, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

func repository(t *testing.T) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init"}, {"add", "."}, {"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-m", "one"}, {"rev-parse", "HEAD"}} {
		command := exec.Command("git", args...)
		command.Dir = dir
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, output)
		}
		commit = strings.TrimSpace(string(output))
	}
	return dir, commit
}

// TestClone: with known_hosts a server must be one of them; without, whoever answers
// first is believed.
func TestClone(t *testing.T) {
	private, signer := key(t)
	otherPrivate, other := key(t)
	s, err := NewServer("127.0.0.1:0", "/", signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	dir, commit := repository(t)
	for name, test := range map[string]struct {
		secret map[string]string
		want   string // part of the error; empty for good
	}{
		"a known host":         {map[string]string{"ssh-privatekey": private, "known_hosts": s.KnownHosts()}, ""},
		"no end of a line":     {map[string]string{"ssh-privatekey": strings.TrimSpace(private)}, ""},
		"no known hosts":       {map[string]string{"ssh-privatekey": private}, ""},
		"a host of other keys": {map[string]string{"ssh-privatekey": private, "known_hosts": (&Server{s.Address, other.PublicKey(), nil}).KnownHosts()}, "with provided credentials"},
		"an unknown host":      {map[string]string{"ssh-privatekey": private, "known_hosts": "example.com " + string(ssh.MarshalAuthorizedKey(s.HostKey))}, "with provided credentials"},
		"another key":          {map[string]string{"ssh-privatekey": otherPrivate}, "with provided credentials"},
		"no key":               {nil, "wants a login, which spec.source.sourceSecret can name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			options := gitsource.Options{URI: "ssh://git@" + s.Address + dir, Dir: filepath.Join(t.TempDir(), "inputs")}
			if test.secret != nil {
				options.SecretDir = t.TempDir()
			}
			for key, value := range test.secret {
				if err := os.WriteFile(filepath.Join(options.SecretDir, key), []byte(value), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var lines []string
			options.Line = func(line string) { lines = append(lines, line) }
			info, err := gitsource.Clone(context.Background(), options)
			left, readErr := os.ReadDir(os.TempDir())
			if readErr != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, readErr)
			}
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error = %v, want %q", err, test.want)
				}
				return
			}
			if err != nil || info.Commit != commit {
				t.Errorf("info = %+v, %v\n%s", info, err, strings.Join(lines, "\n"))
			}
		})
	}
}
