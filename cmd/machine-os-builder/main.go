package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
	// The image has no other file than this program.
	_ "golang.org/x/crypto/x509roots/fallback"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

// gcPercent, where GOGC says nothing else, is a fifth of Go's own: the process lives
// by its caches and has little to do, so memory counts for more than the processor.
const gcPercent = 20

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "machine-os-builder: %v\n", err)
		klog.Flush()
		os.Exit(1)
	}
	klog.Flush()
}

func command(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.Version {
		fmt.Println(version.Version)
		return nil
	}
	return run(ctx, o)
}
