package buildah

import (
	"fmt"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

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
	kept  Tail
	// dropped counts the lines that were not passed on.
	dropped int
}

// newOutlet returns one that passes lines to write.
func newOutlet(write func(string)) *outlet {
	return &outlet{write: write, left: outputLimit, kept: Tail{limit: endLines}}
}

// Line passes the next one on.
func (o *outlet) Line(text string) {
	if o.left > 0 {
		o.left -= len(text) + lineCost
		o.write(text)
		return
	}
	if o.dropped == 0 {
		o.write(fmt.Sprintf("warning: this build has printed more than %s: of the rest, only the last %d lines are shown, once it has ended", steplog.Size(outputLimit), endLines))
	}
	o.dropped++
	o.kept.Add(text)
}

// Close passes on the end of what was left out.
func (o *outlet) Close() {
	for _, text := range o.kept.lines {
		o.write(text)
	}
}
