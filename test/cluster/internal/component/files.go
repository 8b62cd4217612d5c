package component

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

var (
	//go:embed containerd.toml.tmpl
	containerdTemplate string
	//go:embed kubelet.yaml.tmpl
	kubeletTemplate string
	//go:embed registry.yaml.tmpl
	registryTemplate string
	//go:embed kubeconfig.yaml.tmpl
	kubeconfigTemplate string
	//go:embed cni.json.tmpl
	cniTemplate string
	//go:embed hosts.toml.tmpl
	hostsTemplate string
)

// PauseImage is the name of the sandbox image in containerd.
const PauseImage = "localhost/machine-os-builder/pause:1"

// User is a component's identity by static token.
type User struct {
	Name   string // of its kubeconfig
	User   string
	Groups string
}

// Users are the identities that get a token and a kubeconfig each.
func Users() []User {
	return []User{
		{"admin", "admin", "system:masters"},
		{"controller-manager", "system:kube-controller-manager", ""},
		{"scheduler", "system:kube-scheduler", ""},
		{"kubelet", "system:node:" + layout.NodeName, "system:nodes"},
	}
}

// TokenLine is one line of the API server's static token file.
func (u User) TokenLine(token string) string {
	return fmt.Sprintf("%s,%s,%s,%q\n", token, u.User, u.User, u.Groups)
}

func render(name, text string, values map[string]any) string {
	var b bytes.Buffer
	// The templates are part of the program and the values come from it: a failure is a mistake in here.
	if err := template.Must(template.New(name).Option("missingkey=error").Parse(text)).Execute(&b, values); err != nil {
		panic(err)
	}
	return b.String()
}

// ContainerdConfig is containerd's configuration: root, state and socket below the work directory.
func ContainerdConfig(d layout.Dirs) string {
	return render("containerd", containerdTemplate, map[string]any{
		"Root": d.Path("containerd", "root"), "State": d.Path("containerd", "state"), "Socket": d.ContainerdSocket(),
		"Runc": d.Path("containerd", "runc"), "CNI": d.Path("cni"), "CertsD": d.CertsDir(), "Pause": PauseImage,
	})
}

// KubeletConfig is the kubelet's configuration.
func KubeletConfig(d layout.Dirs) string {
	return render("kubelet", kubeletTemplate, map[string]any{
		"Address": layout.BridgeIP, "CA": d.PKI("ca.crt"), "Cert": d.PKI("kubelet.crt"), "Key": d.PKI("kubelet.key"),
		"Socket": "unix://" + d.ContainerdSocket(), "Cgroup": d.Cgroup(), "Logs": d.Path("pods-log"),
		"Plugins": d.Path("volume-plugins"), "Manifests": d.Path("static-pods"),
	})
}

// RegistryConfig is one registry's configuration. An empty htpasswd leaves it open.
func RegistryConfig(d layout.Dirs, storage, addr, htpasswd string) string {
	return render("registry", registryTemplate, map[string]any{
		"Storage": d.Path(storage), "Addr": addr, "Cert": d.PKI("registry.crt"), "Key": d.PKI("registry.key"), "Htpasswd": htpasswd,
	})
}

// Kubeconfig is the kubeconfig of a user with this token.
func Kubeconfig(d layout.Dirs, token string) string {
	return render("kubeconfig", kubeconfigTemplate, map[string]any{"Server": layout.APIURL(), "CA": d.PKI("ca.crt"), "Token": token})
}

// CNIConfig is the pods' network: a bridge with the node's address as its gateway.
func CNIConfig(d layout.Dirs) string {
	return render("cni", cniTemplate, map[string]any{
		"Name": layout.Network, "Bridge": layout.Bridge, "Subnet": layout.PodSubnet, "Gateway": layout.BridgeIP, "Data": d.Path("ipam"),
	})
}

// RegistryHosts tells containerd how to reach a registry: over TLS, trusting the cluster's CA.
func RegistryHosts(d layout.Dirs, addr string) string {
	return render("hosts", hostsTemplate, map[string]any{"Server": "https://" + addr, "CA": d.PKI("ca.crt")})
}
