package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

// replica is a program of the product as a process of its own.
type replica struct {
	subject subject
	cmd     *exec.Cmd
	log     string
	metrics string
	// profiles is where it serves them, when it was built to.
	profiles string
	ended    chan struct{}
}

// startReplica starts the program and waits until it is ready: as a leader or
// as one that waits for the lease.
func (w *world) startReplica(ctx context.Context, name string) (*replica, error) {
	addresses, err := controlplane.FreeAddresses(3)
	if err != nil {
		return nil, err
	}
	r := &replica{
		subject: w.subject,
		log:     filepath.Join(w.directory, name+".log"), metrics: "http://" + addresses[1] + "/metrics",
		profiles: "http://" + addresses[2], ended: make(chan struct{}),
	}
	output, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	r.cmd = exec.Command(w.subject.path, append([]string{
		"--kubeconfig", w.kubeconfig, "--builder-image", "registry.example.com/os-image-builder:1",
		"--health-address", addresses[0], "--metrics-address", addresses[1],
	}, w.subject.args...)...)
	r.cmd.Env = append(os.Environ(), profileVariable+"="+addresses[2])
	r.cmd.Stdout, r.cmd.Stderr = output, output
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", w.subject.name, err)
	}
	go func() {
		defer close(r.ended)
		_ = r.cmd.Wait() // how it ended is seen by who waits for its work
	}()
	w.replicas = append(w.replicas, r)
	return r, poll(ctx, w.subject.name+" is ready", func() error {
		response, err := http.Get("http://" + addresses[0] + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

func (r *replica) scrape(ctx context.Context) (scrape, error) {
	return readMetrics(ctx, r.metrics, r.subject.loop)
}

// kill ends the process as a crash would.
func (r *replica) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.ended
}

func (r *replica) cpu() (time.Duration, error) {
	return proc.ReadCPU(proc.Directory(r.cmd.Process.Pid))
}

func (r *replica) memory() (proc.Memory, error) {
	return proc.ReadMemory(proc.Directory(r.cmd.Process.Pid))
}

// said is the end of the replica's log.
func (r *replica) said() string {
	const most = 2000
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}
