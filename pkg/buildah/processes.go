package buildah

import (
	"fmt"
	"syscall"
)

// maxProcesses is how many processes and threads a user of the steps may have at
// a time. The kernel counts them by user and user namespace, so that neither
// another build on the node counts nor another pod of the same uid.
const maxProcesses = 4096

// rlimitProcesses is RLIMIT_NPROC of Linux' asm-generic/resource.h, which
// package syscall does not name.
const rlimitProcesses = 6

// ProcessLimit is that limit for buildah's flag --ulimit, which cannot raise
// one that the node has set.
func ProcessLimit() string {
	limit := uint64(maxProcesses)
	var have syscall.Rlimit
	if err := syscall.Getrlimit(rlimitProcesses, &have); err == nil {
		limit = min(limit, have.Max)
	}
	return fmt.Sprintf("nproc=%d:%d", limit, limit)
}
