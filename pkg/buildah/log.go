package buildah

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Log follows buildah's output to know which step runs. This is the one
// place that reads the texts of a foreign tool.
type Log struct {
	// OneStage is to be set for a Dockerfile that has but one: its stage has no number.
	OneStage bool

	// Step is the one that runs; once buildah has told of a failure, the one that failed.
	Step
	ExitCode   int    // 0 where no command failed
	Cause      string // what buildah says of its failure
	committing bool
	// begun are the last steps of stages, but for Step's. Until it ends for a failure,
	// buildah goes on with the next stage.
	begun []Step
	// Made are the images that steps left which ran.
	Made map[StepAt]string
	left leftImages
}

// Step is a step with what it wrote.
type Step struct {
	StepAt
	Text   string
	Output Tail
}

// StepAt is a place in a Dockerfile, both counted from 1; 0 before the first.
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
	// It names the step, as it understood it, in quotes.
	failedStep = regexp.MustCompile(`^building at STEP ("(?:[^"\\]|\\.)*")`)
	// Each of the processes around a step says this once more.
	exitNotice = regexp.MustCompile(`^subprocess exited with status \d+$`)
)

// NewLog returns one that has seen nothing.
func NewLog() *Log { return &Log{Step: Step{Output: *NewTail()}, Made: map[StepAt]string{}} }

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
		b.notTheEnd()
		b.begin(Step{StepAt{atoi(match[1]), atoi(match[2])}, match[3], *NewTail()})
		return
	}
	if cachedLine.MatchString(line) {
		b.left.cached = true
	}
	if match := madeLine.FindStringSubmatch(line); match != nil {
		b.left.image(match[1], b.Made)
	}
	if match := errorLine.FindStringSubmatch(line); match != nil {
		b.notTheEnd()
		b.fail(match[1])
		return
	}
	if !exitNotice.MatchString(line) {
		b.notTheEnd()
		b.Output.Add(line)
	}
}

func (b *Log) begin(next Step) {
	b.begun = slices.DeleteFunc(append(b.begun, b.Step), func(s Step) bool { return s.Stage == next.Stage })
	b.Step = next
	b.left.begin(next.StepAt, b.Made)
}

// notTheEnd is called for what follows a line that looks like buildah's last: a step
// wrote that.
func (b *Log) notTheEnd() {
	if b.Cause == "" || failedStep.MatchString(b.Cause) {
		return
	}
	b.Output.Add("Error: " + b.Cause)
	b.Cause, b.ExitCode = "", 0
}

func (b *Log) fail(cause string) {
	b.Cause = cause
	if exit := exitLine.FindStringSubmatch(cause); exit != nil {
		b.ExitCode = atoi(exit[1])
	}
	if named := failedStep.FindStringSubmatch(cause); named != nil {
		if text, err := strconv.Unquote(named[1]); err == nil {
			b.Step = b.named(text)
		}
	}
}

// named is the step that buildah understood as text.
func (b *Log) named(text string) Step {
	steps := append(slices.Clone(b.begun), b.Step)
	slices.Reverse(steps)
	for _, s := range steps {
		if s.understood() == strings.Join(strings.Fields(text), " ") {
			return s
		}
	}
	for _, s := range steps {
		if instruction, _, _ := strings.Cut(text, " "); strings.HasPrefix(s.understood(), instruction+" ") {
			return s
		}
	}
	return b.Step
}

// understood is a step without what buildah leaves out where it names one that failed:
// flags, and the form of a list.
func (s Step) understood() string {
	words := strings.Fields(s.Text)
	if len(words) == 0 {
		return ""
	}
	rest := words[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "--") {
		rest = rest[1:]
	}
	text := strings.Join(rest, " ")
	var list []string
	if json.Unmarshal([]byte(text), &list) == nil {
		text = strings.Join(strings.Fields(strings.Join(list, " ")), " ")
	}
	return strings.ToUpper(words[0]) + " " + text
}

// atoi is for digits that were matched; a number too large is no number.
func atoi(digits string) int {
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return number
}
