package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// options are the command's flags.
type options struct {
	rounds   int
	pools    int
	idle     time.Duration
	document string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often each figure is taken")
	flag.IntVar(&o.pools, "pools", 10, "opted-in pools while the controller's memory is read")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long the controller is left alone before that")
	flag.StringVar(&o.document, "document", filepath.Join("docs", "dev", "benchmarks.md"), "where to write the results, from the repository's top folder; empty for nowhere")
	flag.Parse()
	// The controller that runs in here would write its log between the lines.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// run measures everything, prints the tables and writes the document.
func run(ctx context.Context, o options) (err error) {
	cluster, err := live.Connect(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	machine := describeMachine(ctx, cluster)
	session, err := measure.Begin(ctx, cluster, strconv.FormatInt(begin.Unix(), 36))
	if err != nil {
		return err
	}
	b := &bench{options: o, session: session, begin: begin}
	defer func() {
		// An interrupt ends the measuring, not the tidying up.
		if endErr := session.End(context.WithoutCancel(ctx)); err == nil {
			err = endErr
		}
	}()
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"first builds on a new base", b.warmUp},
		{"rounds", b.rounds},
		{"new configs on known steps", b.orders},
		{"edits of a Dockerfile whose steps are kept", b.edits},
		{"configs of many sizes", b.sizes},
		{"a large base", b.largeBase},
		{"the same inputs again", b.again},
		{"rendering", b.rendering},
		{"counting writes", b.countWrites},
		{"memory", b.memory},
	} {
		b.say("%s", phase.name)
		if err := phase.do(ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", phase.name, err)
		}
	}
	tables := b.tables()
	fmt.Println()
	for _, t := range tables {
		fmt.Println(t.Text())
	}
	fmt.Printf("took %s\n", time.Since(begin).Round(time.Second))
	if o.document == "" {
		return nil
	}
	return figure.Write(filepath.Join(cluster.Root, o.document), "make bench", begin, machine+proc.Load("at the end"), tables)
}
