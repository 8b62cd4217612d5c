package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// The product's programs, by the names of their commands, ServiceAccounts and leases.
const (
	controllerName = "machine-os-builder"
	executorName   = "build-executor"
)

// subject is a program that is measured.
type subject struct {
	name, path string
	// loop is the one whose queue is of interest.
	loop string
	// args besides those that each of them takes.
	args []string
}

// profileSource serves profiles; it is linked into a program by an overlay,
// since the product itself has no such door.
//
//go:embed testdata/profile.go.txt
var profileSource []byte

// profileVariable tells a program where to serve them.
const profileVariable = "PROFILE_ADDRESS"

// buildProgram builds a command as "make build" does, into a directory.
func buildProgram(ctx context.Context, directory, name string, profiled bool) (string, error) {
	program := filepath.Join(directory, name)
	args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", program}
	if profiled {
		overlay, err := writeOverlay(directory, name)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/"+name)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return program, nil
}

func writeOverlay(directory, name string) (string, error) {
	source := filepath.Join(directory, "profile.go")
	if err := os.WriteFile(source, profileSource, 0o600); err != nil {
		return "", err
	}
	place, err := filepath.Abs(filepath.Join("cmd", name, "zz_profile.go"))
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {place: source}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(directory, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// profile asks a replica for a profile; one of the processor goes on until the
// next call. An empty directory asks for none.
func (r *replica) profile(kind, directory, name string) error {
	if directory == "" {
		return nil
	}
	path, err := filepath.Abs(filepath.Join(directory, name+"."+kind))
	if err != nil {
		return err
	}
	response, err := http.Get(r.profiles + "?" + url.Values{"kind": {kind}, "path": {path}}.Encode())
	if err != nil {
		return fmt.Errorf("asking the program for a profile: %w", err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the program for a profile: %s: %s: %w", response.Status, text, err)
	}
	return nil
}
