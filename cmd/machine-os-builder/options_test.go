package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/process"
)

const image = "--builder-image=registry.example.com/builder:1"

func TestParse(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		says []string // parts of the error; nil for none
	}{
		"the least":                {[]string{image}, nil},
		"all":                      {[]string{image, "--kubeconfig=/k", "--namespace=ns", "--health-address=127.0.0.1:1", "--metrics-address=", "--leader-elect=false", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=1s", "-v=4", "--vmodule=x=2"}, nil},
		"version":                  {[]string{"--version"}, nil},
		"no image":                 {nil, []string{"--builder-image is required"}},
		"wrong image":              {[]string{"--builder-image=A B"}, []string{"--builder-image", `"A B"`}},
		"unknown flag":             {[]string{image, "--insecure"}, []string{"insecure"}},
		"no duration":              {[]string{image, "--leader-elect-lease-duration=soon"}, []string{"leader-elect-lease-duration"}},
		"lease as long as renewal": {[]string{image, "--leader-elect-lease-duration=10s"}, []string{"--leader-elect-lease-duration=10s must be longer"}},
		"retry period of nothing":  {[]string{image, "--leader-elect-retry-period=0s"}, []string{"--leader-elect-retry-period=0s"}},
		"all controllers":          {[]string{image, "--controllers=osbuild,retention,render,poolstatus"}, nil},
		"unknown controller":       {[]string{image, "--controllers=osbuild,rendering"}, []string{"--controllers", `"rendering"`, "render"}},
		"no controller":            {[]string{image, "--controllers="}, []string{"--controllers is empty"}},
		"no health address":        {[]string{image, "--health-address="}, []string{"--health-address"}},
		"all problems at once": {
			[]string{"--namespace=Not A Name", "--builder-image=:", "--health-address=8081", "--metrics-address=x:y:z", "--leader-elect-retry-period=1h", "surplus"},
			[]string{`--namespace="Not A Name"`, "--builder-image", `--health-address="8081"`, `--metrics-address="x:y:z"`, "--leader-elect-retry-period=1h", `"surplus"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(row.args)
			if (err != nil) != (row.says != nil) {
				t.Fatalf("error %v, want one: %v (%+v)", err, row.says != nil, o)
			}
			for _, want := range row.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
		})
	}
}

// TestErrorsAreInOrder: the same flags give the same text, which is read by people.
func TestErrorsAreInOrder(t *testing.T) {
	args := []string{image, "--health-address=1", "--metrics-address=2"}
	_, first := parse(args)
	for range 20 {
		if _, again := parse(args); again.Error() != first.Error() {
			t.Fatalf("%q, then %q", first, again)
		}
	}
}

func TestDefaults(t *testing.T) {
	got, err := parse([]string{image})
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Options: process.Options{
			HealthAddress: ":8081", MetricsAddress: ":8080", LeaderElect: true, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		},
		namespace: api.DefaultNamespace, builderImage: "registry.example.com/builder:1", controllers: []string{"osbuild", "retention", "basepoll"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
}
