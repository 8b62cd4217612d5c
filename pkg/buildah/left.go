package buildah

// leftImages finds out which step left an image. buildah names the image alone, and a
// stage that needs another one waits for that in the middle of a step: the image of
// that step comes after those of the other stage.
type leftImages struct {
	current StepAt
	done    bool // the current step has left its image
	cached  bool // the next image is of a step that did not run
	// last is the image that came after the current step's own; nil for none.
	last *leftImage
}

type leftImage struct {
	id     string
	cached bool
}

// begin is called for each step that begins.
func (l *leftImages) begin(at StepAt, made map[StepAt]string) {
	if l.last != nil && !l.last.cached && at.Number > 1 {
		made[StepAt{at.Stage, at.Number - 1}] = l.last.id
	}
	l.current, l.done, l.cached, l.last = at, false, false, nil
}

// image is called for each image that a step left.
func (l *leftImages) image(id string, made map[StepAt]string) {
	switch {
	case l.done:
		l.last = &leftImage{id, l.cached}
	case !l.cached:
		made[l.current] = id
	}
	l.done, l.cached = true, false
}
