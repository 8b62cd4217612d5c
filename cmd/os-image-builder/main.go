package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

// run is main with its surroundings passed in; it returns the exit code.
func run(ctx context.Context, args []string, stdout io.Writer) int {
	options, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		_, _ = fmt.Fprint(stdout, usage())
		return 0
	}
	if err != nil {
		return finish(stdout, options.terminationMessagePath, options.failed(err))
	}
	progress := steplog.NewProgress(stdout, options.steps, time.Now)
	return finish(stdout, options.terminationMessagePath, options.run(ctx, progress))
}

// outcome is what a command reports.
type outcome struct {
	succeeded       bool
	reason, message string
	detail          string // for the log, where the message is not all
	encode          func() []byte
}

func ofResult(result buildspec.Result) outcome {
	return outcome{succeeded: result.Succeeded, reason: result.Reason, message: result.Message, encode: result.Encode}
}

// finish writes the outcome where the kubelet picks it up, and the last line of the
// log.
func finish(stdout io.Writer, path string, result outcome) int {
	code := 0
	if result.succeeded {
		_, _ = fmt.Fprintln(stdout, "done")
	} else {
		code = 1
		if result.detail != "" {
			_, _ = fmt.Fprintln(stdout, result.detail)
		}
		_, _ = fmt.Fprintf(stdout, "failed (%s): %s\n", result.reason, result.message)
	}
	if path == "" {
		return code
	}
	if err := os.WriteFile(path, result.encode(), 0o644); err != nil { //nolint:gosec // the kubelet reads it, and it holds no secret
		_, _ = fmt.Fprintf(stdout, "writing termination message: %v\n", err)
		return 1
	}
	return code
}
