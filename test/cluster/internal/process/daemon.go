package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Daemon is a program to be kept running in the background.
type Daemon struct {
	Name string
	Path string
	Args []string
	Env  []string // added to the environment
}

// Record is what a pid file holds.
type Record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

// Set is the daemons of one cluster: pid files in Dir, logs in LogDir.
type Set struct {
	Dir    string
	LogDir string
}

// Start runs a daemon in a session of its own, its output going to <LogDir>/<name>.log, and records it. It does not wait for
// the daemon to be ready.
func (s Set) Start(d Daemon) error {
	for _, dir := range []string{s.Dir, s.LogDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(s.Log(d.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.Path, d.Args...)
	cmd.Env = append(os.Environ(), d.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", d.Name, err)
	}
	// Reaped here while this program lives, so that a daemon that ends at once does not look alive as a zombie.
	go func() { _ = cmd.Wait() }()
	p, err := Read(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("starting %s: it ended at once, see %s", d.Name, s.Log(d.Name))
	}
	b, err := json.Marshal(Record{PID: p.PID, Start: p.Start, Boot: BootID()})
	if err != nil {
		return err
	}
	return os.WriteFile(s.pidFile(d.Name), b, 0o644)
}

// Log is the path of a daemon's log.
func (s Set) Log(name string) string { return filepath.Join(s.LogDir, name+".log") }

func (s Set) pidFile(name string) string { return filepath.Join(s.Dir, name+".pid") }

// Alive says whether the recorded daemon still runs: the same pid, the same start time, the same boot.
func (s Set) Alive(name string) (Proc, bool) {
	b, err := os.ReadFile(s.pidFile(name))
	if err != nil {
		return Proc{}, false
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil || r.Boot != BootID() {
		return Proc{}, false
	}
	p, err := Read(r.PID)
	if err != nil || p.Start != r.Start {
		return Proc{}, false
	}
	return p, true
}

// Stop ends a recorded daemon, first by SIGTERM, after grace by SIGKILL, and removes its pid file. A daemon that does not run
// (any more) is no error.
func (s Set) Stop(name string, grace time.Duration) error {
	if p, ok := s.Alive(name); ok {
		if err := Terminate([]Proc{p}, grace); err != nil {
			return fmt.Errorf("stopping %s: %w", name, err)
		}
	}
	if err := os.Remove(s.pidFile(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Names lists the daemons that have a pid file.
func (s Set) Names() []string {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".pid"); ok {
			names = append(names, n)
		}
	}
	return names
}

// Terminate ends processes: SIGTERM to all, then SIGKILL to those that still run after grace (at once when grace is 0). It
// returns when all are gone, or an error when some outlive even SIGKILL for ten seconds.
func Terminate(procs []Proc, grace time.Duration) error {
	if grace > 0 {
		signal(procs, syscall.SIGTERM)
		if waitGone(procs, grace) {
			return nil
		}
	}
	signal(procs, syscall.SIGKILL)
	if !waitGone(procs, 10*time.Second) {
		return errors.New("still running after SIGKILL")
	}
	return nil
}

func signal(procs []Proc, sig syscall.Signal) {
	for _, p := range procs {
		if same(p) {
			_ = syscall.Kill(p.PID, sig)
		}
	}
}

func same(p Proc) bool {
	now, err := Read(p.PID)
	return err == nil && now.Start == p.Start
}

// waitGone looks again and again, until all are gone or the limit has passed; it says which.
func waitGone(procs []Proc, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(procs, same) {
		select {
		case <-end.C:
			return false
		case <-tick.C:
		}
	}
	return true
}
