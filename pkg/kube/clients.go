package kube

import (
	"context"
	"fmt"

	buildclient "github.com/openshift/client-go/build/clientset/versioned"
	mcfgclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Requests per second to the API server. A build takes about ten writes, so
// this is no limit in practice; priority and fairness on the server is one.
const (
	qps   = 100
	burst = 200
)

// Clients are the typed clients that the controllers use.
type Clients struct {
	Core          kubernetes.Interface
	MachineConfig mcfgclient.Interface
	Metadata      metadata.Interface
	// Build is for Builds of build.openshift.io/v1, which not every cluster has; nil for
	// no interest in them.
	Build buildclient.Interface
	// Dynamic reads kinds that only some clusters have; nil where there are none.
	Dynamic dynamic.Interface
	// OpenShift remembers which of those there are; nil to ask each time.
	OpenShift *KnownKinds
}

// Config returns the connection to the API server: from a kubeconfig file, or
// from the pod's ServiceAccount when the path is empty.
func Config(kubeconfig, userAgent string) (*rest.Config, error) {
	load := rest.InClusterConfig
	if kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	config, err := load()
	if err != nil {
		return nil, fmt.Errorf("reading the connection to the API server: %w", err)
	}
	config.UserAgent = userAgent
	config.QPS, config.Burst = qps, burst
	config.WarningHandlerWithContext = warnings{}
	return config, nil
}

// warnings are what the API server says beside an answer. Each build whose
// steps need user ids is warned of, which is news to nobody.
type warnings struct{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (warnings) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	klog.FromContext(ctx).V(4).Info("API server warns", "text", text)
}

// NewClients makes the clients of a connection.
func NewClients(config *rest.Config) (Clients, error) {
	core, err := kubernetes.NewForConfig(protobuf(config))
	if err != nil {
		return Clients{}, fmt.Errorf("making the core client: %w", err)
	}
	machineConfig, err := mcfgclient.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("making the machineconfiguration client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("making the metadata client: %w", err)
	}
	build, err := buildclient.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("making the build client: %w", err)
	}
	others, err := dynamic.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("making the dynamic client: %w", err)
	}
	return Clients{Core: core, MachineConfig: machineConfig, Metadata: meta, Build: build, Dynamic: others, OpenShift: &KnownKinds{Clock: clock.RealClock{}}}, nil
}

// protobuf asks for the smaller encoding, which built-in kinds have and custom
// resources have not.
func protobuf(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return c
}
