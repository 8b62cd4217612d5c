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
	"strings"
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
	phases   string
	document string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often each figure is taken")
	flag.IntVar(&o.pools, "pools", 10, "opted-in pools while the controller's memory is read")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long the controller is left alone before that")
	flag.StringVar(&o.phases, "phases", "", "the phases to run, of "+strings.Join(phaseNames(), ", ")+"; empty for all. Fewer are written nowhere but here")
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
	begin := time.Now()
	b := &bench{options: o, begin: begin}
	phases, err := b.selected()
	if err != nil {
		return err
	}
	cluster, err := live.Connect(ctx)
	if err != nil {
		return err
	}
	machine := describeMachine(ctx, cluster)
	session, err := measure.Begin(ctx, cluster, strconv.FormatInt(begin.Unix(), 36))
	if err != nil {
		return err
	}
	b.session = session
	defer func() {
		// An interrupt ends the measuring, not the tidying up.
		if endErr := session.End(context.WithoutCancel(ctx)); err == nil {
			err = endErr
		}
	}()
	// No build of a phase is the first on its base.
	b.say("a first build on a new base")
	if err := b.learnBase(ctx); err != nil {
		return fmt.Errorf("measuring a first build: %w", err)
	}
	var tables []figure.Table
	for _, p := range phases {
		b.say("%s", p.about)
		if err := p.do(b, ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", p.about, err)
		}
		tables = append(tables, p.tables(b)...)
	}
	fmt.Println()
	for _, t := range tables {
		fmt.Println(t.Text())
	}
	fmt.Printf("took %s\n", time.Since(begin).Round(time.Second))
	if o.document == "" || o.phases != "" {
		return nil
	}
	return figure.Write(filepath.Join(cluster.Root, o.document), "make bench", begin, machine+proc.Load("at the end"), tables)
}
