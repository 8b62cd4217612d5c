package main

import (
	"archive/tar"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// result reads an image back from the registry that the pool names, and shows
// how long it took to come about.
func (d *demo) result(ctx context.Context, from string, build outcome) error {
	p, err := d.Pool(ctx, pool)
	if err != nil {
		return err
	}
	if message, failed := live.True(p, mcfgv1.MachineConfigPoolBuildFailed); failed {
		return fmt.Errorf("%w: %s", live.ErrBuildFailed, message)
	}
	pullspec := p.Annotations[api.AnnotationNewestImage]
	d.out.line("\n%s → digest in %.1f s. The pool's annotation:\n    %s=%s", from, build.took.Seconds(), api.AnnotationNewestImage, pullspec)
	if build.pod != nil {
		d.timings(build.pod)
	}
	image, err := d.OpenImage(pullspec)
	if err != nil {
		return err
	}
	labels, err := image.Labels()
	if err != nil {
		return err
	}
	d.out.line("\nThe image's labels, as the registry has them:")
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		d.out.line("    %s=%s", key, labels[key])
	}
	return d.files(image)
}

// timings shows what the containers of the build pod say of their own work.
func (d *demo) timings(pod *corev1.Pod) {
	if d.builder == api.BuilderOpenShift {
		d.durations(pod)
		return
	}
	results := live.Results(pod)
	var parts []string
	var pulled, pushed int64
	for _, c := range live.Containers(pod) {
		result := results[c.Name]
		pulled, pushed = pulled+result.BytesPulled, pushed+result.BytesPushed
		for _, t := range result.Timings {
			if t.Name == "total" {
				parts = append(parts, fmt.Sprintf("%s %.2f s", c.Name, t.Seconds))
			}
		}
	}
	d.out.line("The builder's own work: %s; %.1f KiB pulled, %.1f KiB pushed. The rest is the kubelet's.",
		strings.Join(parts, ", "), float64(pulled)/1024, float64(pushed)/1024)
}

// durations shows how long the containers of a Build's pod took.
func (d *demo) durations(pod *corev1.Pod) {
	var parts []string
	for _, c := range live.Containers(pod) {
		if t := c.State.Terminated; t != nil {
			parts = append(parts, fmt.Sprintf("%s %.0f s", c.Name, t.FinishedAt.Sub(t.StartedAt.Time).Seconds()))
		}
	}
	d.out.line("The containers of pod %s, to the second: %s.", pod.Name, strings.Join(parts, ", "))
}

// shown is how many files of an image are listed.
const shown = 14

func (d *demo) files(image live.Image) error {
	base, err := d.OpenImage(d.BaseImage)
	if err != nil {
		return err
	}
	files, err := image.FilesAbove(base)
	if err != nil {
		return err
	}
	var listed []string
	for path, f := range files {
		if before, ok := d.before[path]; f.Typeflag != tar.TypeDir && (!ok || before.Content != f.Content) {
			listed = append(listed, path)
		}
	}
	d.before = files
	slices.Sort(listed)
	d.out.line("\n%d files and links are new or changed, among them:", len(listed))
	for i := range min(shown, len(listed)) {
		// From all over the list.
		f := files[listed[i*len(listed)/min(shown, len(listed))]]
		text := fmt.Sprintf("%s %4d:%-4d %7d  /%s", f.FileInfo().Mode(), f.Uid, f.Gid, f.Size, strings.TrimPrefix(f.Name, "./"))
		if f.Linkname != "" {
			text += " -> " + f.Linkname
		}
		d.out.line("    %s", text)
	}
	for _, path := range []string{"etc/greeting", "etc/sysctl.d/inotify.conf"} {
		if f, ok := files[path]; ok && slices.Contains(listed, path) {
			d.out.line("/%s holds:", path)
			d.out.indented(strings.TrimSpace(f.Content))
		}
	}
	return nil
}
