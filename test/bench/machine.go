package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// describeMachine says on what the figures are taken; what cannot be read is
// left out.
func describeMachine(ctx context.Context, c *live.Cluster) string {
	var out strings.Builder
	out.WriteString(proc.Machine())
	nodes, err := c.Clients.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil && len(nodes.Items) > 0 {
		info := nodes.Items[0].Status.NodeInfo
		fmt.Fprintf(&out, "- node: kernel %s, %s, Kubernetes %s\n", info.KernelVersion, info.ContainerRuntimeVersion, info.KubeletVersion)
	}
	if fs, err := exec.CommandContext(ctx, "findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", "--target", c.Logs).Output(); err == nil {
		fmt.Fprintf(&out, "- file system of the pods' volumes: %s\n", strings.Join(strings.Fields(string(fs)), ", "))
	}
	out.WriteString(proc.Load("at the start"))
	return out.String()
}
