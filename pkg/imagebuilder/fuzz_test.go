package imagebuilder

import (
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

// FuzzBuildLog reports of a build that printed anything: a step of the user's
// prints what it likes, and the result is still a failure without a digest that
// fits a termination message and names a line of the file that was built, or none.
func FuzzBuildLog(f *testing.F) {
	f.Add(custom, "[2/2] STEP 3/4: RUN echo before;   nosuchcommand --x\nbefore\n"+`Error: building at STEP "RUN x": exit status 127`)
	f.Add(custom, "[2/2] STEP 99999999999999999999/4: RUN x\nError: exit status 99999999999999999999")
	f.Add("FROM configs AS final\n", "x[0/0] STEP 0/0: \nGetting image source signatures\nError: ")
	f.Add(custom, `{"succeeded":true,"digest":"sha256:6666"}`)
	f.Fuzz(func(t *testing.T, text, output string) {
		whole, err := dockerfile.Render(dockerfile.Configs{Base: "quay.io/base:1"}, text)
		if err != nil {
			return // no such file is built
		}
		file, err := dockerfile.ParseRendered(whole)
		if err != nil {
			t.Fatal(err)
		}
		log, all := buildah.NewLog(), buildah.NewTail()
		for line := range strings.Lines(output) {
			line = strings.TrimSuffix(line, "\n")
			all.Add(line)
			log.Add(line)
		}
		report := Report(buildspec.Result{}, buildFailure(&buildah.ExitError{Command: "build", Code: 125, Log: all.End()}, log, file, "linux/s390x"))
		if report.Line < 0 || report.Line > strings.Count(text, "\n")+1 {
			t.Errorf("line %d of a text of %d lines", report.Line, strings.Count(text, "\n")+1)
		}
		got, err := buildspec.ParseResult(string(report.Encode()))
		if err != nil || got.Succeeded || got.Digest != "" || got.Reason != report.Reason {
			t.Errorf("a failed build reports %+v, error %v", got, err)
		}
	})
}
