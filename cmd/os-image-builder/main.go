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

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/imagebuilder"
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
		return finish(stdout, options.terminationMessagePath, buildspec.Result{Reason: api.ReasonBuildFailed, Message: err.Error()})
	}
	progress := steplog.NewProgress(stdout, options.steps, time.Now)
	result, err := options.run(ctx, progress)
	return finish(stdout, options.terminationMessagePath, imagebuilder.Report(result, err))
}

// finish writes the result where the kubelet picks it up, and the last line of
// the log.
func finish(stdout io.Writer, path string, result buildspec.Result) int {
	code := 0
	if result.Succeeded {
		_, _ = fmt.Fprintln(stdout, "done")
	} else {
		code = 1
		_, _ = fmt.Fprintf(stdout, "failed (%s): %s\n", result.Reason, result.Message)
	}
	if path == "" {
		return code
	}
	if err := os.WriteFile(path, result.Encode(), 0o644); err != nil { //nolint:gosec // the kubelet reads it, and it holds no secret
		_, _ = fmt.Fprintf(stdout, "writing termination message: %v\n", err)
		return 1
	}
	return code
}
