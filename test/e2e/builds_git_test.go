//go:build e2e

package e2e

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// ended waits until a Build has a last phase.
func (s *scenario) ended(name string) *buildv1.Build {
	s.t.Helper()
	var build *buildv1.Build
	s.eventually("Build "+name+" ends", func() (err error) {
		build, err = cluster.Build(s.ctx, name)
		if err == nil && build.Status.CompletionTimestamp == nil {
			err = fmt.Errorf("it is %s: %s %s", build.Status.Phase, build.Status.Reason, build.Status.Message)
		}
		return err
	})
	return build
}

// complete waits until a Build is complete, and opens its image by the digest that it
// tells.
func (s *scenario) complete(name string) (*buildv1.Build, live.Image) {
	s.t.Helper()
	build := s.ended(name)
	if status := build.Status; status.Phase != buildv1.BuildPhaseComplete || status.Output.To == nil {
		log, _ := cluster.Kubectl(s.ctx, "logs", "--all-containers", "--tail=40", "pod/"+name+"-build")
		s.t.Fatalf("%s: %s %s\n%s\nlog:\n%s", status.Phase, status.Reason, status.Message, status.LogSnippet, log)
	}
	reference := build.Status.OutputDockerImageReference
	image, err := cluster.OpenImage(reference[:strings.LastIndex(reference, ":")] + "@" + build.Status.Output.To.ImageDigest)
	s.must(err)
	return build, image
}

// checkInline: all that the Build asks for is in the image, and nothing else.
func (s *scenario) checkInline(plain live.Image) {
	build, image := s.complete("dockerfile")
	files, err := image.FilesAbove(plain)
	s.must(err)
	compareFiles(s.t, files, map[string]live.File{"srv/version": file(0o644, 0, "1.2\n"), "srv/settings/level": file(0o644, 0, "high")})
	for path, f := range files {
		if strings.Contains(f.Content, "of-a-volume") {
			s.t.Errorf("the volume is in the image, as /%s", path)
		}
	}
	layers, err := image.LayersAbove(plain)
	s.must(err)
	// The second one is empty: of the stage behind the hook.
	if len(layers) > 2 {
		s.t.Errorf("%d layers, and one was asked for", len(layers))
	}
	config, err := image.ConfigFile()
	s.must(err)
	if _, found := config.Config.ExposedPorts["8080/tcp"]; !found {
		s.t.Errorf("ports %v", config.Config.ExposedPorts)
	}
	env := strings.Join(config.Config.Env, "\n")
	if !strings.Contains(env, "PATTERN=a b") || !strings.Contains(env, "OPENSHIFT_BUILD_NAME=dockerfile") {
		s.t.Errorf("environment %s", env)
	}
	if labels := config.Config.Labels; labels["vendor"] != "Example" || labels["authoritative-source-url"] != cluster.Registry {
		s.t.Errorf("labels %v", labels)
	}
	var stages []string
	for _, stage := range build.Status.Stages {
		stages = append(stages, string(stage.Name))
	}
	if got := strings.Join(stages, " "); got != "PullImages Build PushImage" {
		s.t.Errorf("stages %s", got)
	}
}

// checkGit: the tag was built, the submodule of its folder with it, and whoever looks
// at Build or image sees of which commit.
func (s *scenario) checkGit(from sources, plain live.Image) {
	build, image := s.complete("git")
	files, err := image.FilesAbove(plain)
	s.must(err)
	for path, want := range map[string]string{
		"srv/app/page": "of the tag\n", "srv/app/module/page": "of the submodule\n", "srv/greeting": "hello at high\n",
	} {
		if got := files[path].Content; got != want {
			s.t.Errorf("/%s is %q, want %q", path, got, want)
		}
	}
	if files["srv/app/injected/debian_version"].Content == "" {
		s.t.Error("nothing of the other image was copied")
	}
	revision := build.Spec.Revision
	if revision == nil || revision.Git == nil || revision.Git.Commit != from.commits["v1"] || revision.Git.Author.Name != "An Author" || revision.Git.Message != "The first" {
		s.t.Errorf("revision %+v, want commit %s", revision, from.commits["v1"])
	}
	labels, err := image.Labels()
	s.must(err)
	for key, want := range map[string]string{
		"commit.id": from.commits["v1"], "commit.ref": "v1", "source-context-dir": "app", "source-location": from.git.URL + "/app.git",
	} {
		if got := labels["io.openshift.build."+key]; got != want {
			s.t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
}

func (s *scenario) checkSSH(from sources) {
	build, image := s.complete("ssh")
	files, err := image.FilesAbove(live.Image{Image: empty.Image})
	s.must(err)
	if got := files["page"].Content; got != "of the last commit\n" {
		s.t.Errorf("/page is %q", got)
	}
	if revision := build.Spec.Revision; revision == nil || revision.Git == nil || revision.Git.Commit != from.commits["main"] {
		s.t.Errorf("revision %+v, want commit %s", revision, from.commits["main"])
	}
}
