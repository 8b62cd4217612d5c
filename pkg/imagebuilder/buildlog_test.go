package imagebuilder

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

const custom = "FROM configs AS final\nRUN echo fine\n\nRUN echo before; \\\n  nosuchcommand --x\nCOPY --from=configs /a /b\n"

func rendered(t *testing.T, text string) *dockerfile.File {
	t.Helper()
	whole, err := dockerfile.Render(dockerfile.Configs{Base: "quay.io/base:1"}, text)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.ParseRendered(whole)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestS12FailingStepIsNamed(t *testing.T) {
	const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := []struct {
		name   string
		output string
		want   buildspec.Result
		shown  int // lines
	}{
		{
			name: "command",
			output: "[1/2] STEP 1/2: FROM quay.io/base:1 AS configs\n[1/2] STEP 2/2: ADD machine-config.tar /\n" +
				"Getting image source signatures\nCopying blob sha256:" + digest + "\nWriting manifest to image destination\n--> 4dcc3df0c683\n" +
				"[2/2] STEP 1/4: FROM 4dcc AS final\n[2/2] STEP 2/4: RUN echo fine\nfine\n" +
				"[2/2] STEP 3/4: RUN echo before;   nosuchcommand --x\nbefore\nsh: nosuchcommand: not found\n" +
				`Error: building at STEP "RUN echo before;   nosuchcommand --x": exit status 127` + "\n",
			want: buildspec.Result{
				Step: "RUN echo before;   nosuchcommand --x", Line: 4, ExitCode: 127, Log: []string{"before", "sh: nosuchcommand: not found"},
				Message: "step 3, line 4 of the custom Dockerfile, failed with exit code 127: RUN echo before;   nosuchcommand --x",
			},
			shown: 10,
		},
		{
			name:   "no command",
			output: "[2/2] STEP 4/4: COPY --from=configs /a /b\nError: building at STEP \"COPY --from=configs /a /b\": copier: stat: \"/a\": no such file or directory\n",
			want: buildspec.Result{
				Step: "COPY --from=configs /a /b", Line: 6, ExitCode: 125,
				Message: `step 4, line 6 of the custom Dockerfile, failed: COPY --from=configs /a /b: building at STEP "COPY --from=configs /a /b": copier: stat: "/a": no such file or directory`,
			},
			shown: 2,
		},
		{
			name:   "output without a line's end before the step",
			output: "[2/2] STEP 2/4: RUN echo fine\nno end[2/2] STEP 3/4: RUN echo before;   nosuchcommand --x\nError: building at STEP \"RUN\": exit status 1\n",
			want: buildspec.Result{
				Step: "RUN echo before;   nosuchcommand --x", Line: 4, ExitCode: 1,
				Message: "step 3, line 4 of the custom Dockerfile, failed with exit code 1: RUN echo before;   nosuchcommand --x",
			},
			shown: 3,
		},
		{
			name:   "a step that is not the administrator's",
			output: "[1/2] STEP 2/2: ADD machine-config.tar /\nError: building at STEP \"ADD machine-config.tar /\": no space left on device\n",
			want: buildspec.Result{
				Step: "ADD machine-config.tar /", ExitCode: 125,
				Message: `the step failed: ADD machine-config.tar /: building at STEP "ADD machine-config.tar /": no space left on device`,
			},
			shown: 2,
		},
		{
			name:   "before the first step",
			output: "Error: no such image\n",
			want:   buildspec.Result{Message: "running the Dockerfile: buildah build: exit status 125: Error: no such image"},
			shown:  1,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log, all, shown := buildah.NewLog(), buildah.NewTail(), 0
			for line := range strings.Lines(test.output) {
				line = strings.TrimSuffix(line, "\n")
				all.Add(line)
				if log.Add(line) {
					shown++
				}
			}
			err := buildFailure(&buildah.ExitError{Command: "build", Code: 125, Log: all.End()}, log, rendered(t, custom), "linux/"+runtime.GOARCH)
			got := Report(buildspec.Result{}, err)
			if got.Reason != api.ReasonBuildFailed || got.Succeeded || got.Message != test.want.Message ||
				got.Step != test.want.Step || got.Line != test.want.Line || got.ExitCode != test.want.ExitCode || !slices.Equal(got.Log, test.want.Log) {
				t.Errorf("result = %+v\nwant %+v", got, test.want)
			}
			if shown != test.shown {
				t.Errorf("%d lines shown, want %d", shown, test.shown)
			}
		})
	}
}

func TestS12StepOfAnotherStageIsNamedWithIt(t *testing.T) {
	const stages = "FROM quay.io/tools:1 AS tools\nRUN make\n\nFROM quay.io/more:1\nRUN make more\nFROM configs AS final\nRUN true\n"
	for line, want := range map[string]string{
		"[2/4] STEP 2/2: RUN make":      "step 2 of stage tools, line 2 of the custom Dockerfile, failed with exit code 2: RUN make",
		"[3/4] STEP 2/2: RUN make more": "step 2, line 5 of the custom Dockerfile, failed with exit code 2: RUN make more",
		"[4/4] STEP 2/2: RUN true":      "step 2, line 7 of the custom Dockerfile, failed with exit code 2: RUN true",
	} {
		log := buildah.NewLog()
		log.Add(line)
		if err := buildFailure(&buildah.ExitError{Command: "build", Code: 2}, log, rendered(t, stages), "linux/"+runtime.GOARCH); err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func TestLogKeepsTheLastLines(t *testing.T) {
	log := buildah.NewLog()
	log.Add("[2/2] STEP 2/4: RUN yes")
	for range 1000 {
		log.Add("y")
	}
	log.Add("last")
	if lines := log.Output.End(); len(lines) != buildah.TailLines || lines[buildah.TailLines-1] != "last" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// privateKey is what a step prints that is careless, for a key of 4096 bits.
func privateKey() []string {
	lines := []string{"-----BEGIN PRIVATE KEY-----"}
	for i := range 50 {
		lines = append(lines, strings.Repeat(string(rune('A'+i%26)), 63)+"/")
	}
	return append(lines, "c2hvcnQ=", "-----END PRIVATE KEY-----")
}

// TestOutputIsRedactedBeforeItIsCut: of a key that is longer than what is kept,
// nothing is left, wherever it ends.
func TestOutputIsRedactedBeforeItIsCut(t *testing.T) {
	for _, behind := range [][]string{nil, {"sh: exit 1"}, slices.Repeat([]string{"after it"}, buildah.TailLines-2)} {
		for _, cut := range []int{0, 1, 3} { // lines that the step does not come to print
			log, all := buildah.NewLog(), buildah.NewTail()
			key := privateKey()
			output := slices.Concat([]string{"[2/2] STEP 3/4: RUN echo before;   nosuchcommand --x", "login with password=hunter2 it is"}, key[:len(key)-cut], behind)
			for _, line := range output {
				all.Add(line)
				log.Add(line)
			}
			err := buildFailure(&buildah.ExitError{Command: "build", Code: 1, Log: all.End()}, log, rendered(t, custom), "linux/"+runtime.GOARCH)
			report := Report(buildspec.Result{}, err)
			want := append([]string{"login with password=[redacted] it is", "[redacted]"}, behind...)
			if !slices.Equal(report.Log, want) {
				t.Errorf("with %d lines behind it, cut by %d, the log is %q", len(behind), cut, report.Log)
			}
			if end := all.End(); !slices.Equal(end[len(end)-len(want)+1:], want[1:]) {
				t.Errorf("with %d lines behind it, cut by %d, the error has %q", len(behind), cut, end)
			}
		}
	}
}

// TestReportHoldsNoSecret: a Dockerfile and what buildah says of it have them, too.
func TestReportHoldsNoSecret(t *testing.T) {
	step := &FailedStep{Text: "RUN TOKEN=abc123 make", Log: []string{"\x1b[31mhttps://u:p@example.com\x1b[0m"}}
	report := Report(buildspec.Result{}, &Failure{Reason: api.ReasonBuildFailed, Err: errors.New("the step failed: RUN TOKEN=abc123 make\x1b[2J"), Step: step})
	if report.Step != "RUN TOKEN=[redacted] make" || report.Message != "the step failed: RUN TOKEN=[redacted] make" || report.Log[0] != "https://[redacted]@example.com" {
		t.Errorf("report = %+v", report)
	}
}

func TestFailureOfAnotherKindIsPassedOn(t *testing.T) {
	cause := errors.New("starting buildah: not found")
	if err := buildFailure(cause, buildah.NewLog(), rendered(t, custom), "linux/"+runtime.GOARCH); !errors.Is(err, cause) {
		t.Errorf("error = %v", err)
	}
}
