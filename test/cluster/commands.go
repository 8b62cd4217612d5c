package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/binaries"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/lifecycle"
)

const usage = `usage: go -C test/cluster run . <command>

  up                      start the cluster, or make sure that it runs (needs root)
  down                    stop it and leave nothing on the machine (needs root)
  status                  what runs; fails when the cluster is not up
  env                     variables for eval in a shell: KUBECONFIG, KUBECTL, REGISTRY, ...
  images [--context DIR]  build the product's images from bin/ (of DIR) and put them on the node
  load-image <image>      put an image on the node: an archive, or a name in this program's buildah storage
  push-image [--auth] <image> <repository:tag>
                          push an image of that storage to the registry (to the one that asks for a password)
  kubeconfig              print the path of the administrator's kubeconfig
  binaries [name ...]     build the named programs, or all, if need be; print their directory (needs no root)

The work directory is ${XDG_CACHE_HOME:-$HOME/.cache}/machine-os-builder/cluster, or $MOB_CLUSTER_DIR`

var errUsage = errors.New(usage)

// run carries out one command. Results go to out, what is going on to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	dirs, err := layout.FromEnv(os.Getenv, wd)
	if err != nil {
		return err
	}
	cache := binaries.Cache{Dir: dirs.Bin, ModuleDir: wd, Progress: progress}
	c := lifecycle.Cluster{Dirs: dirs, Binaries: cache, Progress: progress}
	command, args := args[0], args[1:]
	switch command {
	case "images", "push-image", "load-image":
		return imageCommand(ctx, c, command, args, out)
	case "binaries":
		dir, err := cache.Ensure(ctx, args...)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, dir)
		return nil
	}
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments\n%w", command, errUsage)
	}
	switch command {
	case "up":
		return c.Up(ctx)
	case "down":
		return c.Down(ctx)
	case "status":
		return c.Status(ctx, out)
	case "kubeconfig":
		fmt.Fprintln(out, dirs.Kubeconfig("admin"))
		return nil
	case "env":
		state, err := c.Load()
		if err != nil {
			return err
		}
		fmt.Fprint(out, variables(dirs, state))
		return nil
	}
	return errUsage
}

func imageCommand(ctx context.Context, c lifecycle.Cluster, command string, args []string, out io.Writer) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	contextDir := flags.String("context", "", "directory whose bin/ holds the binaries")
	auth := flags.Bool("auth", false, "push to the registry that asks for a password")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case command == "images" && flags.NArg() == 0:
		state, err := c.ProductImages(ctx, *contextDir)
		if err == nil {
			fmt.Fprintf(out, "%s\n%s\n%s\n", state.ControllerImage, state.BuilderImage, state.GitImage)
		}
		return err
	case command == "load-image" && flags.NArg() == 1:
		return c.LoadImage(ctx, flags.Arg(0))
	case command == "push-image" && flags.NArg() == 2:
		name, err := c.PushImage(ctx, flags.Arg(0), flags.Arg(1), *auth)
		if err == nil {
			fmt.Fprintln(out, name)
		}
		return err
	}
	return errUsage
}

// variables renders what scripts and tests need to know of a running cluster, one shell assignment a line.
func variables(d layout.Dirs, s lifecycle.State) string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"KUBECONFIG", d.Kubeconfig("admin")},
		{"KUBECTL", filepath.Join(s.Bin, "kubectl")},
		{"CLUSTER_BIN", s.Bin},
		{"CLUSTER_LOGS", d.Path("logs")},
		{"CONTAINERD_ADDRESS", d.ContainerdSocket()},
		{"NODE_IP", layout.BridgeIP},
		{"REGISTRY", layout.Registry},
		{"REGISTRY_CA", d.PKI("ca.crt")},
		{"AUTH_REGISTRY", layout.AuthRegistry},
		{"AUTH_REGISTRY_USER", s.User},
		{"AUTH_REGISTRY_PASSWORD", s.Password},
		{"BASE_IMAGE", layout.Registry + "/" + lifecycle.BaseImage + ":latest"},
		{"PLAIN_IMAGE", layout.Registry + "/" + lifecycle.PlainImage + ":latest"},
		{"AUTH_BASE_IMAGE", layout.AuthRegistry + "/" + lifecycle.BaseImage + ":latest"},
		{"AUTH_PLAIN_IMAGE", layout.AuthRegistry + "/" + lifecycle.PlainImage + ":latest"},
		{"CONTROLLER_IMAGE", s.ControllerImage},
		{"BUILDER_IMAGE", s.BuilderImage},
		{"GIT_IMAGE", s.GitImage},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return b.String()
}
