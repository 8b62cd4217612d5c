package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
)

// Addresses of the cluster. Everything listens on the address of the cluster's own bridge or on the loopback interface, so that
// nothing but this machine and its network namespaces is ever addressed.
const (
	// Bridge is the name of the network interface that the pods are attached to.
	Bridge = "mob0"
	// BridgeIP is the bridge's address on the node: API server, kubelet and registries listen there.
	BridgeIP = "10.213.64.1"
	// PodSubnet is what pods get their addresses from.
	PodSubnet = "10.213.64.0/24"
	// ServiceSubnet is what Services get their addresses from.
	ServiceSubnet = "10.213.65.0/24"
	// ServiceIP is the address of the Service kubernetes.default.
	ServiceIP = "10.213.65.1"
	// APIPort is the API server's port on BridgeIP.
	APIPort = 6443
	// EtcdClient and EtcdPeer are etcd's URLs.
	EtcdClient = "http://127.0.0.1:23790"
	EtcdPeer   = "http://127.0.0.1:23800"
	// NodeName is the name of the one node.
	NodeName = "node-1"
	// Network is the name of the CNI network; its result cache is named after it.
	Network = "mob-cluster"
)

// Registry is the open registry, AuthRegistry the one that asks for a user and a password.
var (
	Registry     = BridgeIP + ":5000"
	AuthRegistry = BridgeIP + ":5001"
)

// maxWork keeps the sockets below the work directory within the 107 bytes that a Unix socket's path may have.
const maxWork = 64

// Dirs are the directories of one cluster.
type Dirs struct {
	// Work holds a running cluster's whole state; "down" removes it.
	Work string
	// Bin caches the binaries, Images the root file systems and images; both outlive the cluster.
	Bin    string
	Images string
	// Project is the root of the repository.
	Project string
}

// FromEnv finds the directories: the work directory is $MOB_CLUSTER_DIR, else cluster/ in the cache directory
// ${XDG_CACHE_HOME:-$HOME/.cache}/machine-os-builder. wd is the current directory, from which the project's root is found
// two levels up (test/cluster). It fails when no home is known or when the work directory's path is too long for sockets.
func FromEnv(getenv func(string) string, wd string) (Dirs, error) {
	cache := getenv("XDG_CACHE_HOME")
	if cache == "" {
		home := getenv("HOME")
		if home == "" {
			return Dirs{}, errors.New("finding the cache directory: neither XDG_CACHE_HOME nor HOME is set")
		}
		cache = filepath.Join(home, ".cache")
	}
	cache = filepath.Join(cache, "machine-os-builder")
	work := getenv("MOB_CLUSTER_DIR")
	if work == "" {
		work = filepath.Join(cache, "cluster")
	}
	if !filepath.IsAbs(work) {
		work = filepath.Join(wd, work)
	}
	work = filepath.Clean(work)
	if len(work) > maxWork {
		return Dirs{}, fmt.Errorf("using work directory %s: its path is longer than %d bytes, too long for sockets below it; set MOB_CLUSTER_DIR", work, maxWork)
	}
	return Dirs{
		Work: work, Bin: filepath.Join(cache, "bin"), Images: filepath.Join(cache, "images"),
		Project: filepath.Dir(filepath.Dir(wd)),
	}, nil
}

// Path joins names to the work directory.
func (d Dirs) Path(names ...string) string {
	return filepath.Join(append([]string{d.Work}, names...)...)
}

// Mark tells this cluster's parts from another's where a name alone would not: the name of the network and a hash of the work
// directory.
func (d Dirs) Mark() string {
	sum := sha256.Sum256([]byte(d.Work))
	return Network + "-" + hex.EncodeToString(sum[:4])
}

// Cgroup is the parent of every pod's control group, in each hierarchy.
func (d Dirs) Cgroup() string { return "/" + d.Mark() }

// PKI is a file of the cluster's certificates and keys.
func (d Dirs) PKI(name string) string { return d.Path("pki", name) }

// Kubeconfig is the kubeconfig file of a user: admin, controller-manager, scheduler or kubelet.
func (d Dirs) Kubeconfig(user string) string { return d.Path("kubeconfig", user) }

// ContainerdSocket is where containerd listens.
func (d Dirs) ContainerdSocket() string { return d.Path("containerd.sock") }

// CertsDir is containerd's directory of registry settings.
func (d Dirs) CertsDir() string { return d.Path("certs.d") }

// BuildahStore and BuildahRun are the root user's buildah storage, apart from the machine's own.
func (d Dirs) BuildahStore() string { return filepath.Join(d.Images, "storage") }

// BuildahRun is the run-time half of BuildahStore.
func (d Dirs) BuildahRun() string { return filepath.Join(d.Images, "storage-run") }

// APIURL is the API server's address.
func APIURL() string { return fmt.Sprintf("https://%s:%d", BridgeIP, APIPort) }
