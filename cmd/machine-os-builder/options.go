package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
)

// options are the command's flags.
type options struct {
	kubeconfig     string
	namespace      string
	builderImage   string
	healthAddress  string
	metricsAddress string
	controllers    []string
	leaderElect    bool
	leaseDuration  time.Duration
	renewDeadline  time.Duration
	retryPeriod    time.Duration
	version        bool
}

// parse reads and checks the flags; its error names everything that is wrong.
func parse(args []string) (options, error) {
	var o options
	fs := pflag.NewFlagSet("machine-os-builder", pflag.ContinueOnError)
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; empty for the pod's own ServiceAccount")
	fs.StringVar(&o.namespace, "namespace", api.DefaultNamespace, "namespace of the settings and the build objects")
	fs.StringVar(&o.builderImage, "builder-image", "", "pullspec of the image that build pods run (required)")
	fs.StringVar(&o.healthAddress, "health-address", ":8081", "host:port that serves /healthz and /readyz")
	fs.StringVar(&o.metricsAddress, "metrics-address", ":8080", "host:port that serves /metrics; empty for none")
	fs.StringSliceVar(&o.controllers, "controllers", defaultControllers, "the loops to run, of "+strings.Join(controllerNames(), ", ")+
		"; render and poolstatus are for clusters where nobody else renders configs")
	fs.BoolVar(&o.leaderElect, "leader-elect", true, "work only while holding the lease")
	fs.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long the lease of a leader that died is respected")
	fs.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second, "how long a leader tries to renew before it gives up")
	fs.DurationVar(&o.retryPeriod, "leader-elect-retry-period", 2*time.Second, "how often the lease is tried for")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	logFlags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logFlags)
	for _, name := range []string{"v", "vmodule"} {
		fs.AddGoFlag(logFlags.Lookup(name))
	}
	fs.SetOutput(os.Stdout)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(fs.Args())
}

func (o options) validate(rest []string) error {
	if o.version {
		return nil
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(rest) > 0 {
		fail("unexpected arguments %q; there are only flags", rest)
	}
	if found := validation.IsDNS1123Label(o.namespace); len(found) > 0 {
		fail("--namespace=%q: %s", o.namespace, strings.Join(found, ", "))
	}
	if o.builderImage == "" {
		fail("--builder-image is required: the pullspec of the image that build pods run")
	} else if err := buildconfig.CheckPullspec(o.builderImage); err != nil {
		fail("--builder-image: %w", err)
	}
	for _, flag := range []struct {
		name, value string
		optional    bool
	}{{"health-address", o.healthAddress, false}, {"metrics-address", o.metricsAddress, true}} {
		if flag.value == "" && flag.optional {
			continue
		}
		if _, _, err := net.SplitHostPort(flag.value); err != nil {
			fail("--%s=%q: %w; use host:port or :port", flag.name, flag.value, err)
		}
	}
	errs = append(errs, checkControllers(o.controllers))
	if o.retryPeriod <= 0 || o.renewDeadline <= o.retryPeriod || o.leaseDuration <= o.renewDeadline {
		fail("--leader-elect-lease-duration=%s must be longer than --leader-elect-renew-deadline=%s, and that longer than --leader-elect-retry-period=%s, which must be above 0",
			o.leaseDuration, o.renewDeadline, o.retryPeriod)
	}
	return errors.Join(errs...)
}

func checkControllers(asked []string) error {
	known := strings.Join(controllerNames(), ", ")
	if len(asked) == 0 {
		return fmt.Errorf("--controllers is empty; use %s", known)
	}
	for _, name := range asked {
		if !slices.Contains(controllerNames(), name) {
			return fmt.Errorf("--controllers: %q is not known; use %s", name, known)
		}
	}
	return nil
}
