package render

// Refusal says why a pool gets no rendered config. A user has to act: the same
// input is refused again.
type Refusal struct {
	// Reason is one of pkg/api, for the condition RenderDegraded.
	Reason string
	// Message says what was found and what to do.
	Message string
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }
