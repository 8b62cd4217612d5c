package main

import (
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

const image = "--builder-image=registry.example.com/builder:1"

func TestParse(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		says []string // parts of the error; nil for none
	}{
		"the least":    {[]string{image}, nil},
		"all":          {[]string{image, "--git-image=registry.example.com/git:1", "--namespace=ns", "--lease-namespace=ns", "--proxy-secret=proxy", "--allowed-uids=1-", "--leader-elect=false", "-v=4"}, nil},
		"version":      {[]string{"--version"}, nil},
		"no image":     {nil, []string{"--builder-image is required"}},
		"unknown flag": {[]string{image, "--privileged"}, []string{"privileged"}},
		"all problems at once": {
			[]string{"--builder-image=:", "--git-image=A B", "--namespace=Not A Name", "--lease-namespace=", "--proxy-secret=/", "--allowed-uids=root", "--health-address=x", "--leader-elect-retry-period=1h", "surplus"},
			[]string{"--builder-image", "--git-image", `--namespace="Not A Name"`, `--lease-namespace=""`, `--proxy-secret="/"`, `--allowed-uids: allowed users "root"`, "--health-address", "--leader-elect-retry-period=1h", `"surplus"`},
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

func TestDefaults(t *testing.T) {
	o, err := parse([]string{image})
	if err != nil {
		t.Fatal(err)
	}
	if o.namespace != "" || o.leaseNamespace != api.DefaultNamespace || o.gitImage != o.builderImage || !o.LeaderElect {
		t.Errorf("defaults %+v", o)
	}
}
