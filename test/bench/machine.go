package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// describeMachine says on what the figures are taken; what cannot be read is
// left out.
func describeMachine(ctx context.Context, c *live.Cluster) string {
	var out strings.Builder
	fmt.Fprintf(&out, "- machine: %d × %s, %s memory\n", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), gibibytes(field("/proc/meminfo", "MemTotal")))
	nodes, err := c.Clients.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil && len(nodes.Items) > 0 {
		info := nodes.Items[0].Status.NodeInfo
		fmt.Fprintf(&out, "- node: kernel %s, %s, Kubernetes %s\n", info.KernelVersion, info.ContainerRuntimeVersion, info.KubeletVersion)
	}
	if fs, err := exec.CommandContext(ctx, "findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", "--target", c.Logs).Output(); err == nil {
		fmt.Fprintf(&out, "- file system of the pods' volumes: %s\n", strings.Join(strings.Fields(string(fs)), ", "))
	}
	out.WriteString(loadNow("at the start"))
	return out.String()
}

// loadNow is how busy the machine is: what else runs on it spoils the figures.
func loadNow(when string) string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("- load average %s: %s\n", when, strings.Join(strings.Fields(string(text))[:3], ", "))
}

// field is the first value of a name in a file of "name: value" lines.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// gibibytes of a number of kilobytes, as /proc/meminfo has it.
func gibibytes(text string) string {
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%.0f GiB", float64(kilobytes)/(1<<20))
}
