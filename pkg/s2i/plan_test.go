package s2i

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestPlanRefuses(t *testing.T) {
	labelled := func(pairs ...string) func(*Options) {
		return func(o *Options) {
			o.Builder.Labels = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				o.Builder.Labels[pairs[i]] = pairs[i+1]
			}
		}
	}
	source := func(name string, f *fstest.MapFile) func(*Options) {
		return func(o *Options) { o.Source = fstest.MapFS{name: f, "outside/secret": file("secret")} }
	}
	in := func(dir string) func(*Options) {
		return func(o *Options) {
			o.ContextDir = dir
			o.Source = fstest.MapFS{"file": file("x"), "out": link("../etc"), "root": link("/etc"), "circle": link("circle"), "gone": link("nothing")}
		}
	}
	env := func(name, value string) func(*Options) {
		return func(o *Options) { o.Env = []corev1.EnvVar{{Name: name, Value: value}} }
	}
	label := func(name, value string) func(*Options) {
		return func(o *Options) { o.Labels = []buildv1.ImageLabel{{Name: name, Value: value}} }
	}
	for name, test := range map[string]struct {
		change func(*Options)
		reason buildv1.StatusReason
		want   string
	}{
		"no builder":             {func(o *Options) { o.Builder.Name = "" }, ReasonGenericFailed, `builder image "" is no image reference`},
		"builder with a step":    {func(o *Options) { o.Builder.From = "a\nRUN x" }, ReasonGenericFailed, `builder image "a\nRUN x" is no image reference`},
		"builder of a variable":  {func(o *Options) { o.Builder.Name = "$x" }, ReasonGenericFailed, `builder image "$x" is no`},
		"previous with a step":   {func(o *Options) { o.Previous = "a AS b" }, ReasonGenericFailed, `previous image "a AS b" is no`},
		"builder called cached":  {func(o *Options) { o.Builder.Name, o.Previous = "cached", "a" }, ReasonGenericFailed, `builder image "cached" has the name of a stage`},
		"triggers":               {triggers("USER root", "RUN id"), ReasonGenericFailed, `builder image "registry.example.com/builders/static:1" has ONBUILD instructions: "USER root", "RUN id"; they would run`},
		"many triggers":          {triggers("USER 0", "RUN a", "RUN b", "RUN c"), ReasonGenericFailed, `has ONBUILD instructions: "USER 0", "RUN a", "RUN b" and 1 more; they`},
		"a long trigger":         {triggers("RUN " + strings.Repeat("é", 200)), ReasonGenericFailed, `"RUN ` + strings.Repeat("é", 56) + `…"; they`},
		"user with a step":       {func(o *Options) { o.Builder.User = "1001\nRUN x" }, ReasonGenericFailed, `USER: "1001\nRUN x" is no user`},
		"user of a variable":     {labelled("io.openshift.s2i.assemble-user", "$x"), ReasonGenericFailed, `label io.openshift.s2i.assemble-user: "$x" is no user`},
		"root is not allowed":    {allowed("1-", "0:0"), ReasonAssembleUserForbidden, `USER: assemble would run as "0", and only users with a number in 1- are allowed`},
		"a name is not allowed":  {allowed("0-", "default"), ReasonAssembleUserForbidden, `assemble would run as "default"`},
		"not in a range":         {allowed("5,10-20", "21"), ReasonAssembleUserForbidden, `in 5,10-20 are allowed`},
		"destination":            {labelled("io.openshift.s2i.destination", "opt"), ReasonDockerfileCreationFailed, `label io.openshift.s2i.destination: the folder "opt" is not absolute`},
		"destination of lines":   {labelled("io.openshift.s2i.destination", "/a\nb"), ReasonDockerfileCreationFailed, `the folder "/a\nb" has a character`},
		"working directory":      {func(o *Options) { o.Builder.WorkingDir = "srv" }, ReasonDockerfileCreationFailed, `working directory: the folder "srv" is not`},
		"scripts of a file":      {func(o *Options) { o.Scripts = "file:///etc" }, ReasonFetchScriptsFailed, `spec.strategy.sourceStrategy.scripts "file:///etc": use http://`},
		"scripts of a host only": {func(o *Options) { o.Scripts = "https:///x" }, ReasonFetchScriptsFailed, `use http://`},
		"scripts of no URL":      {func(o *Options) { o.Scripts = "http://u:secret@h:x/" }, ReasonFetchScriptsFailed, `it is no URL`},
		"image scripts":          {func(o *Options) { o.Scripts = "image://usr" }, ReasonFetchScriptsFailed, `the folder "usr" is not absolute`},
		"label of a file":        {labelled("io.openshift.s2i.scripts-url", "file:///x"), ReasonFetchScriptsFailed, `label io.openshift.s2i.scripts-url "file:///x": use http`},
		"deprecated label":       {labelled("io.s2i.scripts-url", "x"), ReasonFetchScriptsFailed, `label io.s2i.scripts-url "x": use http`},
		"none was fetched": {func(o *Options) {
			o.Scripts = "https://u:secret@h/s?token=secret"
			o.Source = fstest.MapFS{".s2i/bin/assemble": program("x")}
			o.Fetched = map[string]Fetched{"run": {URL: "https://other/run"}}
		}, ReasonFetchScriptsFailed, `"https://u:xxxxx@h/s": none of assemble, run, save-artifacts is there`},
		"no assemble": {func(o *Options) {
			o.Builder.HasFile = func(name string) bool { return name != "/usr/libexec/s2i/assemble" }
		}, ReasonFetchScriptsFailed, `has no /usr/libexec/s2i/assemble; set spec.strategy.sourceStrategy.scripts, add .s2i/bin/assemble`},
		"no assemble there": {func(o *Options) {
			o.Scripts = "image:///s"
			o.Source = fstest.MapFS{".s2i/bin/assemble": program("does not count")}
			o.Builder.HasFile = func(name string) bool { return name != "/s/assemble" }
		}, ReasonFetchScriptsFailed, `has no /s/assemble`},
		"context dir":            {in("a"), buildv1.StatusReasonInvalidContextDirectory, `spec.source.contextDir "a" is not in the source`},
		"context dir above":      {in("a/../.."), buildv1.StatusReasonInvalidContextDirectory, `leads out of the source`},
		"context dir of a file":  {in("file"), buildv1.StatusReasonInvalidContextDirectory, `is no folder`},
		"context dir by a link":  {in("out"), buildv1.StatusReasonInvalidContextDirectory, `a symbolic link leads out of the source`},
		"context dir at root":    {in("root"), buildv1.StatusReasonInvalidContextDirectory, `a symbolic link leads out of the source`},
		"context dir in circles": {in("circle"), buildv1.StatusReasonInvalidContextDirectory, `links lead in a circle`},
		"context dir gone":       {in("gone"), buildv1.StatusReasonInvalidContextDirectory, `is not in the source`},
		"script from outside":    {source(".s2i/bin/assemble", link("/run/secrets/token")), ReasonFetchScriptsFailed, `reading .s2i/bin/assemble of the source: a symbolic link leads out`},
		"folder from outside":    {source(".s2i", link("../../etc")), ReasonFetchScriptsFailed, `reading .s2i/bin/assemble of the source: a symbolic link leads out`},
		"ignore from outside":    {source(".s2iignore", link("../x")), ReasonFileSystemFailed, `reading .s2iignore of the source: a symbolic link leads out`},
		"script is a folder":     {source(".s2i/bin/run/x", file("")), ReasonFetchScriptsFailed, `reading .s2i/bin/run of the source: it is no file, but a folder`},
		"environment outside":    {source(".s2i/environment", link("/proc/self/environ")), ReasonFileSystemFailed, `reading .s2i/environment of the source: a symbolic link`},
		"environment is large":   {source(".s2i/environment", file(strings.Repeat("#", 1<<20+1))), ReasonFileSystemFailed, `it has 1048577 bytes, and may have 1048576`},
		"environment":            {source(".s2i/environment", file("A=1\nB\n")), ReasonDockerfileCreationFailed, `.s2i/environment:2: the line has no "="`},
		"ignore":                 {source(".s2iignore", file("[")), ReasonGenericFailed, `.s2iignore:1: "[" is no pattern`},
		"links not to be seen":   {func(o *Options) { o.Source = struct{ fs.FS }{o.Source} }, ReasonFileSystemFailed, `cannot tell links from files`},
		"named pipe":             {source("a/pipe", &fstest.MapFile{Mode: fs.ModeNamedPipe}), ReasonFileSystemFailed, `a/pipe is a named pipe, and only`},
		"name that is no text":   {source("a/\xff", file("")), ReasonFileSystemFailed, `"a/\xff" has a name that is not UTF-8`},
		"variable":               {env("a b", "secret"), ReasonDockerfileCreationFailed, `"a b" is no name of an environment variable`},
		"variable with a step":   {env("A", "secret\nRUN x"), ReasonDockerfileCreationFailed, `variable A: its value has a line break`},
		"label":                  {label("", "x"), ReasonDockerfileCreationFailed, `"" is no name of a label`},
		"label with =":           {label("a=b", "x"), ReasonDockerfileCreationFailed, `"a=b" is no name of a label`},
		"label of lines":         {label("a", "secret\n"), ReasonDockerfileCreationFailed, `label a: its value has a line break`},
		"label is long":          {label("a", strings.Repeat("$", 1<<15)), ReasonDockerfileCreationFailed, `label a: its value has 32768 bytes`},
		"secret's name":          {func(o *Options) { o.Secrets = []Injection{{Name: "../x", Keys: mounted()}} }, ReasonGenericFailed, `spec.source.secrets[0]: "../x": no name`},
		"secret's destination": {func(o *Options) {
			o.Secrets = []Injection{{Name: "x", Destination: "a\nb", Keys: mounted()}}
		}, ReasonGenericFailed, `spec.source.secrets[0]: "x": destinationDir: the folder`},
		"key is a folder": {func(o *Options) {
			o.ConfigMaps = []Injection{{Name: "x", Keys: fstest.MapFS{"a/b": file("")}}}
		}, ReasonGenericFailed, `spec.source.configMaps[0]: "x": key "a" is no file, but a folder`},
		"key is gone": {func(o *Options) {
			o.ConfigMaps = []Injection{{Name: "x", Keys: fstest.MapFS{"a": link("..data/a")}}}
		}, ReasonGenericFailed, `spec.source.configMaps[0]: "x": reading key "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain()
			test.change(&o)
			layout, err := Plan(o)
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("error = %v, planned:\n%s", err, layout.Dockerfile)
			}
			if refused.Reason != test.reason || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret\n") || strings.Contains(err.Error(), ":secret@") || strings.Contains(err.Error(), "=secret") {
				t.Errorf("%s: %v, want %s: %s", refused.Reason, err, test.reason, test.want)
			}
		})
	}
}

// triggers gives the builder image ONBUILD instructions.
func triggers(instructions ...string) func(*Options) {
	return func(o *Options) { o.Builder.OnBuild = instructions }
}

// allowed runs assemble as a user where only some are allowed.
func allowed(uids, user string) func(*Options) {
	return func(o *Options) {
		o.Builder.User = user
		var err error
		if o.AllowedUIDs, err = ParseUIDs(uids); err != nil {
			panic(err)
		}
	}
}

func TestAllowedUIDs(t *testing.T) {
	for _, test := range []struct{ uids, user string }{
		{"", "default"}, {"0", "0"}, {"1-", "1001"}, {"-5", "0"}, {"3, 1000-1999", "1999"}, {"1-", ""}, {"0-4294967295", "4294967295"},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) { build(t, allowed(test.uids, test.user)) })
	}
	for _, uids := range []string{"-", ",", "1,", "a", "1-a", "5-4", "1-2-3", "-1-5", "4294967296", "+1"} {
		var refused *Error
		if got, err := ParseUIDs(uids); !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprintf("%q", uids)) {
			t.Errorf("%q was read as %v, error %v", uids, got, err)
		}
	}
}

// TestRealSource is on a real folder, in which files around the source could be read.
func TestRealSource(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	point := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "secret")
	write("source/v2/app/index.html", "x")
	write("source/shared/run.sh", "run")
	write("source/v2/app/.s2i/bin/keep", "")
	point("v2", "source/current")
	point("../../../../shared/run.sh", "source/v2/app/.s2i/bin/run")
	point("../../../token", "source/v2/app/token")
	point("/etc", "source/v2/app/etc")
	o := plain()
	o.Source, o.ContextDir = os.DirFS(source), "current/app"
	layout, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	want := `drwxr-xr-x upload
drwxr-xr-x upload/src
drwxr-xr-x upload/src/.s2i
drwxr-xr-x upload/src/.s2i/bin
-rw-r----- upload/src/.s2i/bin/keep: ""
Lrwxrwxrwx upload/src/etc -> /etc
-rw-r----- upload/src/index.html: "x"
Lrwxrwxrwx upload/src/token -> ../../../token
drwxr-xr-x upload/scripts
-rwxr-xr-x upload/scripts/run: "run"
`
	if got := listing(t, layout.Files); got != want {
		t.Errorf("files:\n%s\nwant:\n%s", got, want)
	}
	point("../../../../../token", "source/v2/app/.s2i/bin/assemble")
	if _, err := Plan(o); err == nil || !strings.Contains(err.Error(), "leads out of the source") {
		t.Errorf("a script from outside: error = %v", err)
	}
}
