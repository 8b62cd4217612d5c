package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/process"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

// options are the command's flags.
type options struct {
	process.Options
	namespace      string
	leaseNamespace string
	builderImage   string
	gitImage       string
	proxySecret    string
	allowedUIDs    string
}

// parse reads and checks the flags; its error names everything that is wrong.
func parse(args []string) (options, error) {
	var o options
	fs := pflag.NewFlagSet("build-executor", pflag.ContinueOnError)
	o.AddFlags(fs)
	fs.StringVar(&o.namespace, "namespace", "", "run the Builds of this namespace only; empty for all")
	fs.StringVar(&o.leaseNamespace, "lease-namespace", api.DefaultNamespace, "namespace of the leader lease")
	fs.StringVar(&o.builderImage, "builder-image", "", "pullspec of the image that the pods of Builds run (required)")
	fs.StringVar(&o.gitImage, "git-image", "", "pullspec of the image that fetches git repositories: the builder image with git and ssh; empty for the builder image")
	fs.StringVar(&o.proxySecret, "proxy-secret", "", "name of a Secret that a Build's namespace may have, with the keys "+
		strings.Join([]string{api.KeyHTTPProxy, api.KeyHTTPSProxy, api.KeyNoProxy}, ", ")+" of what its pods go through; empty for none")
	fs.StringVar(&o.allowedUIDs, "allowed-uids", "", "users, by their numbers, that source-to-image may run assemble as, such as 1- or 1000-1999,5000; empty for all")
	fs.SetOutput(os.Stdout)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.gitImage = cmp.Or(o.gitImage, o.builderImage)
	return o, o.validate(fs.Args())
}

func (o options) validate(rest []string) error {
	if o.Version {
		return nil
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(rest) > 0 {
		fail("unexpected arguments %q; there are only flags", rest)
	}
	if o.namespace != "" {
		if found := validation.IsDNS1123Label(o.namespace); len(found) > 0 {
			fail("--namespace=%q: %s", o.namespace, strings.Join(found, ", "))
		}
	}
	if found := validation.IsDNS1123Label(o.leaseNamespace); len(found) > 0 {
		fail("--lease-namespace=%q: %s", o.leaseNamespace, strings.Join(found, ", "))
	}
	if o.builderImage == "" {
		fail("--builder-image is required: the pullspec of the image that the pods of Builds run")
	} else if err := buildconfig.CheckPullspec(o.builderImage); err != nil {
		fail("--builder-image: %w", err)
	}
	if o.gitImage != o.builderImage {
		if err := buildconfig.CheckPullspec(o.gitImage); err != nil {
			fail("--git-image: %w", err)
		}
	}
	if o.proxySecret != "" {
		if found := validation.IsDNS1123Subdomain(o.proxySecret); len(found) > 0 {
			fail("--proxy-secret=%q: %s", o.proxySecret, strings.Join(found, ", "))
		}
	}
	if _, err := s2i.ParseUIDs(o.allowedUIDs); err != nil {
		fail("--allowed-uids: %w", err)
	}
	return errors.Join(append(errs, o.Problems()...)...)
}
