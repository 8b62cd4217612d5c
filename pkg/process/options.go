package process

import (
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// Options are the common flags.
type Options struct {
	Kubeconfig     string
	HealthAddress  string
	MetricsAddress string
	LeaderElect    bool
	LeaseDuration  time.Duration
	RenewDeadline  time.Duration
	RetryPeriod    time.Duration
	// Version asks for the version alone.
	Version bool
}

// AddFlags declares the flags, and those of the logs.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file; empty for the pod's own ServiceAccount")
	fs.StringVar(&o.HealthAddress, "health-address", ":8081", "host:port that serves /healthz and /readyz")
	fs.StringVar(&o.MetricsAddress, "metrics-address", ":8080", "host:port that serves /metrics; empty for none")
	fs.BoolVar(&o.LeaderElect, "leader-elect", true, "work only while holding the lease")
	fs.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long the lease of a leader that died is respected")
	fs.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", 10*time.Second, "how long a leader tries to renew before it gives up")
	fs.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", 2*time.Second, "how often the lease is tried for")
	fs.BoolVar(&o.Version, "version", false, "print the version and exit")
	logFlags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logFlags)
	for _, name := range []string{"v", "vmodule"} {
		fs.AddGoFlag(logFlags.Lookup(name))
	}
}

// Problems are all that is wrong with them.
func (o Options) Problems() (errs []error) {
	for _, flag := range []struct {
		name, value string
		optional    bool
	}{{"health-address", o.HealthAddress, false}, {"metrics-address", o.MetricsAddress, true}} {
		if flag.value == "" && flag.optional {
			continue
		}
		if _, _, err := net.SplitHostPort(flag.value); err != nil {
			errs = append(errs, fmt.Errorf("--%s=%q: %w; use host:port or :port", flag.name, flag.value, err))
		}
	}
	if o.RetryPeriod <= 0 || o.RenewDeadline <= o.RetryPeriod || o.LeaseDuration <= o.RenewDeadline {
		errs = append(errs, fmt.Errorf("--leader-elect-lease-duration=%s must be longer than --leader-elect-renew-deadline=%s, and that longer than --leader-elect-retry-period=%s, which must be above 0",
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod))
	}
	return errs
}
