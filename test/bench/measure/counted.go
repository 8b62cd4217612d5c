package measure

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	mcfgscheme "github.com/openshift/client-go/machineconfiguration/clientset/versioned/scheme"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// writes lists requests that change something, as "METHOD resource name".
type writes struct {
	mu   sync.Mutex
	seen []string
}

// counting is the transport of one client, which lists its writes.
type counting struct {
	*writes
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		what, err := describe(r)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.seen = append(c.seen, what)
		c.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

// take returns what was listed since the last call.
func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// describe names a request's object; a new object's name is in the body only.
func describe(r *http.Request) (string, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	// api/v1/… or apis/group/version/…, then perhaps namespaces/name.
	parts = parts[min(len(parts), map[string]int{"api": 2, "apis": 3}[parts[0]]):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	what := r.Method + " " + strings.Join(parts, " ")
	if r.Method != http.MethodPost || r.Body == nil {
		return what, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return what, nil // not an object of a built-in kind
	}
	if event, ok := object.(*corev1.Event); ok {
		return what + " " + event.Reason, nil
	}
	if accessor, err := meta.Accessor(object); err == nil {
		what += " " + accessor.GetName()
	}
	return what, nil
}

// Writes are those of one build.
type Writes struct {
	Objects []string
	Events  []string
}

// Counted is a controller within this process that works on the cluster under
// the product's own ServiceAccount, in the place of the deployed one. Its
// requests are counted. It holds no lease, whose renewals belong to no build.
type Counted struct {
	session *Session
	writes  *writes
	stop    context.CancelFunc
	ended   chan struct{}
}

// StartCounted stops the deployed controller and starts one that is counted.
// It can be called once a process, because metrics of queues can.
func (s *Session) StartCounted(ctx context.Context) (*Counted, error) {
	if err := s.Scale(ctx, 0); err != nil {
		return nil, err
	}
	c := &Counted{session: s, writes: &writes{}, ended: make(chan struct{})}
	config, err := s.countedConfig(ctx, c.writes)
	if err != nil {
		return nil, err
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		return nil, err
	}
	informers, err := kube.NewInformers(clients, live.Namespace)
	if err != nil {
		return nil, err
	}
	gatherer := prometheus.NewRegistry()
	metrics.RegisterClientGo(gatherer)
	ctx, c.stop = context.WithCancel(ctx)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
	loop, err := osbuild.New(osbuild.Options{
		Clients: clients, Informers: informers, Namespace: live.Namespace, BuilderImage: s.BuilderImage,
		Backend:  pod.New(clients.Core, informers, live.Namespace),
		Recorder: broadcaster.NewRecorder(mcfgscheme.Scheme, corev1.EventSource{Component: deployment}),
		Metrics:  metrics.NewBuilds(gatherer), Clock: clock.RealClock{},
	})
	if err == nil {
		err = informers.Start(ctx)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	go func() {
		defer close(c.ended)
		loop.Run(ctx)
		broadcaster.Shutdown()
	}()
	s.syncs = func(context.Context) (float64, error) { return gatheredSyncs(gatherer) }
	return c, nil
}

// tokenSeconds is longer than any bench takes.
const tokenSeconds = 24 * 3600

func (s *Session) countedConfig(ctx context.Context, w *writes) (*rest.Config, error) {
	admin, err := kube.Config(s.Kubeconfig, "machine-os-builder-bench")
	if err != nil {
		return nil, err
	}
	expiry := int64(tokenSeconds)
	token, err := s.Clients.Core.CoreV1().ServiceAccounts(live.Namespace).CreateToken(ctx, deployment,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &expiry}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of ServiceAccount %q: %w", deployment, err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{w, next} })
	return config, nil
}

func gatheredSyncs(gatherer prometheus.Gatherer) (float64, error) {
	families, err := gatherer.Gather()
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	for _, family := range families {
		if family.GetName() != "workqueue_work_duration_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "name" && label.GetValue() == osbuild.Name {
					return float64(metric.GetHistogram().GetSampleCount()), nil
				}
			}
		}
	}
	return 0, nil
}

// Run is Session.Run, with the controller's writes meanwhile.
func (c *Counted) Run(ctx context.Context, pool string) (Build, Writes, error) {
	c.writes.take()
	build, err := c.session.Run(ctx, pool)
	var w Writes
	for _, what := range c.writes.take() {
		what = strings.ReplaceAll(strings.ReplaceAll(what, build.Config, "<rendered>"), pool, "<pool>")
		if strings.Contains(what, " events") {
			w.Events = append(w.Events, what)
		} else {
			w.Objects = append(w.Objects, what)
		}
	}
	return build, w, err
}

// Stop ends the counted controller and starts the deployed one.
func (c *Counted) Stop(ctx context.Context) error {
	c.stop()
	<-c.ended
	c.session.syncs = c.session.deployedSyncs
	return c.session.Scale(ctx, 1)
}
