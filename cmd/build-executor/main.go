package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "build-executor: %v\n", err)
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
