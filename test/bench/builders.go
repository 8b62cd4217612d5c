package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
)

// builders builds a pool by a Dockerfile of one step, again and again from its label, in
// turns in a pod and by a Build that build-executor runs.
func (b *bench) builders(ctx context.Context) (err error) {
	const pool = "by-either"
	if err := b.session.DeployBuilds(ctx); err != nil {
		return err
	}
	defer func() {
		b.session.Builder = ""
		// An interrupt ends the measuring, not the tidying up.
		err = errors.Join(err, b.session.RemoveBuilds(context.WithoutCancel(ctx)))
	}()
	if err := b.session.PushTo(ctx, known); err != nil {
		return err
	}
	// The image of another round is not reused.
	text := func(n int) string { return fmt.Sprintf("%sRUN echo %d > /etc/bench-edit\n", measure.Dockerfile, n) }
	// The first by a Build may find its images not on the node.
	for n := range 2 * (b.options.rounds + 1) {
		builder, into := api.BuilderCustomPod, &b.byPod
		if n%2 == 1 {
			builder, into = api.BuilderOpenShift, &b.byBuild
		}
		if err := b.session.UseBuilder(ctx, builder); err != nil {
			return err
		}
		if err := b.session.SetDockerfile(ctx, pool, text(n)); err != nil {
			return err
		}
		build, err := b.session.Run(ctx, pool)
		if err != nil {
			return err
		}
		if err := b.session.Remove(ctx, pool); err != nil {
			return err
		}
		b.say("  %s: %.2f s from label to image", builder, labelToImage(build))
		if n > 1 {
			*into = append(*into, build)
		}
	}
	return nil
}

func (b *bench) buildersTable() figure.Table {
	pod, build := of(b.byPod, labelToImage), of(b.byBuild, labelToImage)
	rows := []figure.Row{
		{What: "in a pod: label to digest annotation", Unit: "s", Samples: pod},
		{What: "by a Build: label to digest annotation", Unit: "s", Samples: build},
		{What: "by a Build against in a pod", Unit: "×", Samples: build.Over(pod)},
	}
	for _, kind := range []struct {
		name   string
		builds []measure.Build
	}{{"in a pod", b.byPod}, {"by a Build", b.byBuild}} {
		rows = append(rows,
			figure.Row{What: "– " + kind.name + ": label to pod", Unit: "s", Samples: of(kind.builds, between("", measure.PodCreated))},
			figure.Row{What: "– " + kind.name + ": pod to pod ended", Unit: "s", Samples: of(kind.builds, between(measure.PodCreated, measure.PodEnded))},
			figure.Row{What: "– " + kind.name + ": pod ended to annotation", Unit: "s", Samples: of(kind.builds, between(measure.PodEnded, measure.Annotated))},
		)
	}
	return figure.Table{
		Title: "The same pool and Dockerfile, in a pod and by a Build", Rows: rows,
		Notes: []string{bound("In a pod", b.byPod)},
	}
}
