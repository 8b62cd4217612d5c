package proc

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}

func TestReadMemory(t *testing.T) {
	got, err := ReadMemory(write(t, "status", "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t   42 kB\nVmRSS:\t   40 kB\nThreads:\t7\n"))
	if want := (Memory{Resident: 40 << 10, Peak: 42 << 10}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := ReadMemory(write(t, "status", "Name:\tzombie\n")); err == nil {
		t.Error("no error for a process that has ended")
	}
}

func TestReadCPU(t *testing.T) {
	got, err := ReadCPU(write(t, "stat", "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 123 45 6 7 20 0 9 0\n"))
	if want := 1680 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := ReadCPU(write(t, "stat", "7 (x) S 1\n")); err == nil {
		t.Error("no error for a file that is cut short")
	}
}
