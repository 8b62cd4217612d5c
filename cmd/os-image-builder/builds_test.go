package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

func TestBuildFlags(t *testing.T) {
	prepare := []string{"prepare-build", "--work-dir=/w", "--storage-dir=/s"}
	for name, test := range map[string]struct {
		args []string
		want []string // parts of the error; none for good
	}{
		"fetch":         {[]string{"fetch-source", "--work-dir=/w", "--source-secret-dir=/d", "--ca-file=/a", "--ca-file=/b", "--proxy-dir=/p"}, nil},
		"prepare":       {append(prepare, "--pull-secret-dir=/a", "--push-secret-dir=/b", "--image-secret-dir=0=/c", "--secret-input=s=/d", "--config-map-input=c=/e", "--registries-conf=/f", "--allowed-uids=1-"), nil},
		"run":           {[]string{"run-build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--volume=v=/d:/etc/x"}, nil},
		"push":          {[]string{"push-build", "--work-dir=/w", "--handover-dir=/h", "--push-secret-dir=/d", "--max-bytes=5"}, nil},
		"nothing given": {[]string{"run-build"}, []string{"--work-dir is required", "--storage-dir is required", "--handover-dir is required"}},
		"credentials for steps": {
			[]string{"run-build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--pull-secret-dir=/d"}, []string{"unknown flag: --pull-secret-dir"},
		},
		"bad pairs": {
			append(prepare, "--image-secret-dir=x=/c", "--image-secret-dir=-1=/c", "--secret-input=s", "--config-map-input==/e", "--allowed-uids=2-1"),
			[]string{`--image-secret-dir "x=/c"`, `--image-secret-dir "-1=/c"`, `--secret-input "s"`, `--config-map-input "=/e"`, `--allowed-uids: allowed users "2-1"`},
		},
		"bad volume": {[]string{"run-build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--volume=v=/d:x", "--volume=../v=/d:/x"}, []string{`--volume "v=/d:x"`, `--volume "../v=/d:/x"`}},
		"bad limit":  {[]string{"push-build", "--work-dir=/w", "--handover-dir=/h", "--max-bytes=0", "more"}, []string{"--max-bytes 0", `unexpected argument "more"`}},
	} {
		t.Run(name, func(t *testing.T) {
			options, err := parse(test.args)
			if len(test.want) == 0 && (err != nil || options.run == nil || options.steps == 0) {
				t.Fatalf("options = %+v, %v", options, err)
			}
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want it to contain %q", err, want)
				}
			}
		})
	}
}

// TestBuildCommandsReport: whatever is wrong, the executor can read what.
func TestBuildCommandsReport(t *testing.T) {
	for name, test := range map[string]struct {
		build string
		args  []string
		want  string
	}{
		"flags":       {"{}", []string{"run-build"}, "--work-dir is required"},
		"no JSON":     {"[]", []string{"push-build", "--work-dir=/nonexistent", "--handover-dir=/nonexistent"}, "reading the Build from BUILD"},
		"no plan":     {"{}", []string{"push-build", "--work-dir=/nonexistent", "--handover-dir=/nonexistent"}, "reading plan.json"},
		"no git":      {"{}", []string{"fetch-source", "--work-dir=/nonexistent"}, "the Build has no spec.source.git"},
		"no strategy": {"{}", []string{"prepare-build", "--work-dir=" + t.TempDir(), "--storage-dir=" + t.TempDir()}, "neither spec.strategy.dockerStrategy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(api.EnvBuild, test.build)
			path := filepath.Join(t.TempDir(), "message")
			var out bytes.Buffer
			code := run(context.Background(), append(test.args, "--termination-message-path="+path), &out)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			report, err := buildreport.Parse(string(content))
			if err != nil || code != 1 || report.Succeeded || report.Reason == "" || len(report.Log) == 0 || !strings.Contains(report.Log[0], test.want) {
				t.Errorf("code %d, report %+v, %v", code, report, err)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("log: %s", out.String())
			}
		})
	}
}
