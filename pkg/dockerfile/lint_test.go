package dockerfile_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

const final = "FROM configs AS final\n"

func TestS33Problems(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"good", final + "RUN true\n", nil},
		{"nothing", "", nil},
		{"white space", " \r\n\t\n", nil},
		{"comments only", "# syntax=docker/dockerfile:1\n# nothing yet\n", nil},
		{"lower case keywords", "from configs as final\nrun true\n", nil},
		{"no final stage", "FROM configs\nRUN true\n", []string{"line 1: the last stage must be FROM configs AS final"}},
		{"final is not last", final + "\nFROM quay.io/a/b AS late\n", []string{"line 3: the last stage must be FROM configs AS final"}},
		{"no FROM", "RUN true\n", []string{"line 1: RUN stands before the first FROM", "no FROM at all"}},
		{"only ARG", "ARG A=1\n", []string{"no FROM at all"}},
		{"final from elsewhere", "FROM quay.io/a/b AS final\n", []string{"line 1: the last stage must be"}},
		{"unknown instruction", final + "\nINSTALL vim\n", []string{`line 3: unknown instruction "INSTALL"`}},
		{"no arguments", final + "RUN\n", []string{"line 2: RUN has no arguments"}},
		{"FROM without image", "FROM\n" + final, []string{"line 1: FROM takes an image"}},
		{"FROM with too much", "FROM configs final\n", []string{"line 1: FROM takes an image", "line 1: the last stage"}},
		{"COPY with one argument", final + "COPY --from=configs /a\n", []string{"line 2: COPY needs at least one source"}},
		{"COPY heredoc", final + "COPY <<EOF /etc/motd\nhi\nEOF\n", nil},
		{"unterminated heredoc", final + "RUN true\nRUN <<EOF\necho\n", []string{"line 3: does not parse: unterminated heredoc"}},
		{"bad escape directive", "# escape=x\n" + final, []string{"line 1", "does not parse"}},
		{"repeated directive", "# escape=\\\n# escape=`\n" + final, []string{"line 2: does not parse"}},
		{"unknown stage in COPY", "FROM quay.io/a/b AS tools\nRUN make\n" + final + "COPY --from=tolos /x /x\n", []string{"line 4: COPY --from tolos: there is no stage of that name"}},
		{"unknown stage in FROM", "FROM bilder AS x\n" + final, []string{"line 1: FROM bilder: there is no stage"}},
		{"unknown stage in RUN", final + "RUN --mount=type=bind,from=nope,target=/x true\n", []string{"line 2: RUN --mount from nope"}},
		{"later stage", "FROM quay.io/a/b AS one\nCOPY --from=two / /\nFROM quay.io/a/b AS two\n" + final, []string{"line 2: COPY --from two: that stage begins further down"}},
		{"image in COPY", final + "COPY --from=quay.io/a/b:1 /x /x\n", nil},
		{"invalid image", "FROM quay.io/A/b:1 AS x\n" + final, []string{"line 1: FROM quay.io/A/b:1: not a valid image name"}},
		{"stage named configs", "FROM quay.io/a/b AS configs\n" + final, []string{`line 1: the stage name "configs" is taken`}},
		{"stage named Configs", "FROM quay.io/a/b AS Configs\n" + final, []string{`line 1: the stage name "configs" is taken`}},
		{"two of a name", "FROM quay.io/a/b AS x\nFROM quay.io/a/b AS x\n" + final, []string{`line 2: a stage named "x" exists already`}},
		{"misspelt case", "FROM Configs AS final\n", []string{"line 1: FROM Configs: write the stage's name as configs", "line 1: the last stage"}},
		{"scratch", "FROM scratch AS x\nCOPY --from=configs /etc /etc\n" + final, nil},
		{"number of an earlier stage", "FROM quay.io/a/b\n" + final + "COPY --from=1 /x /x\nCOPY --from=0 /y /y\n", nil},
		{"number of no stage", final + "COPY --from=1 /x /x\n", []string{"line 2: COPY --from=1: there is no earlier stage"}},
		{"variable with default", "ARG V=40\nFROM quay.io/fedora:${V} AS x\n" + final, nil},
		{"variable without default", "ARG V\nFROM $V AS x\n" + final, []string{"line 2: FROM $V is empty: give V a default value"}},
		{"ARG inside is not for FROM", "FROM quay.io/a/b AS x\nARG V=quay.io/c/d\nFROM ${V} AS y\n" + final, []string{"line 3: FROM ${V} is empty"}},
		{"platform variable", "FROM quay.io/a/b:${TARGETARCH} AS x\n" + final, nil},
		{"several at once", "FROM nope AS x\nBAD\nFROM configs\n", []string{"line 1: FROM nope", "line 2: unknown", "line 3: the last stage"}},
		{"windows line ends", "FROM configs AS final\r\nRUN true \\\r\n  && true\r\nNOPE x\r\n", []string{"line 4: unknown instruction"}},
		{"instructions in a heredoc are text", final + "RUN <<EOF\nFROM nothing\nNOPE\nEOF\n", nil},
		{"digest", "FROM quay.io/a/b@sha256:" + strings.Repeat("a", 64) + " AS x\n" + final, nil},
		{"buildah mount options", final + "RUN --mount=type=cache,target=/var/cache,z --network=none true\n", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := dockerfile.Parse(test.text)
			if len(test.want) == 0 {
				if err != nil {
					t.Fatalf("error = %v, want none", err)
				}
				return
			}
			var lint *dockerfile.LintError
			if !errors.As(err, &lint) {
				t.Fatalf("error = %v, want a LintError", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %q, want it to contain %q", err, want)
				}
			}
			if !slices.IsSortedFunc(lint.Problems, func(a, b dockerfile.Problem) int { return a.Line - b.Line }) {
				t.Errorf("problems are not sorted by line: %v", lint.Problems)
			}
		})
	}
}

func TestImages(t *testing.T) {
	text := `# escape=` + "`" + `
ARG REG=quay.io/org
ARG TAG
FROM ${REG}/tools:${TAG:-7} AS tools
ARG REG
ARG OTHER=${REG}/other:2
RUN --mount=type=bind,from=${OTHER},target=/o --mount=type=cache,target=/c true
FROM tools AS more
COPY --from=docker.io/library/busybox:1 /bin/sh /sh
COPY --from=docker.io/library/busybox:1 /bin/ls /ls
COPY --from=tools /a /a
` + final + `COPY --from=more /sh /sh
RUN --mount=type=bind,from=configs,target=/m true
`
	file, err := dockerfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"quay.io/org/tools:7", "quay.io/org/other:2", "docker.io/library/busybox:1"}
	if got, err := file.Images(runtime.GOARCH); err != nil || !slices.Equal(got, want) {
		t.Errorf("images = %v, %v, want %v", got, err, want)
	}
}

// TestImagesForAnArchitecture: what builders predefine is that of the image to make.
func TestImagesForAnArchitecture(t *testing.T) {
	file, err := dockerfile.Parse("FROM quay.io/tools:$TARGETARCH AS tools\nFROM --platform=$BUILDPLATFORM quay.io/make:$BUILDARCH AS make\n" +
		final + "ARG TARGETARCH\nCOPY --from=quay.io/more:${TARGETARCH} /a /a\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		want := []string{"quay.io/tools:" + architecture, "quay.io/make:" + runtime.GOARCH, "quay.io/more:" + architecture}
		if got, err := file.Images(architecture); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: images = %v, %v, want %v", architecture, got, err, want)
		}
	}
	for _, text := range []string{"", final} {
		file, err := dockerfile.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := file.Images("arm64"); err != nil || len(got) > 0 {
			t.Errorf("%q: images = %v, %v", text, got, err)
		}
	}
}

func TestNeedsBuild(t *testing.T) {
	tests := []struct {
		text           string
		content, needs bool
	}{
		{"", false, false},
		{"# later\n", false, false},
		{final, true, false},
		{"# hello\nARG A=1\n" + final, true, false},
		{final + "LABEL a=b\n", true, true},
		{"FROM quay.io/a/b AS x\n" + final, true, true},
	}
	for _, test := range tests {
		file, err := dockerfile.Parse(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if file.HasContent() != test.content || file.NeedsBuild() != test.needs {
			t.Errorf("%q: content %v, needs a build %v", test.text, file.HasContent(), file.NeedsBuild())
		}
	}
}

func TestFind(t *testing.T) {
	text := "ARG A=1\n\nFROM quay.io/a/b AS tools\n# comment\nRUN make \\\n    all\n\n" + final + "RUN true\nRUN <<EOF\necho\nEOF\nRUN true\n"
	rendered, err := dockerfile.Render(dockerfile.Configs{Base: "quay.io/base@sha256:" + strings.Repeat("b", 64)}, text)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.ParseRendered(rendered)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		stage, number int
		text          string
		want          dockerfile.Position
	}{
		{1, 1, "FROM quay.io/base AS configs", dockerfile.Position{}},
		{1, 2, "ADD machine-config.tar /", dockerfile.Position{}},
		{2, 1, "FROM quay.io/a/b AS tools", dockerfile.Position{Stage: "tools", Number: 1, Line: 3}},
		{2, 2, "RUN make     all", dockerfile.Position{Stage: "tools", Number: 2, Line: 5}},
		{3, 2, "RUN true", dockerfile.Position{Stage: "final", Number: 2, Line: 9}},
		{3, 3, "RUN <<EOF (echo...)", dockerfile.Position{Stage: "final", Number: 3, Line: 10}},
		{3, 4, "RUN true", dockerfile.Position{Stage: "final", Number: 4, Line: 13}},
		{0, 0, "RUN make all", dockerfile.Position{Stage: "tools", Number: 2, Line: 5}},
		{3, 99, "LABEL a=b", dockerfile.Position{}},
	}
	for _, test := range tests {
		at, found := file.Find(test.stage, test.number, test.text)
		if at != test.want || found != (test.want.Line > 0) {
			t.Errorf("Find(%d, %d, %q) = %+v, %v, want %+v", test.stage, test.number, test.text, at, found, test.want)
		}
	}
}
