package buildah

import (
	"regexp"
	"strconv"
)

// Log follows buildah's output to know which step runs. This is the one
// place that reads the texts of a foreign tool.
type Log struct {
	// OneStage is to be set for a Dockerfile that has but one: its stage has no number.
	OneStage bool

	Stage, Number int    // of the step, counted from 1; 0 before the first
	Text          string // of the step
	ExitCode      int    // 0 where no command failed
	Output        Tail   // of the step
	Cause         string // what buildah says of its failure
	committing    bool
	// Made are the images that steps left which ran.
	Made map[StepAt]string
	left leftImages
}

// StepAt is a place in a Dockerfile, both counted from 1.
type StepAt struct{ Stage, Number int }

// The line that begins a step, "[2/3] STEP 4/7: RUN make", or "STEP 4/7: RUN make"
// where there is one stage. It need not begin a line of the log: the step before may
// have ended its output without one.
var (
	stepLine = regexp.MustCompile(`\[(\d+)/\d+\] STEP (\d+)/\d+: (.*)$`)
	onlyLine = regexp.MustCompile(`()STEP (\d+)/\d+: (.*)$`)
)

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

// NewLog returns one that has seen nothing.
func NewLog() *Log { return &Log{Output: *NewTail(), Made: map[StepAt]string{}} }

// Add takes the next line of output, and says whether it is worth showing: a
// commit names every layer of the base each time.
func (b *Log) Add(line string) bool {
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

func (b *Log) follow(line string) {
	begin := stepLine
	if b.OneStage {
		begin = onlyLine
	}
	if match := begin.FindStringSubmatch(line); match != nil {
		b.Stage, b.Number, b.Text = atoi(match[1]), atoi(match[2]), match[3]
		b.Output = *NewTail()
		b.left.begin(StepAt{b.Stage, b.Number}, b.Made)
		return
	}
	if cachedLine.MatchString(line) {
		b.left.cached = true
	}
	if match := madeLine.FindStringSubmatch(line); match != nil {
		b.left.image(match[1], b.Made)
	}
	if match := errorLine.FindStringSubmatch(line); match != nil {
		b.Cause = match[1]
		if exit := exitLine.FindStringSubmatch(line); exit != nil {
			b.ExitCode = atoi(exit[1])
		}
		return
	}
	if !exitNotice.MatchString(line) {
		b.Output.Add(line)
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
