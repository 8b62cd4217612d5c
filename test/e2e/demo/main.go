package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	builder := pflag.String("builder", api.BuilderCustomPod, "what builds: "+api.BuilderCustomPod+" or "+api.BuilderOpenShift)
	pflag.Parse()
	if err := run(ctx, *builder); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, builder string) error {
	cluster, err := live.Connect(ctx)
	if err != nil {
		return err
	}
	d := &demo{Cluster: cluster, out: &screen{out: os.Stdout}, builder: builder, begin: time.Now()}
	for _, part := range []func(context.Context) error{d.install, d.configOnly, d.oneMore, d.custom, d.broken} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.next()
	return nil
}
