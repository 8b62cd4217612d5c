package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

// cniResults is where the CNI library notes what it did, by network name.
const cniResults = "/var/lib/cni/results"

const ipForward = "/proc/sys/net/ipv4/ip_forward"

// Net is the network of the cluster with this work directory.
type Net struct {
	Dirs layout.Dirs
}

// link is the part of "ip -json link" that matters here.
type link struct {
	Name  string `json:"ifname"`
	Alias string `json:"ifalias"`
}

func parseLinks(out []byte) ([]link, error) {
	var links []link
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, fmt.Errorf("reading the list of interfaces: %w", err)
	}
	return links, nil
}

// ErrForeign says that the bridge exists and belongs to somebody else.
var ErrForeign = errors.New("bridge " + layout.Bridge + " belongs to another cluster")

// owned says whether the bridge exists and carries this cluster's mark. It fails with ErrForeign when it carries another's.
func (n Net) owned(ctx context.Context) (bool, error) {
	if _, err := os.Stat("/sys/class/net/" + layout.Bridge); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	out, err := run(ctx, "ip", "-json", "link", "show", "dev", layout.Bridge)
	if err != nil {
		return false, err
	}
	links, err := parseLinks(out)
	if err != nil {
		return false, err
	}
	if len(links) != 1 || links[0].Alias != n.Dirs.Mark() {
		return false, ErrForeign
	}
	return true, nil
}

// Setup makes the bridge and the rule, once Teardown has removed what was left of them.
func (n Net) Setup(ctx context.Context) error {
	// The bridge plugin turns forwarding on; what it was is noted, so that Teardown can set it back.
	before, err := os.ReadFile(ipForward)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.Dirs.Path("ip_forward"), before, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"ip", "link", "add", layout.Bridge, "type", "bridge"},
		{"ip", "link", "set", layout.Bridge, "alias", n.Dirs.Mark()},
		{"ip", "addr", "add", layout.BridgeIP + layout.PodSubnet[strings.IndexByte(layout.PodSubnet, '/'):], "dev", layout.Bridge},
		{"ip", "link", "set", layout.Bridge, "up"},
		append([]string{"iptables", "-w", "-t", "nat", "-A"}, n.rule()...),
	} {
		if _, err := run(ctx, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// rule leads the Service address of the API server to the API server itself; it stands in for kube-proxy.
func (n Net) rule() []string {
	return []string{
		"PREROUTING", "-d", layout.ServiceIP + "/32", "-p", "tcp", "--dport", "443", "-m", "comment", "--comment", n.Dirs.Mark(),
		"-j", "DNAT", "--to-destination", fmt.Sprintf("%s:%d", layout.BridgeIP, layout.APIPort),
	}
}

// markedRules finds, in the output of iptables-save, the rules that carry the mark, as arguments that delete them.
func markedRules(saved, mark string) [][]string {
	var rules [][]string
	for _, line := range strings.Split(saved, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "-A" {
			continue
		}
		for i, word := range f[:len(f)-1] {
			if word == "--comment" && strings.Trim(f[i+1], `"`) == mark {
				f[i+1] = mark
				rules = append(rules, append([]string{"-D"}, f[1:]...))
				break
			}
		}
	}
	return rules
}

// Teardown removes the rule, the bridge, the interfaces attached to it and the CNI library's notes, all of this cluster only.
// What is not there is no error; a bridge of another cluster is ErrForeign.
func (n Net) Teardown(ctx context.Context) error {
	owned, err := n.owned(ctx)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("iptables-save"); err == nil {
		if err := n.deleteRules(ctx); err != nil {
			return err
		}
	}
	if owned {
		if err := deleteBridge(ctx); err != nil {
			return err
		}
		if err := removeNotes(cniResults); err != nil {
			return err
		}
	}
	before, err := os.ReadFile(n.Dirs.Path("ip_forward"))
	if err != nil {
		return nil // nothing was set up
	}
	return os.WriteFile(ipForward, before, 0o644)
}

func (n Net) deleteRules(ctx context.Context) error {
	saved, err := run(ctx, "iptables-save", "-t", "nat")
	if err != nil {
		return err
	}
	for _, r := range markedRules(string(saved), n.Dirs.Mark()) {
		if _, err := run(ctx, "iptables", append([]string{"-w", "-t", "nat"}, r...)...); err != nil {
			return err
		}
	}
	return nil
}

// removeNotes removes what the CNI library noted of the cluster's sandboxes: of their network, and of their loopback interfaces, by
// the same sandbox ids.
func removeNotes(dir string) error {
	own, err := filepath.Glob(filepath.Join(dir, layout.Network+"-*-eth0"))
	if err != nil {
		return err
	}
	for _, note := range own {
		id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(note), layout.Network+"-"), "-eth0")
		for _, path := range []string{note, filepath.Join(dir, "cni-loopback-"+id+"-lo")} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func deleteBridge(ctx context.Context) error {
	out, err := run(ctx, "ip", "-json", "link", "show", "master", layout.Bridge)
	if err != nil {
		return err
	}
	ports, err := parseLinks(out)
	if err != nil {
		return err
	}
	for _, p := range ports {
		// A pair may vanish by itself when its other end's namespace goes.
		if _, err := run(ctx, "ip", "link", "delete", p.Name); err != nil && exists(p.Name) {
			return err
		}
	}
	_, err = run(ctx, "ip", "link", "delete", layout.Bridge)
	return err
}

func exists(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return out, nil
}
