package buildah

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// Driver is how buildah keeps layers.
type Driver struct {
	Name    string   `json:"name"`
	Options []string `json:"options,omitempty"`
	// Stores are directories with images that are only read; overlay alone knows them.
	Stores []string `json:"stores,omitempty"`
}

// fuseOverlay is where the package of that name puts its program.
const fuseOverlay = "/usr/bin/fuse-overlayfs"

// Program runs the program of that name, rootless, on the shared store.
type Program struct {
	program    string
	storageDir string
	driver     Driver
	tmp        string // of this container alone
	// registriesConf says where the image lies that is pulled; empty for where its
	// name says.
	registriesConf string
	// Proxy is what the program and the steps are given; zero: as the environment says.
	Proxy proxy.Config
}

// New makes the directories that buildah wants to find.
func New(storageDir string, driver Driver) (*Program, error) {
	tmp, err := os.MkdirTemp("", "os-image-builder-")
	if err != nil {
		return nil, fmt.Errorf("preparing buildah: %w", err)
	}
	b := &Program{program: "buildah", storageDir: storageDir, driver: driver, tmp: tmp}
	for _, dir := range []string{b.runtimeDir(), b.rootDir(), b.tempDir(), b.dataDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("preparing buildah: %w", err)
		}
	}
	// Of a volume with a group, what is made in it inherits a bit that images' roots must not have.
	if err := os.Chmod(b.rootDir(), 0o700); err != nil {
		return nil, fmt.Errorf("preparing buildah: %w", err)
	}
	return b, nil
}

// ReadAlso lets the program find images in the store of another one, too.
func (b *Program) ReadAlso(storageDir string) {
	b.driver.Stores = append(slices.Clone(b.driver.Stores), rootDir(storageDir))
}

// Driver is what the program uses.
func (b *Program) Driver() Driver { return b.driver }

// Learn takes over what the program of another store knows of compressed blobs. It has to
// know none itself.
func (b *Program) Learn(storageDir string) error {
	err := os.CopyFS(b.dataDir(), os.DirFS(dataDir(storageDir)))
	if err != nil { // a part of it would be worse than nothing
		err = errors.Join(err, os.RemoveAll(b.dataDir()), os.MkdirAll(b.dataDir(), 0o700))
		return fmt.Errorf("reading what is known of blobs: %w", err)
	}
	return nil
}

// Remove removes a directory, also where files in it have the users of an image's files.
func (b *Program) Remove(ctx context.Context, dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	return b.Run(ctx, func(string) {}, "unshare", "rm", "-rf", "--", dir)
}

// Dir is a directory of this container alone, which Close removes.
func (b *Program) Dir() string { return b.tmp }

func (b *Program) runtimeDir() string { return filepath.Join(b.tmp, "run") }
func (b *Program) tempDir() string    { return filepath.Join(b.storageDir, "tmp") }
func (b *Program) rootDir() string    { return rootDir(b.storageDir) }

func rootDir(storageDir string) string { return filepath.Join(storageDir, "root") }
func dataDir(storageDir string) string { return filepath.Join(storageDir, "data") }

// dataDir holds buildah's memory of which compressed blob each layer came from,
// by which it knows the base's layers in the place it pushes to.
func (b *Program) dataDir() string { return dataDir(b.storageDir) }

// Close removes this container's own files.
func (b *Program) Close() { _ = os.RemoveAll(b.tmp) }

func (b *Program) globalFlags() []string {
	flags := []string{
		"--root", b.rootDir(),
		"--runroot", filepath.Join(b.storageDir, "run"),
		"--storage-driver", b.driver.Name,
	}
	if b.registriesConf != "" {
		flags = append(flags, "--registries-conf", b.registriesConf)
	}
	for _, option := range b.driver.Options {
		flags = append(flags, "--storage-opt", option)
	}
	for _, store := range b.driver.Stores {
		flags = append(flags, "--storage-opt", "additionalimagestore="+store)
	}
	return flags
}

// environment is all that the program gets: nothing of the container's passes
// through but the way to programs and proxies. buildah hands the proxy's variables
// to the steps and keeps them out of the image (--http-proxy).
func (b *Program) environment() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = b.tmp
	}
	environment := []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		"XDG_RUNTIME_DIR=" + b.runtimeDir(), "XDG_DATA_HOME=" + b.dataDir(), "TMPDIR=" + b.tempDir(),
		"BUILDAH_ISOLATION=chroot",
	}
	if !b.Proxy.IsZero() {
		return append(environment, b.Proxy.Environment()...)
	}
	for _, key := range proxy.Variables {
		if value, found := os.LookupEnv(key); found {
			environment = append(environment, key+"="+value)
		}
	}
	return environment
}

// ExitError is a program that ran and failed, with the end of its output.
type ExitError struct {
	Command string
	Code    int
	Log     []string // the last lines, oldest first, without secrets
}

// Error implements error.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("buildah %s: exit status %d", e.Command, e.Code)
	if len(e.Log) > 0 {
		text += ": " + e.Log[len(e.Log)-1]
	}
	return text
}

const (
	// TailLines is how many lines of output an error carries.
	TailLines = 20
	// followedLines is how many are kept for it: whether the last ones are of a
	// private key is seen where it begins, and one of 16384 bits has 200.
	followedLines = 250
)

// Run runs one buildah command and hands its output on by the line, both
// streams together in their order. It fails with an *ExitError when the command
// does.
func (b *Program) Run(ctx context.Context, line func(string), command string, args ...string) error {
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
	log, hide := NewTail(), b.hidden()
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		readLines(output, func(text string) {
			text = hide(text)
			log.Add(text)
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
		return &ExitError{Command: command, Code: exit.ExitCode(), Log: log.End()}
	case err != nil:
		return fmt.Errorf("running buildah %s: %w", command, err)
	default:
		return nil
	}
}

// hidden returns what takes the proxy's login out of a line: programs print the
// URL that they were given.
func (b *Program) hidden() func(string) string {
	secrets := b.Proxy.Secrets()
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

// Tail keeps the last lines of an output.
type Tail struct {
	limit int
	lines []string
}

// NewTail returns one that keeps as many lines as it takes to know secrets.
func NewTail() *Tail { return &Tail{limit: followedLines} }

// Add takes the next line; empty ones do not count.
func (t *Tail) Add(line string) {
	if line == "" {
		return
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > t.limit {
		t.lines = t.lines[1:]
	}
}

// Lines are those that are kept, oldest first; an error carries fewer.
func (t *Tail) Lines() []string { return t.lines }

// End is what an error carries. Secrets are taken out first: in what is left
// after the cut, they are not known for what they are.
func (t *Tail) End() []string {
	lines := redact.New().Lines(t.lines)
	return lines[max(0, len(lines)-TailLines):]
}
