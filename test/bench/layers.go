package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
)

// benchmarkLine is a line of "go test -bench" about one size of config.
var benchmarkLine = regexp.MustCompile(`^BenchmarkBuild/(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// layerBenchmarks runs the benchmarks of pkg/configlayer and returns the
// milliseconds that making a layer takes, by the size of the config.
func layerBenchmarks(ctx context.Context, root string, count int) (map[string]figure.Samples, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkBuild$",
		"-benchtime", "200ms", "-count", strconv.Itoa(count), "./pkg/configlayer")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("running the benchmarks of pkg/configlayer: %w\n%s", err, out)
	}
	return parseBenchmarks(string(out)), nil
}

func parseBenchmarks(out string) map[string]figure.Samples {
	samples := map[string]figure.Samples{}
	for line := range strings.Lines(out) {
		match := benchmarkLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if ns, err := strconv.ParseFloat(match[2], 64); err == nil {
			samples[match[1]] = append(samples[match[1]], ns/1e6)
		}
	}
	return samples
}
