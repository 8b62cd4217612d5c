package gitssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/crypto/ssh"
)

// NewKey makes a pair of keys: the private one as a file has it, and what signs with it.
func NewKey() (private string, signer ssh.Signer, err error) {
	_, pair, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	block, err := ssh.MarshalPrivateKey(pair, "")
	if err != nil {
		return "", nil, err
	}
	signer, err = ssh.NewSignerFromKey(pair)
	return string(pem.EncodeToMemory(block)), signer, err
}

// Server lets one key in, which may ask for what git-upload-pack gives.
type Server struct {
	Address  string
	HostKey  ssh.PublicKey
	listener net.Listener
}

// NewServer serves the repositories below root until it is closed.
func NewServer(address, root string, authorized ssh.PublicKey) (*Server, error) {
	_, host, err := NewKey()
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, given ssh.PublicKey) (*ssh.Permissions, error) {
		if string(given.Marshal()) != string(authorized.Marshal()) {
			return nil, errors.New("another key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection, config, root)
		}
	}()
	return &Server{listener.Addr().String(), host.PublicKey(), listener}, nil
}

// Close ends it.
func (s *Server) Close() error { return s.listener.Close() }

// KnownHosts is the line by which ssh knows it.
func (s *Server) KnownHosts() string {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(s.HostKey))
}

func serve(connection net.Conn, config *ssh.ServerConfig, root string) {
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
		go session(channel, asked, root)
	}
}

var uploadPack = regexp.MustCompile(`^git-upload-pack '([^']+)'$`)

// session answers the request to run a program with what git's own gives.
func session(channel ssh.Channel, requests <-chan *ssh.Request, root string) {
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
		program := exec.Command("git", "upload-pack", filepath.Join(root, match[1]))
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
