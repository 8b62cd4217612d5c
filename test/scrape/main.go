package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

func main() {
	manifests := flag.String("manifests", "manifests/overlays/kubernetes", "folder of manifests to apply")
	out := flag.String("out", "", "folder to write to (required)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *manifests, *out); err != nil {
		fmt.Fprintf(os.Stderr, "scrape: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, manifests, out string) error {
	dir, err := os.MkdirTemp("", "scrape-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	plane, err := controlplane.Start(ctx, dir, manifests)
	if err != nil {
		return err
	}
	defer plane.Stop()
	shared := prometheus.NewRegistry()
	shared.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.RegisterClientGo(shared)
	for _, s := range scenarios {
		moments, err := play(ctx, plane, shared, s.play)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", s.name, err)
		}
		if err := write(filepath.Join(out, s.name), moments); err != nil {
			return err
		}
	}
	return nil
}

func write(dir string, moments []moment) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, m := range moments {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06.0f.prom", m.since.Seconds())), m.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
