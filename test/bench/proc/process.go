package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc, which Linux fixes for programs whatever
// its own timer is.
const tick = 10 * time.Millisecond

// Directory is where /proc tells of a process.
func Directory(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid)) }

// Memory of a process, in bytes.
type Memory struct {
	Resident int64 // VmRSS: now
	Peak     int64 // VmHWM: the most it ever was
}

// ReadMemory reads the memory of the process of a directory in /proc.
func ReadMemory(directory string) (Memory, error) {
	var m Memory
	path := filepath.Join(directory, "status")
	text, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("reading the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			m.Resident = kilobytes << 10
		case name == "VmHWM":
			m.Peak = kilobytes << 10
		}
	}
	if m.Resident == 0 || m.Peak == 0 {
		return m, fmt.Errorf("reading the memory of a process: %s does not tell it", path)
	}
	return m, nil
}

// ReadCPU reads the time that the process of a directory in /proc has spent on
// a processor, in steps of 10 ms.
func ReadCPU(directory string) (time.Duration, error) {
	path := filepath.Join(directory, "stat")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of a process: %w", err)
	}
	// The name, in parentheses, may hold anything; proc(5) counts it as field 2.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("reading the processor time of a process: %s has too few fields", path)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of a process from %s: %w", path, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
