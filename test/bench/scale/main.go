package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
)

// options are the command's flags.
type options struct {
	sizes    sizes
	rounds   int
	single   int
	builds   int
	queue    bool
	run      time.Duration
	idle     time.Duration
	program  string
	executor string
	profiles string
	document string
}

// sizes are numbers of pools.
type sizes []int

// String implements flag.Value.
func (s *sizes) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*s)), " ", ","), "[]")
}

var errNoSize = errors.New("not numbers above 0, separated by commas")

// Set implements flag.Value.
func (s *sizes) Set(text string) error {
	*s = nil
	if text == "" {
		return nil
	}
	for _, field := range strings.Split(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n <= 0 {
			return errNoSize
		}
		*s = append(*s, n)
	}
	return nil
}

func main() {
	o := options{sizes: sizes{100, 1000}}
	flag.Var(&o.sizes, "pools", "numbers of pools, smallest first; empty for none")
	flag.IntVar(&o.builds, "builds", 100, "Builds for the executor to run at once; 0 for none")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each figure is taken")
	flag.IntVar(&o.single, "single", 10, "builds that come one by one once all others are done")
	flag.BoolVar(&o.queue, "queue", true, "also with a limit of builds that makes pools wait")
	flag.DurationVar(&o.run, "run", 2*time.Second, "how long a build's pod runs")
	flag.DurationVar(&o.idle, "idle", 3*time.Minute, "how long the controller is left alone")
	flag.StringVar(&o.program, "program", "", "the controller to measure; empty for one built from this tree")
	flag.StringVar(&o.executor, "executor", "", "the executor to measure; empty for one built from this tree")
	flag.StringVar(&o.profiles, "profiles", "", "an existing folder for profiles of the programs, which cost some time and memory; empty for none")
	flag.StringVar(&o.document, "document", filepath.Join("docs", "dev", "benchmarks.md"), "where to write the results, from the repository's top folder; empty for nowhere")
	flag.Parse()
	if err := silence(); err != nil {
		fmt.Fprintf(os.Stderr, "scale: %v\n", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "scale: %v\n", err)
		os.Exit(1)
	}
}

// silence drops the log of the API clients in here, which would stand between
// the lines: a pod that goes while its status is written is an error to them.
func silence() error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	klog.SetOutput(io.Discard)
	return errors.Join(flags.Set("logtostderr", "false"), flags.Set("stderrthreshold", "FATAL"))
}

// run measures everything, prints the tables and writes the document.
func run(ctx context.Context, o options) error {
	b := &bench{options: o, begin: time.Now(), sizes: map[int]*size{}}
	directory, err := os.MkdirTemp("", "scale-program")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	if b.program == "" && len(o.sizes) > 0 {
		if b.program, err = buildProgram(ctx, directory, controllerName, b.profiles != ""); err != nil {
			return err
		}
	}
	if b.executor == "" && o.builds > 0 {
		if b.executor, err = buildProgram(ctx, directory, executorName, b.profiles != ""); err != nil {
			return err
		}
	}
	machine := proc.Machine() + proc.Load("at the start")
	for n := range o.rounds {
		for _, pools := range o.sizes {
			b.say("round %d: %d pools", n+1, pools)
			if err := b.round(ctx, pools); err != nil {
				return fmt.Errorf("measuring %d pools: %w", pools, err)
			}
		}
		if o.builds > 0 {
			b.say("round %d: %d Builds", n+1, o.builds)
			if err := b.execute(ctx); err != nil {
				return fmt.Errorf("measuring %d Builds: %w", o.builds, err)
			}
		}
	}
	return b.write(machine + proc.Load("at the end"))
}

// write prints the tables and puts them into the document. Pools and Builds have places
// of their own there, since either can be measured alone.
func (b *bench) write(machine string) error {
	var builds []figure.Table
	if b.builds > 0 {
		builds = append(builds, b.executorTable())
	}
	pools := b.tables()
	fmt.Println()
	for _, t := range slices.Concat(pools, builds) {
		fmt.Println(t.Text())
	}
	fmt.Printf("took %s\n", time.Since(b.begin).Round(time.Second))
	for command, tables := range map[string][]figure.Table{"make bench-scale": pools, "make bench-scale, of Builds": builds} {
		if b.document == "" || len(tables) == 0 {
			continue
		}
		if err := figure.Write(b.document, command, b.begin, machine, tables); err != nil {
			return err
		}
	}
	return nil
}
