package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

var sum = strings.Repeat("ab", 32)

func TestParse(t *testing.T) {
	appendFlags := []string{"append", "--machine-config-dir=/c", "--machine-config-sha256=" + sum, "--base-image=quay.io/a/b:1", "--final-image=10.0.0.1:5000/os/final:rendered-1"}
	pushFlags := []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1"}
	tests := []struct {
		name string
		args []string
		want []string // parts of the error; none: accepted
	}{
		{"append", append(appendFlags, "--label=a=b", "--label=c=d=e", "--label=e=", "--ca-file=/ca", "--pull-secret-dir=/p", "--pull-secret-dir=/q", "--push-secret-dir=/s"), nil},
		{"prepare", append(append([]string{"prepare"}, appendFlags[1:]...), "--work-dir=/w", "--storage-dir=/s", "--dockerfile-dir=/d", "--dockerfile-sha256="+sum), nil},
		{"build", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h"}, nil},
		{"push", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--push-secret-dir=/p", "--label=a=b"}, nil},
		{"prepare with a cache", append(append([]string{"prepare"}, appendFlags[1:]...), "--work-dir=/w", "--storage-dir=/s", "--dockerfile-dir=/d", "--dockerfile-sha256="+sum, "--build-cache="+sum[:40]), nil},
		{"prepare with any cache", append(append([]string{"prepare"}, appendFlags[1:]...), "--work-dir=/w", "--storage-dir=/s", "--dockerfile-dir=/d", "--dockerfile-sha256="+sum, "--build-cache=worker"), []string{`--build-cache "worker"`}},
		{"build with a cache of its own choice", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--build-cache=" + sum[:40]}, []string{"build-cache"}},
		{"no command", nil, []string{"no command", "append, prepare, build, push"}},
		{"unknown command", []string{"pull"}, []string{`unknown command "pull"`, "append, prepare, build, push"}},
		{
			"all problems at once",
			[]string{"append", "--machine-config-sha256=xyz", "--base-image=UPPER", "--final-image=quay.io/a/b@sha256:" + sum, "--label=nope", "surplus"},
			[]string{"--machine-config-dir is required", "--machine-config-sha256", "--base-image", "--final-image", `--label "nope"`, `unexpected argument "surplus"`},
		},
		{"final image without a tag", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b"}, []string{"--final-image"}},
		{"push with a limit", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--max-bytes=21474836480"}, nil},
		{"push with a limit that lets nothing through", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--max-bytes=0"}, []string{"--max-bytes 0 is not above 0"}},
		{"push with a config", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--machine-config-dir=/c", "--machine-config-sha256=" + strings.Repeat("0", 64)}, nil},
		{"push with a config without its hash", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--machine-config-dir=/c"}, []string{"go together"}},
		{"push takes no store", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--storage-dir=/s", "--final-image=quay.io/a/b:1"}, []string{"storage-dir"}},
		{"prepare for an architecture", append(append([]string{"prepare"}, appendFlags[1:]...), "--work-dir=/w", "--storage-dir=/s", "--dockerfile-dir=/d", "--dockerfile-sha256="+sum, "--architecture=arm64"), nil},
		{"push into an index", append(pushFlags, "--architecture=arm64", "--architectures=amd64,arm64", "--run=1"), nil},
		{"push of an architecture without the others", append(pushFlags, "--architecture=arm64", "--run=1"), []string{"go together"}},
		{"push into an index of any run", append(pushFlags, "--architecture=arm64", "--architectures=amd64,arm64"), []string{"go together"}},
		{"push into an index of others", append(pushFlags, "--architecture=s390x", "--architectures=amd64,arm64", "--run=1"), []string{`"s390x" is not among`}},
		{"push for what is no architecture", append(pushFlags, "--architecture=arm/64", "--architectures=arm/64", "--run=1"), []string{`"arm/64" is no architecture`}},
		{"append for an architecture", append(appendFlags, "--architecture=arm64"), []string{"architecture"}},
		{"append by zstd", append(appendFlags, "--layer-compression=zstd"), nil},
		{"build by gzip", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--layer-compression=gzip"}, nil},
		{"build by what is not known", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--layer-compression=xz"}, []string{`--layer-compression: unknown compression "xz", want gzip or zstd`}},
		{"build takes no credential", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--push-secret-dir=/p"}, []string{"push-secret-dir"}},
		{"append in a disconnected cluster", append(appendFlags, "--ca-file=/ca", "--ca-file=/more", "--registries-conf=/r", "--registries-conf-sha256="+sum, "--proxy-dir=/p"), nil},
		{"mirrors without their hash", append(appendFlags, "--registries-conf=/r"), []string{"go together"}},
		{"build through a proxy", []string{"build", "--work-dir=/w", "--storage-dir=/s", "--handover-dir=/h", "--proxy-dir=/p"}, nil},
		{"push takes no mirrors", []string{"push", "--work-dir=/w", "--handover-dir=/h", "--final-image=quay.io/a/b:1", "--registries-conf=/r"}, []string{"registries-conf"}},
		{"unknown flag", append(appendFlags, "--insecure"), []string{"insecure"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options, err := parse(test.args)
			if len(test.want) == 0 {
				if err != nil || options.run == nil || options.steps == 0 {
					t.Errorf("options = %+v, %v", options, err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestRunWritesATerminationMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	var out bytes.Buffer
	code := run(context.Background(), []string{"build", "--work-dir=/nonexistent", "--storage-dir=/nonexistent", "--handover-dir=/nonexistent", "--termination-message-path=" + path}, &out)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	result, err := buildspec.ParseResult(string(content))
	if err != nil || code != 1 || result.Succeeded || result.Reason != "BuildFailed" || !strings.Contains(result.Message, "build plan") {
		t.Errorf("code %d, result %+v, %v", code, result, err)
	}
	if !strings.Contains(out.String(), "failed (BuildFailed): ") {
		t.Errorf("log: %s", out.String())
	}
}

func TestFlagErrorsAreReportedToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	var out bytes.Buffer
	code := run(context.Background(), []string{"append", "--termination-message-path=" + path}, &out)
	content, err := os.ReadFile(path)
	if err != nil || code != 1 || !strings.Contains(string(content), "--base-image is required") {
		t.Errorf("code %d, message %s, %v", code, content, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"append", "--help"}} {
		var out bytes.Buffer
		if code := run(context.Background(), args, &out); code != 0 || !strings.Contains(out.String(), "os-image-builder prepare: ") {
			t.Errorf("%v: code %d, %s", args, code, out.String())
		}
	}
}
