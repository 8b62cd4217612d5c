package gitssh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
)

// key makes a pair: for the Secret, and for the server.
func key(t *testing.T) (private string, signer ssh.Signer) {
	t.Helper()
	_, pair, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(pair, "")
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(pair); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

// server lets one key in, which may ask for what git-upload-pack gives.
type server struct {
	address string
	host    ssh.PublicKey
}

var uploadPack = regexp.MustCompile(`^git-upload-pack '([^']+)'$`)

func newServer(t *testing.T, authorized ssh.PublicKey) *server {
	t.Helper()
	_, host := key(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, given ssh.PublicKey) (*ssh.Permissions, error) {
		if string(given.Marshal()) != string(authorized.Marshal()) {
			return nil, errors.New("another key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection, config)
		}
	}()
	return &server{address: listener.Addr().String(), host: host.PublicKey()}
}

func serve(connection net.Conn, config *ssh.ServerConfig) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		go session(channel, asked)
	}
}

// session answers the request to run a program with what git's own gives.
func session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for request := range requests {
		var command struct{ Text string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &command) != nil {
			_ = request.Reply(request.Type == "env", nil)
			continue
		}
		match := uploadPack.FindStringSubmatch(command.Text)
		_ = request.Reply(match != nil, nil)
		if match == nil {
			return
		}
		program := exec.Command("git", "upload-pack", match[1])
		program.Stdout, program.Stderr = channel, channel.Stderr()
		input, err := program.StdinPipe()
		if err == nil {
			err = program.Start()
		}
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(input, channel); _ = input.Close() }()
		status := struct{ Code uint32 }{}
		if program.Wait() != nil {
			status.Code = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
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
	s := newServer(t, signer.PublicKey())
	dir, commit := repository(t)
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	known := func(key ssh.PublicKey) string {
		return fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key))
	}
	for name, test := range map[string]struct {
		secret map[string]string
		want   string // part of the error; empty for good
	}{
		"a known host":         {map[string]string{"ssh-privatekey": private, "known_hosts": known(s.host)}, ""},
		"no end of a line":     {map[string]string{"ssh-privatekey": strings.TrimSpace(private)}, ""},
		"no known hosts":       {map[string]string{"ssh-privatekey": private}, ""},
		"a host of other keys": {map[string]string{"ssh-privatekey": private, "known_hosts": known(other.PublicKey())}, "with provided credentials"},
		"an unknown host":      {map[string]string{"ssh-privatekey": private, "known_hosts": "example.com " + string(ssh.MarshalAuthorizedKey(s.host))}, "with provided credentials"},
		"another key":          {map[string]string{"ssh-privatekey": otherPrivate}, "with provided credentials"},
		"no key":               {nil, "wants a login, which spec.source.sourceSecret can name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			options := gitsource.Options{URI: "ssh://git@" + s.address + dir, Dir: filepath.Join(t.TempDir(), "inputs")}
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
