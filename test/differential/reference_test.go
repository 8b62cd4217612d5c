package differential

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const inNamespace = "MOB_DIFFERENTIAL_NAMESPACE"

// TestMain starts the tests in a user namespace when they do not run as root.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 || os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		os.Exit(m.Run())
	}
	inside := []string{"--user", "--map-root-user", "--map-auto", "--"}
	if exec.Command(unshare, append(inside, "true")...).Run() != nil {
		os.Exit(m.Run()) // no sub-ids: the tests skip and say so
	}
	cmd := exec.Command(unshare, append(inside, os.Args...)...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		os.Exit(m.Run())
	}
}

// reference returns the path of a static ignition binary, built once per version.
var reference = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("MOB_IGNITION"); given != "" {
		return given, nil
	}
	sums, err := os.ReadFile("../ignition/go.sum")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(sums)
	binary := filepath.Join(cache, "machine-os-builder", "ignition-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	fresh := fmt.Sprintf("%s.%d", binary, os.Getpid())
	cmd := exec.Command("go", "build", "-mod=readonly", "-buildvcs=false", "-o", fresh,
		"-ldflags", "-s -w -linkmode external -extldflags -static", "github.com/coreos/ignition/v2/internal")
	cmd.Dir = "../ignition"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ignition: %w: %s", err, out)
	}
	return binary, os.Rename(fresh, binary)
})

// needReference skips on machines that cannot build or run the reference.
func needReference(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("files of several owners need root, or unshare with sub-ids of this user in /etc/subuid")
	}
	if os.Getenv("MOB_IGNITION") == "" {
		if _, err := os.Stat("/usr/include/blkid/blkid.h"); err != nil {
			t.Skip("building ignition needs libblkid's header: install libblkid-dev (Debian), or name a static binary in MOB_IGNITION")
		}
	}
	binary, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// runInside runs a program of a root file system in a chroot of it.
func runInside(root, stdin string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = "/"
	cmd.Env = []string{"container=test", "SYSTEMD_OFFLINE=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	old := syscall.Umask(0o022)
	err := cmd.Run()
	syscall.Umask(old)
	return out.String(), err
}

// noSystemd is what the reference says when it finds no running systemd.
const noSystemd = "/run/systemd/private"

// ignitionApply runs the reference over a root file system. refused tells
// whether it refused the config.
func ignitionApply(t *testing.T, root, config string) (output string, refused bool) {
	t.Helper()
	inside := filepath.Join(root, ".reference")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(inside, "ignition-apply")
	if err := copyFile(binary, needReference(t)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(inside); err != nil {
			t.Error(err)
		}
	}()
	defer provideNull(t, root)()
	out, err := runInside(root, config, "/.reference/ignition-apply", "--root", "/", "--ignore-unsupported", "--offline", "-")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("starting the reference: %v", err)
	}
	if err != nil && strings.Contains(out, noSystemd) {
		// The last thing it does for instances of templates is to ask a running
		// systemd for its version; by then all is written.
		return out, false
	}
	return out, err != nil
}

// provideNull puts a file where programs that start others expect the null
// device, which a user namespace cannot make. The function it returns removes it.
func provideNull(t *testing.T, root string) func() {
	t.Helper()
	null := filepath.Join(root, "dev/null")
	if _, err := os.Lstat(null); err == nil {
		return func() {}
	}
	if err := os.WriteFile(null, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(null); err != nil {
			t.Error(err)
		}
	}
}

// copyFile links or copies.
func copyFile(to, from string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
