package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cluster, err := live.Connect(ctx)
	if err != nil {
		return err
	}
	d := &demo{Cluster: cluster, out: &screen{out: os.Stdout}, begin: time.Now()}
	for _, part := range []func(context.Context) error{d.install, d.configOnly, d.oneMore, d.custom, d.broken} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.next()
	return nil
}
