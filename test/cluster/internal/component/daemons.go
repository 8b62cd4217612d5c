package component

import (
	"path/filepath"
	"strconv"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/process"
)

// Names of the daemons, in the order in which they are started; they are stopped in reverse.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	Containerd        = "containerd"
	Registry          = "registry"
	AuthRegistry      = "registry-auth"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
)

// Order lists every daemon in starting order.
func Order() []string {
	return []string{Etcd, APIServer, Containerd, Registry, AuthRegistry, ControllerManager, Scheduler, Kubelet}
}

// Daemons renders every daemon's command line, by name. bin is the directory of the built programs.
func Daemons(d layout.Dirs, bin string) map[string]process.Daemon {
	all := map[string]process.Daemon{}
	add := func(name, path string, args ...string) {
		all[name] = process.Daemon{Name: name, Path: path, Args: args}
	}
	add(Etcd, filepath.Join(bin, "etcd"),
		"--name=cluster", "--data-dir="+d.Path("etcd"),
		"--listen-client-urls="+layout.EtcdClient, "--advertise-client-urls="+layout.EtcdClient,
		"--listen-peer-urls="+layout.EtcdPeer, "--initial-advertise-peer-urls="+layout.EtcdPeer,
		"--initial-cluster=cluster="+layout.EtcdPeer,
		// The cluster is thrown away with its machine: nothing is worth a disk flush.
		"--unsafe-no-fsync", "--logger=zap", "--log-level=warn")
	add(APIServer, filepath.Join(bin, "kube-apiserver"), apiServer(d)...)
	add(Containerd, "/usr/bin/containerd", "--config", d.Path("containerd.toml"))
	add(Registry, filepath.Join(bin, "registry"), "serve", d.Path("registry.yaml"))
	add(AuthRegistry, filepath.Join(bin, "registry"), "serve", d.Path("registry-auth.yaml"))
	add(ControllerManager, filepath.Join(bin, "kube-controller-manager"),
		"--kubeconfig="+d.Kubeconfig("controller-manager"), "--use-service-account-credentials",
		"--service-account-private-key-file="+d.PKI("sa.key"), "--root-ca-file="+d.PKI("ca.crt"),
		"--leader-elect=false", "--secure-port=0")
	add(Scheduler, filepath.Join(bin, "kube-scheduler"),
		"--kubeconfig="+d.Kubeconfig("scheduler"), "--leader-elect=false", "--secure-port=0")
	add(Kubelet, filepath.Join(bin, "kubelet"),
		"--config="+d.Path("kubelet.yaml"), "--kubeconfig="+d.Kubeconfig("kubelet"), "--root-dir="+d.Path("kubelet"),
		"--cert-dir="+d.Path("kubelet-pki"), "--hostname-override="+layout.NodeName, "--node-ip="+layout.BridgeIP)
	return all
}

func apiServer(d layout.Dirs) []string {
	return []string{
		"--etcd-servers=" + layout.EtcdClient,
		"--bind-address=" + layout.BridgeIP, "--advertise-address=" + layout.BridgeIP,
		"--secure-port=" + strconv.Itoa(layout.APIPort),
		"--tls-cert-file=" + d.PKI("apiserver.crt"), "--tls-private-key-file=" + d.PKI("apiserver.key"),
		"--client-ca-file=" + d.PKI("ca.crt"), "--token-auth-file=" + d.PKI("tokens.csv"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + d.PKI("sa.key"), "--service-account-signing-key-file=" + d.PKI("sa.key"),
		"--service-cluster-ip-range=" + layout.ServiceSubnet,
		// Otherwise it asks for logs by the node's name, which nobody resolves.
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority=" + d.PKI("ca.crt"),
		"--kubelet-client-certificate=" + d.PKI("kubelet-client.crt"), "--kubelet-client-key=" + d.PKI("kubelet-client.key"),
		"--profiling=false",
	}
}
