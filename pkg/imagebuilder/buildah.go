package imagebuilder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// storageDriver is how buildah keeps layers.
type storageDriver struct {
	Name    string   `json:"name"`
	Options []string `json:"options,omitempty"`
}

// fuseOverlay is where the package of that name puts its program.
const fuseOverlay = "/usr/bin/fuse-overlayfs"

// buildah runs the program of that name, rootless, on the shared store.
type buildah struct {
	program    string
	storageDir string
	driver     storageDriver
	tmp        string // of this container alone
	// registriesConf says where the image lies that is pulled; empty for where its
	// name says.
	registriesConf string
	proxy          proxy.Config // zero: as the environment says
}

// newBuildah makes the directories that buildah wants to find.
func newBuildah(storageDir string, driver storageDriver) (*buildah, error) {
	tmp, err := os.MkdirTemp("", "os-image-builder-")
	if err != nil {
		return nil, fmt.Errorf("preparing buildah: %w", err)
	}
	b := &buildah{program: "buildah", storageDir: storageDir, driver: driver, tmp: tmp}
	for _, dir := range []string{b.runtimeDir(), b.tempDir(), b.dataDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("preparing buildah: %w", err)
		}
	}
	return b, nil
}

func (b *buildah) runtimeDir() string { return filepath.Join(b.tmp, "run") }
func (b *buildah) tempDir() string    { return filepath.Join(b.storageDir, "tmp") }

// dataDir holds buildah's memory of which compressed blob each layer came from,
// by which it knows the base's layers in the place it pushes to.
func (b *buildah) dataDir() string { return filepath.Join(b.storageDir, "data") }

// close removes this container's own files.
func (b *buildah) close() { _ = os.RemoveAll(b.tmp) }

func (b *buildah) globalFlags() []string {
	flags := []string{
		"--root", filepath.Join(b.storageDir, "root"),
		"--runroot", filepath.Join(b.storageDir, "run"),
		"--storage-driver", b.driver.Name,
	}
	if b.registriesConf != "" {
		flags = append(flags, "--registries-conf", b.registriesConf)
	}
	for _, option := range b.driver.Options {
		flags = append(flags, "--storage-opt", option)
	}
	return flags
}

// environment is all that the program gets: nothing of the container's passes
// through but the way to programs and proxies. buildah hands the proxy's variables
// to the steps and keeps them out of the image (--http-proxy).
func (b *buildah) environment() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = b.tmp
	}
	environment := []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		"XDG_RUNTIME_DIR=" + b.runtimeDir(), "XDG_DATA_HOME=" + b.dataDir(), "TMPDIR=" + b.tempDir(),
		"BUILDAH_ISOLATION=chroot",
	}
	if !b.proxy.IsZero() {
		return append(environment, b.proxy.Environment()...)
	}
	for _, key := range proxy.Variables {
		if value, found := os.LookupEnv(key); found {
			environment = append(environment, key+"="+value)
		}
	}
	return environment
}

// exitError is a program that ran and failed, with the end of its output.
type exitError struct {
	command string
	code    int
	log     []string
}

// Error implements error.
func (e *exitError) Error() string {
	text := fmt.Sprintf("buildah %s: exit status %d", e.command, e.code)
	if len(e.log) > 0 {
		text += ": " + e.log[len(e.log)-1]
	}
	return text
}

const (
	// tailLines is how many lines of output an error carries.
	tailLines = 20
	// followedLines is how many are kept for it: whether the last ones are of a
	// private key is seen where it begins, and one of 16384 bits has 200.
	followedLines = 250
)

// run runs one buildah command and hands its output on by the line, both
// streams together in their order. It fails with an *exitError when the command
// does.
func (b *buildah) run(ctx context.Context, line func(string), command string, args ...string) error {
	output, input, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting buildah: %w", err)
	}
	process := exec.CommandContext(ctx, b.program, append(append(b.globalFlags(), command), args...)...)
	process.Env, process.Stdout, process.Stderr = b.environment(), input, input
	// Steps have children of their own, which must not outlive a cancelled build.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGTERM) }
	process.WaitDelay = 2 * time.Second
	err = process.Start()
	_ = input.Close()
	if err != nil {
		_ = output.Close()
		return fmt.Errorf("starting buildah: %w", err)
	}
	log, hide := &tail{limit: followedLines}, b.hidden()
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		readLines(output, func(text string) {
			text = hide(text)
			log.add(text)
			line(text)
		})
	}()
	err = process.Wait()
	// A process that a step left behind may still hold the pipe open.
	_ = output.SetReadDeadline(time.Now().Add(time.Second)) //nolint:forbidigo // a deadline of the operating system
	<-lines
	_ = output.Close()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("running buildah %s: %w", command, context.Cause(ctx))
	case errors.As(err, &exit):
		return &exitError{command: command, code: exit.ExitCode(), log: log.end()}
	case err != nil:
		return fmt.Errorf("running buildah %s: %w", command, err)
	default:
		return nil
	}
}

// hidden returns what takes the proxy's login out of a line: programs print the
// URL that they were given.
func (b *buildah) hidden() func(string) string {
	secrets := b.proxy.Secrets()
	if len(secrets) == 0 {
		return func(text string) string { return text }
	}
	return redact.New(secrets...).Text
}

// maxLine is where a line without end is broken.
const maxLine = 16 << 10

func readLines(from io.Reader, line func(string)) {
	reader := bufio.NewReaderSize(from, maxLine)
	for {
		content, err := reader.ReadSlice('\n')
		if len(content) > 0 {
			line(clean(content))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// clean drops the line's end and, of a line drawn over itself, all but the last
// state.
func clean(content []byte) string {
	text := string(content)
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\r' {
			return text[i+1:]
		}
	}
	return text
}

// tail keeps the last lines.
type tail struct {
	limit int
	lines []string
}

func (t *tail) add(line string) {
	if line == "" {
		return
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > t.limit {
		t.lines = t.lines[1:]
	}
}

// end is what an error carries. Secrets are taken out first: in what is left
// after the cut, they are not known for what they are.
func (t *tail) end() []string {
	lines := redact.New().Lines(t.lines)
	return lines[max(0, len(lines)-tailLines):]
}
