package buildah

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

func newProgram(t *testing.T) *Program {
	t.Helper()
	program, err := New(t.TempDir(), Driver{Name: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(program.Close)
	return program
}

func TestRunReportsExitCodeAndOutput(t *testing.T) {
	buildahtest.Fake(t, `printf 'one\r\ndrawn\rover\n'; for i in $(seq 30); do echo line $i; done; printf 'no end' >&2; exit 7`)
	var lines []string
	err := newProgram(t).Run(context.Background(), func(line string) { lines = append(lines, line) }, "build", "x")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Command != "build" {
		t.Fatalf("error = %v", err)
	}
	if len(lines) != 33 || lines[0] != "one" || lines[1] != "over" || lines[32] != "no end" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	if len(exit.Log) != TailLines || exit.Log[TailLines-1] != "no end" {
		t.Errorf("log = %q", exit.Log)
	}
}

func TestRunPassesNoEnvironmentOn(t *testing.T) {
	t.Setenv("REGISTRY_AUTH_FILE", "/secret")
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com")
	buildahtest.Fake(t, `env`)
	var lines []string
	if err := newProgram(t).Run(context.Background(), func(line string) { lines = append(lines, line) }, "images"); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(lines, "\n"); strings.Contains(text, "REGISTRY_AUTH_FILE") || !strings.Contains(text, "HTTPS_PROXY=http://proxy.example.com") {
		t.Errorf("environment:\n%s", text)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	buildahtest.Fake(t, `echo started; sleep 60 & wait`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := newProgram(t).Run(ctx, func(string) { cancel() }, "build")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want Canceled", err)
	}
}

func TestLineWithoutEndIsBroken(t *testing.T) {
	var lines []string
	readLines(strings.NewReader(strings.Repeat("x", 3*maxLine)+"\nend\n"), func(line string) { lines = append(lines, line) })
	if len(lines) != 5 || lines[4] != "end" {
		t.Errorf("%d lines, the last is %.10q", len(lines), lines[len(lines)-1])
	}
}

func TestDriverFallsBackWithAReason(t *testing.T) {
	calls := buildahtest.Fake(t, `exit 0`)
	var log bytes.Buffer
	progress := steplog.NewProgress(&log, 1, time.Now)
	driver, err := ChooseDriver(context.Background(), t.TempDir(), progress)
	if err != nil || driver.Name != "overlay" || log.Len() != 0 {
		t.Errorf("driver %v, %v, log %q", driver, err, log.String())
	}
	if len(calls()) != 1 {
		t.Errorf("calls = %v", calls())
	}
	buildahtest.Fake(t, `grep -q "driver overlay" "$(dirname "$0")/calls" && ! grep -q "driver vfs" "$(dirname "$0")/calls" && echo "kernel says no" && exit 125; exit 0`)
	driver, err = ChooseDriver(context.Background(), t.TempDir(), progress)
	if err != nil || driver.Name != "vfs" || !strings.Contains(log.String(), "warning: storage driver overlay does not work here: buildah images: exit status 125: kernel says no") {
		t.Errorf("driver %v, %v, log %q", driver, err, log.String())
	}
	buildahtest.Fake(t, `exit 1`)
	if _, err = ChooseDriver(context.Background(), t.TempDir(), progress); err == nil {
		t.Error("a driver was found although none works")
	}
}

// TestAnotherStoreIsRead, with what is known of its blobs; the own one has nothing of its
// volume's group.
func TestAnotherStoreIsRead(t *testing.T) {
	calls := buildahtest.Fake(t, "exit 0")
	volume, other := t.TempDir(), t.TempDir()
	blobs := filepath.Join(other, "data", "containers", "blobs")
	if err := errors.Join(os.Chmod(volume, os.ModeSetgid|0o777), os.MkdirAll(filepath.Dir(blobs), 0o700), os.WriteFile(blobs, []byte("known"), 0o600)); err != nil {
		t.Fatal(err)
	}
	program, err := New(volume, Driver{Name: Overlay})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(program.Close)
	if info, err := os.Stat(filepath.Join(volume, "root")); err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("the store's mode is %v, %v", info.Mode(), err)
	}
	program.ReadAlso(other)
	if err := errors.Join(program.Learn(other), program.Run(t.Context(), func(string) {}, "images")); err != nil {
		t.Fatal(err)
	}
	if call := calls()[0]; !strings.Contains(call, "--storage-opt additionalimagestore="+other+"/root ") {
		t.Errorf("call %q reads no other store", call)
	}
	learned := filepath.Join(volume, "data", "containers", "blobs")
	if content, err := os.ReadFile(learned); string(content) != "known" || err != nil {
		t.Errorf("learned %q, %v", content, err)
	}
	// What is there already is in the way: nothing is better than a mixture.
	if err := program.Learn(other); err == nil {
		t.Error("two stores' knowledge was mixed")
	}
	if _, err := os.Stat(learned); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part of it is left: %v", err)
	}
}
