package ignition

import "fmt"

// versionReason says what is wrong with a config's spec version.
type versionReason string

// What may be wrong with a spec version.
const (
	versionMissing      versionReason = "missing"
	versionUnreadable   versionReason = "unreadable"
	versionExperimental versionReason = "experimental"
	versionTooOld       versionReason = "too old"
	versionTooNew       versionReason = "too new"
	versionUnknown      versionReason = "unknown"
)

// versionError says that a config's spec version cannot be read here.
type versionError struct {
	// Version as the config has it; empty when it has none.
	Version string
	// Reason it was refused.
	Reason versionReason
}

// Error names the version, the reason, and what would be read.
func (e *versionError) Error() string {
	known := "use 2.0.0 to 2.4.0 or 3.0.0 to " + Newest
	switch e.Reason {
	case versionMissing:
		return "ignition.version is missing: " + known
	case versionUnreadable:
		return fmt.Sprintf("ignition.version %q is not a version: %s", e.Version, known)
	case versionExperimental:
		return fmt.Sprintf("ignition.version %q is experimental, such specs change without notice: %s", e.Version, known)
	case versionTooOld, versionTooNew:
		return fmt.Sprintf("ignition.version %q is %s: %s", e.Version, e.Reason, known)
	case versionUnknown:
	}
	return fmt.Sprintf("ignition.version %q does not exist: %s", e.Version, known)
}
