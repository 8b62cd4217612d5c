package imagebuilder

// How many steps each command announces.
const (
	AppendSteps  = 4
	PrepareSteps = 3
	BuildSteps   = 2
	PushSteps    = 2
	// PushLastSteps is PushSteps when the config is laid on what the steps left.
	PushLastSteps = 5
	// JoinSteps are those of a push into an index.
	JoinSteps = 3
	LaySteps  = 2
	// RemoveSteps are those of Remove.
	RemoveSteps = 1
)
