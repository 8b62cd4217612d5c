package process

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	fields := func(state string) string {
		return state + " 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"
	}
	rows := []struct {
		name, text string
		want       uint64
		gone       bool
		broken     bool
	}{
		{"plain", "12 (etcd) " + fields("S"), 4711, false, false},
		{"name with a space and parentheses", "12 (a) R (b) " + fields("S"), 4711, false, false},
		{"zombie", "12 (etcd) " + fields("Z"), 0, true, false},
		{"no name", "12", 0, false, true},
		{"cut short", "12 (etcd) S 1", 0, false, true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got, err := parseStat(r.text)
			if errors.Is(err, errGone) != r.gone || (err != nil) != (r.gone || r.broken) || got != r.want {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

// daemon starts a real process that ends only when told to; its arguments tell it apart in /proc.
func daemon(t *testing.T, script string) (Set, string) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	s := Set{Dir: t.TempDir(), LogDir: t.TempDir()}
	if err := s.Start(Daemon{Name: "d", Path: sh, Args: []string{"-c", script}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop("d", 0); err != nil {
			t.Error(err)
		}
	})
	return s, "d"
}

func TestStartAndStop(t *testing.T) {
	s, name := daemon(t, "exec sleep 600")
	p, ok := s.Alive(name)
	if !ok || p.Start == 0 {
		t.Fatalf("after Start: %+v, %v", p, ok)
	}
	// In the middle of an exec the kernel shows no arguments.
	end, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; !slices.Contains(p.Argv, "600"); p, _ = s.Alive(name) {
		select {
		case <-end:
			t.Fatalf("after Start: %+v", p)
		case <-tick.C:
		}
	}
	if names := s.Names(); len(names) != 1 || names[0] != name {
		t.Errorf("recorded: %q", names)
	}
	if err := s.Stop(name, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(p.PID); !errors.Is(err, errGone) {
		t.Errorf("after Stop: %v", err)
	}
	if _, ok := s.Alive(name); ok || len(s.Names()) != 0 {
		t.Error("after Stop the daemon is still recorded")
	}
	if err := s.Stop(name, time.Second); err != nil {
		t.Errorf("stopping what does not run: %v", err)
	}
}

func TestStopEndsWhatIgnoresTerm(t *testing.T) {
	s, name := daemon(t, "trap '' TERM; exec sleep 600")
	p, _ := s.Alive(name)
	if err := s.Stop(name, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(p.PID); !errors.Is(err, errGone) {
		t.Errorf("after Stop: %v", err)
	}
}

// A pid that has been given to somebody else must not be taken for the daemon, much less be killed.
func TestReusedPidIsNotOurs(t *testing.T) {
	s, name := daemon(t, "exec sleep 600")
	p, _ := s.Alive(name)
	good, err := os.ReadFile(s.pidFile(name))
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]Record{
		"other start time": {PID: p.PID, Start: p.Start + 1, Boot: BootID()},
		"other boot":       {PID: p.PID, Start: p.Start, Boot: "other"},
	} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.pidFile(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Alive(name); ok {
			t.Errorf("%s: taken for ours", what)
		}
		if err := s.Stop(name, time.Second); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !same(p) {
			t.Fatalf("%s: was killed", what)
		}
	}
	if err := os.WriteFile(s.pidFile(name), good, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestListHoldsThisProcess(t *testing.T) {
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.PID == os.Getpid() {
			return
		}
	}
	t.Error("this process is not in the list")
}
