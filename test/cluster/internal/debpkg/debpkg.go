package debpkg

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Cluster are the packages of a running cluster and of its images.
var Cluster = []string{
	"buildah", "ca-certificates", "containerd", "containernetworking-plugins", "iproute2", "iptables", "mmdebstrap", "runc",
}

// parseMissing reads the output of dpkg-query with format "${Package} ${db:Status-Status}\n" and gives the wanted packages
// that are not installed.
func parseMissing(wanted []string, output string) []string {
	installed := map[string]bool{}
	for _, line := range strings.Split(output, "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[1] == "installed" {
			installed[f[0]] = true
		}
	}
	var missing []string
	for _, p := range wanted {
		if !installed[p] {
			missing = append(missing, p)
		}
	}
	return missing
}

// Ensure installs those of the packages that are missing, after updating the package lists, through sudo when this process is
// not root. Nothing is run when none is missing.
func Ensure(ctx context.Context, progress io.Writer, packages []string) error {
	query := exec.CommandContext(ctx, "dpkg-query", append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, packages...)...)
	// dpkg-query ends with 1 when it does not know one of the packages, and still prints the others.
	out, err := query.Output()
	if err != nil && query.ProcessState == nil {
		return fmt.Errorf("asking for installed packages: %w", err)
	}
	missing := parseMissing(packages, string(out))
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(progress, "installing packages %s\n", strings.Join(missing, " "))
	for _, args := range [][]string{
		{"apt-get", "update", "-q"},
		append([]string{"apt-get", "install", "-q", "-y", "--no-install-recommends"}, missing...),
	} {
		if os.Geteuid() != 0 {
			args = append([]string{"sudo", "DEBIAN_FRONTEND=noninteractive"}, args...)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
