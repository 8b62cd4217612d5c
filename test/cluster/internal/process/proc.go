package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Proc is a running process as /proc shows it.
type Proc struct {
	PID   int
	Start uint64 // in clock ticks since boot
	Argv  []string
}

// errGone says that a process no longer runs (or waits only for its parent to take note of its end).
var errGone = errors.New("process is gone")

// parseStat reads the start time out of the text of /proc/<pid>/stat. A zombie counts as gone.
func parseStat(text string) (uint64, error) {
	// The command's name stands in parentheses and may itself hold spaces and parentheses, so fields are counted after the last.
	i := strings.LastIndexByte(text, ')')
	if i < 0 {
		return 0, fmt.Errorf("reading stat %q: no command name", text)
	}
	f := strings.Fields(text[i+1:])
	const state, start = 0, 19 // fields 3 and 22 of proc(5)
	if len(f) <= start {
		return 0, fmt.Errorf("reading stat %q: too few fields", text)
	}
	if f[state] == "Z" || f[state] == "X" {
		return 0, errGone
	}
	return strconv.ParseUint(f[start], 10, 64)
}

// Read looks up one process. It fails when the process does not run.
func Read(pid int) (Proc, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Proc{}, errGone
	}
	start, err := parseStat(string(stat))
	if err != nil {
		return Proc{}, err
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return Proc{}, errGone
	}
	p := Proc{PID: pid, Start: start}
	for _, a := range bytes.Split(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0}) {
		p.Argv = append(p.Argv, string(a))
	}
	return p, nil
}

// List gives every running process. Processes that end meanwhile are left out.
func List() ([]Proc, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := Read(pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// BootID names the machine's current boot; start times are comparable only within one.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
