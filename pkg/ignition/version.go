package ignition

import "fmt"

// VersionReason says what is wrong with a config's spec version.
type VersionReason string

// What may be wrong with a spec version.
const (
	VersionMissing      VersionReason = "missing"
	VersionUnreadable   VersionReason = "unreadable"
	VersionExperimental VersionReason = "experimental"
	VersionTooOld       VersionReason = "too old"
	VersionTooNew       VersionReason = "too new"
	VersionUnknown      VersionReason = "unknown"
)

// VersionError says that a config's spec version cannot be read here.
type VersionError struct {
	// Version as the config has it; empty when it has none.
	Version string
	// Reason it was refused.
	Reason VersionReason
}

// Error names the version, the reason, and what would be read.
func (e *VersionError) Error() string {
	known := "use 2.0.0 to 2.4.0 or 3.0.0 to " + Newest
	switch e.Reason {
	case VersionMissing:
		return "ignition.version is missing: " + known
	case VersionUnreadable:
		return fmt.Sprintf("ignition.version %q is not a version: %s", e.Version, known)
	case VersionExperimental:
		return fmt.Sprintf("ignition.version %q is experimental, such specs change without notice: %s", e.Version, known)
	case VersionTooOld, VersionTooNew:
		return fmt.Sprintf("ignition.version %q is %s: %s", e.Version, e.Reason, known)
	case VersionUnknown:
	}
	return fmt.Sprintf("ignition.version %q does not exist: %s", e.Version, known)
}
