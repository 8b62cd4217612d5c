package imagebuilder

import (
	"regexp"
	"strconv"
)

// buildLog follows buildah's output to know which step runs. This is the one
// place that reads the texts of a foreign tool.
type buildLog struct {
	stage, number int // counted from 1
	text          string
	exitCode      int
	log           tail
	cause         string
	committing    bool
	// made are the images that steps left which ran, and cached says that the current
	// one did not.
	made   map[stepAt]string
	cached bool
}

// stepAt is a place in a Dockerfile, both counted from 1.
type stepAt struct{ stage, number int }

// The line that begins a step, "[2/3] STEP 4/7: RUN make". It need not begin a
// line of the log: the step before may have ended its output without one. There
// are always several stages, since configs is one.
var stepLine = regexp.MustCompile(`\[(\d+)/\d+\] STEP (\d+)/\d+: (.*)$`)

// The lines that a commit writes for each layer and the config.
var copyLine = regexp.MustCompile(`^Copying (?:blob|config) sha256:[0-9a-f]{64}$`)

// The lines that say which image a step left, where each leaves one.
var (
	cachedLine = regexp.MustCompile(`^--> Using cache [0-9a-f]{64}$`)
	madeLine   = regexp.MustCompile(`^--> ([0-9a-f]{12})$`)
)

// The lines with which buildah ends after a step failed.
var (
	exitLine  = regexp.MustCompile(`exit status (\d+)$`)
	errorLine = regexp.MustCompile(`^Error: (.*)$`)
	// Each of the processes around a step says this once more.
	exitNotice = regexp.MustCompile(`^subprocess exited with status \d+$`)
)

func newBuildLog() *buildLog {
	return &buildLog{log: tail{limit: followedLines}, made: map[stepAt]string{}}
}

// add takes the next line of output, and says whether it is worth showing: a
// commit names every layer of the base each time.
func (b *buildLog) add(line string) bool {
	switch {
	case line == "Getting image source signatures":
		b.committing = true
		return false
	case b.committing && copyLine.MatchString(line):
		return false
	case b.committing && line == "Writing manifest to image destination":
		b.committing = false
		return false
	}
	b.committing = false
	b.follow(line)
	return true
}

func (b *buildLog) follow(line string) {
	if match := stepLine.FindStringSubmatch(line); match != nil {
		b.stage, b.number, b.text = atoi(match[1]), atoi(match[2]), match[3]
		b.log, b.cached = tail{limit: followedLines}, false
		return
	}
	if cachedLine.MatchString(line) {
		b.cached = true
	}
	if match := madeLine.FindStringSubmatch(line); match != nil && !b.cached {
		b.made[stepAt{b.stage, b.number}] = match[1]
	}
	if match := errorLine.FindStringSubmatch(line); match != nil {
		b.cause = match[1]
		if exit := exitLine.FindStringSubmatch(line); exit != nil {
			b.exitCode = atoi(exit[1])
		}
		return
	}
	if !exitNotice.MatchString(line) {
		b.log.add(line)
	}
}

// atoi is for digits that were matched; a number too large is no number.
func atoi(digits string) int {
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return number
}
