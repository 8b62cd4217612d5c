package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitaddress"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// git runs the program of that name.
type git struct {
	options  Options
	address  gitaddress.Address
	private  string // its own directory, gone when all is done
	loggedIn bool
	hide     *redact.Redactor
}

// environment is all that git gets: nothing of the container's but the way to
// programs. Of two files with settings, neither is the system's.
func (g *git) environment() []string {
	environment := []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + g.private,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + g.inside(fileConfig), "GIT_TERMINAL_PROMPT=0",
		"GIT_ALLOW_PROTOCOL=https:http:ssh:git", "GIT_ADVICE=0",
		// The path is one of ours: there is nothing in it that is not a letter or digit.
		"GIT_SSH_COMMAND=ssh -F " + g.inside(fileSSHConfig), "GIT_SSH_VARIANT=ssh",
	}
	environment = append(environment, g.options.Proxy.Environment()...)
	for _, name := range EnvNames {
		if value, found := g.options.Env[name]; found {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}

// maxOutput bounds what is kept of a program's output.
const maxOutput = 1 << 20

// run runs one command in dir, if that is not empty, and returns what it printed to
// its standard output. All that it says otherwise goes on to Line.
func (g *git) run(ctx context.Context, dir, command string, args ...string) (string, error) {
	process := exec.CommandContext(ctx, "git", append([]string{command}, args...)...)
	var output, said bytes.Buffer
	process.Dir, process.Env = dir, g.environment()
	process.Stdout, process.Stderr = &bounded{into: &output}, &bounded{into: &said}
	// git has children of its own.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGTERM) }
	process.WaitDelay = 2 * time.Second
	err := process.Run()
	last := ""
	for line := range strings.Lines(g.hide.Text(said.String())) {
		if line = strings.TrimSpace(line); line != "" {
			g.options.Line(line)
			last = line
		}
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("git %s: %w", command, ctx.Err())
	case errors.As(err, &exit):
		return "", fmt.Errorf("git %s: exit status %d: %s", command, exit.ExitCode(), last)
	case err != nil:
		return "", fmt.Errorf("starting git: %w", err)
	}
	return output.String(), nil
}

// bounded drops what is too much.
type bounded struct{ into *bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.into.Len(); room > 0 {
		b.into.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

var _ io.Writer = &bounded{}
