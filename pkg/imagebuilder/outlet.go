package imagebuilder

import "fmt"

const (
	// outputLimit is how much output of the steps goes into the container's log.
	// A node rotates its logs only every few seconds, and a step can print a
	// gigabyte meanwhile.
	outputLimit = 32 << 20
	// lineCost is what a node writes beside each line: the time and the stream.
	lineCost = 48
	// endLines is how much of the end is shown of what was left out.
	endLines = 250
)

// outlet passes lines on until it is enough, and then keeps only the last ones.
type outlet struct {
	write func(string)
	left  int // of outputLimit
	kept  tail
	// dropped counts the lines that were not passed on.
	dropped int
}

func newOutlet(write func(string)) *outlet {
	return &outlet{write: write, left: outputLimit, kept: tail{limit: endLines}}
}

func (o *outlet) line(text string) {
	if o.left > 0 {
		o.left -= len(text) + lineCost
		o.write(text)
		return
	}
	if o.dropped == 0 {
		o.write(fmt.Sprintf("warning: this build has printed more than %s: of the rest, only the last %d lines are shown, once it has ended", size(outputLimit), endLines))
	}
	o.dropped++
	o.kept.add(text)
}

// close passes on the end of what was left out.
func (o *outlet) close() {
	for _, text := range o.kept.lines {
		o.write(text)
	}
}
