package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/process"
)

// options are the command's flags.
type options struct {
	process.Options
	namespace    string
	builderImage string
	controllers  []string
}

// parse reads and checks the flags; its error names everything that is wrong.
func parse(args []string) (options, error) {
	var o options
	fs := pflag.NewFlagSet("machine-os-builder", pflag.ContinueOnError)
	o.AddFlags(fs)
	fs.StringVar(&o.namespace, "namespace", api.DefaultNamespace, "namespace of the settings and the build objects")
	fs.StringVar(&o.builderImage, "builder-image", "", "pullspec of the image that build pods run (required)")
	fs.StringSliceVar(&o.controllers, "controllers", defaultControllers, "the loops to run, of "+strings.Join(controllerNames(), ", ")+
		"; render and poolstatus are for clusters where nobody else renders configs")
	fs.SetOutput(os.Stdout)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
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
	if found := validation.IsDNS1123Label(o.namespace); len(found) > 0 {
		fail("--namespace=%q: %s", o.namespace, strings.Join(found, ", "))
	}
	if o.builderImage == "" {
		fail("--builder-image is required: the pullspec of the image that build pods run")
	} else if err := buildconfig.CheckPullspec(o.builderImage); err != nil {
		fail("--builder-image: %w", err)
	}
	errs = append(errs, checkControllers(o.controllers))
	errs = append(errs, o.Problems()...)
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
