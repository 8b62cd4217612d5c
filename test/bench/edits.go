package main

import (
	"context"
	"fmt"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
)

// editedFile is a Dockerfile of two steps that take some seconds and one that takes
// none. What they leave does not compress.
func editedFile(first, last int) string {
	const work = "RUN cd /usr/lib && head -c 8000000 /dev/urandom > bench-%[1]s && for n in 1 2 3 4 5; do gzip -9 < bench-%[1]s > /dev/null; done && echo %[2]d\n"
	return "FROM configs AS final\n" + fmt.Sprintf(work, "one", first) + fmt.Sprintf(work, "two", 0) + fmt.Sprintf("RUN echo %d > /etc/bench-edit\n", last)
}

// edits builds a pool again after edits of its Dockerfile, at the beginning and at the
// end, with what its steps left kept in the registry.
func (b *bench) edits(ctx context.Context) error {
	const pool = "edited"
	b.session.BuildCache = api.BuildCacheRegistry
	defer func() { b.session.BuildCache = "" }()
	if err := b.session.PushTo(ctx, known); err != nil {
		return err
	}
	if err := b.session.SetDockerfile(ctx, pool, editedFile(0, 0)); err != nil {
		return err
	}
	last, err := b.session.Run(ctx, pool)
	if err != nil {
		return err
	}
	for n := range b.options.rounds {
		for _, kind := range []struct {
			what, text string
			into       *[]measure.Build
		}{{"cold", editedFile(n+1, 0), &b.coldEdit}, {"warm", editedFile(n+1, n+1), &b.warmEdit}} {
			if last, err = b.session.Edit(ctx, pool, last, kind.text); err != nil {
				return err
			}
			b.say("  %s: %.2f s from edit to image, of which %.2f s the builder's work", kind.what, labelToImage(last), last.Work())
			*kind.into = append(*kind.into, last)
		}
	}
	return b.session.Remove(ctx, pool)
}

func (b *bench) editsTable() figure.Table {
	cold, warm := b.coldEdit, b.warmEdit
	return figure.Table{
		Title: "An edit of a custom Dockerfile whose steps are kept",
		Rows: append([]figure.Row{
			{What: "cold: edit to digest annotation", Unit: "s", Samples: of(cold, labelToImage)},
			{What: "warm: edit to digest annotation", Unit: "s", Samples: of(warm, labelToImage)},
			{What: "warm against cold", Unit: "×", Samples: of(warm, labelToImage).Over(of(cold, labelToImage))},
			{What: "cold: the builder's own work", Unit: "s", Samples: of(cold, measure.Build.Work)},
			{What: "warm: the builder's own work", Unit: "s", Samples: of(warm, measure.Build.Work)},
			{What: "warm against cold", Unit: "×", Samples: of(warm, measure.Build.Work).Over(of(cold, measure.Build.Work))},
			{What: "cold: bytes moved by the pod", Unit: "KiB", Samples: of(cold, moved)},
			{What: "warm: bytes moved by the pod", Unit: "KiB", Samples: of(warm, moved)},
		}, breakdown(warm)...),
		Notes: []string{bound("Cold", cold), bound("Warm", warm)},
	}
}
