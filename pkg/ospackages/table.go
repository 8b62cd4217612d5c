package ospackages

// Values of spec.kernelType of a MachineConfig. Empty means the default, the
// kernel that a base image comes with.
const (
	KernelDefault  = "default"
	KernelRealtime = "realtime"
	Kernel64kPages = "64k-pages"
)

// extensions are the packages of each extension, as OpenShift's
// machine-config-daemon has them (github.com/openshift/machine-config-operator,
// the supported extensions; its releases 4.6 to 4.20 together).
var extensions = map[string][]string{
	"ipsec":                {"NetworkManager-libreswan", "libreswan"},
	"kerberos":             {"krb5-workstation", "libkadm5"},
	"kernel-devel":         {"kernel-devel", "kernel-headers"},
	"sandboxed-containers": {"kata-containers"},
	"sysstat":              {"sysstat"},
	"two-node-ha":          {"fence-agents-all", "pacemaker", "pcs"},
	"usbguard":             {"usbguard"},
	"wasm":                 {"crun-wasm"},
}

// defaultKernelOnly are the extensions that its machine-config-controller refuses
// beside another kernel: their packages are of the default one.
var defaultKernelOnly = []string{"kernel-devel"}

// kernel is what takes the default kernel's place.
type kernel struct {
	install []string
	// optional are installed where the extensions image has them: releases differ.
	optional []string
	// architectures are those that the kernel is made for, as Go names them; nil for any.
	architectures []string
}

// defaultKernel are the packages that another kernel replaces.
var defaultKernel = []string{"kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-modules-extra"}

// kernels are those of the same source as extensions.
var kernels = map[string]kernel{
	KernelRealtime: {
		install:  []string{"kernel-rt-core", "kernel-rt-modules", "kernel-rt-modules-extra"},
		optional: []string{"kernel-rt-modules-core", "kernel-rt-kvm"},
	},
	Kernel64kPages: {
		install:       []string{"kernel-64k-core", "kernel-64k-modules", "kernel-64k-modules-core", "kernel-64k-modules-extra"},
		architectures: []string{"arm64"},
	},
}
