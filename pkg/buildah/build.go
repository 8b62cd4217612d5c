package buildah

import (
	"context"
	"maps"
	"regexp"
)

// builds is how often Build lets buildah begin.
const builds = 3

// unsealed is all that a step prints whose process buildah could not begin: it copies
// itself into memory twice for each step, and the kernel refuses to seal a copy
// (fcntl(2), F_ADD_SEALS, EBUSY) while it has hold of the memory itself.
var unsealed = regexp.MustCompile(`sealing memfd copy: Device or resource busy$`)

// Build runs "buildah build" with these arguments and hands its output, but for what
// is not worth showing, on to show. oneStage is to be set where the Dockerfile has but
// one stage. The log is that of the last try: where buildah could not begin a step's
// process, it builds again. It fails as Run does.
func (b *Program) Build(ctx context.Context, oneStage bool, show func(string), arguments ...string) (*Log, error) {
	shown := newOutlet(show)
	defer shown.Close()
	made := map[StepAt]string{}
	for try := 1; ; try++ {
		log := NewLog()
		log.OneStage = oneStage
		err := b.Run(ctx, func(line string) {
			if log.Add(line) {
				shown.Line(line)
			}
		}, "build", arguments...)
		// A step that ran in a try before may be one that nothing has to run for now.
		maps.Copy(made, log.Made)
		log.Made = made
		if err == nil || ctx.Err() != nil || try == builds || !log.notBegun() {
			return log, err
		}
		shown.Line("buildah could not begin the process of this step: building once more")
	}
}

// notBegun is true where the step that failed never ran.
func (b *Log) notBegun() bool {
	lines := b.Output.Lines()
	return b.Cause != "" && len(lines) == 1 && unsealed.MatchString(lines[0])
}
