package pod

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/podlog"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
)

// TestLog reads the logs of the containers that have started, in their order,
// and says which it could not read.
func TestLog(t *testing.T) {
	logs := map[string]string{"prepare": "pulled\n", "image-build": "STEP 1\nSTEP 2"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := logs[r.URL.Query().Get("container")]
		if !ok || r.URL.Path != "/api/v1/namespaces/builds/pods/build-rendered-worker-a/log" || r.URL.Query().Get("tailLines") == "" {
			http.Error(w, "the kubelet does not answer", http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, text)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	informers, err := kube.NewInformers(kube.Clients{Core: client}, "builds")
	if err != nil {
		t.Fatal(err)
	}
	ran := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "builds", Name: "build-rendered-worker-a", UID: "run-1", Labels: map[string]string{api.LabelBuildPod: ""}},
		Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "prepare", State: ran}, {Name: "image-build", State: ran}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: "push"}},
		},
	}
	if err := informers.Pods.GetStore().Add(p); err != nil {
		t.Fatal(err)
	}
	b, run := New(client, informers, "builds"), backend.Observation{RenderedConfig: "rendered-worker-a", UID: "run-1", Object: "pod/build-rendered-worker-a"}

	lines, err := b.Log(t.Context(), run)
	if diff := cmp.Diff([]string{"==> prepare", "pulled", "==> image-build", "STEP 1", "STEP 2"}, lines); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}

	logs["image-build"] = "STEP 1\n==> push\nSTEP 2"
	lines, err = b.Log(t.Context(), run)
	if diff := cmp.Diff([]string{"==> prepare", "pulled", "==> image-build", "STEP 1", " ==> push", "STEP 2"}, lines); err != nil || diff != "" {
		t.Errorf("with a forged container: %v\n%s", err, diff)
	}
	logs["image-build"] = "STEP 1\nSTEP 2"

	delete(logs, "prepare")
	lines, err = b.Log(t.Context(), run)
	if diff := cmp.Diff([]string{"==> image-build", "STEP 1", "STEP 2"}, lines); err == nil || !strings.Contains(err.Error(), "prepare of pod/build-rendered-worker-a") || diff != "" {
		t.Errorf("with one log lost: %v\n%s", err, diff)
	}

	logs["prepare"], logs["image-build"] = "unable to retrieve container logs for containerd://0123", "STEP 1\n"
	lines, err = b.Log(t.Context(), run)
	if diff := cmp.Diff([]string{"==> image-build", "STEP 1"}, lines); err != nil || diff != "" {
		t.Errorf("with one container removed: %v\n%s", err, diff)
	}

	run.UID = "run-2"
	if lines, err := b.Log(t.Context(), run); err != nil || len(lines) > 0 {
		t.Errorf("of another run: %q, %v", lines, err)
	}
}

// TestLogOfParts tells whose log is whose, and all of it fits into a ConfigMap.
func TestLogOfParts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.Path)
		fmt.Fprint(w, strings.Repeat(strings.Repeat("x", 2*podlog.LongestLine)+"\n", 2*backend.LogLines))
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	informers, err := kube.NewInformers(kube.Clients{Core: client}, "builds")
	if err != nil {
		t.Fatal(err)
	}
	var pods []*corev1.Pod
	for _, architecture := range both {
		p := states['S'](architecture).partOf(architecture)
		p.Namespace = "builds"
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, corev1.ContainerStatus{Name: api.ContainerBuild, State: *ended(0, "", "")})
		pods = append(pods, p)
		if err := informers.Pods.GetStore().Add(p); err != nil {
			t.Fatal(err)
		}
	}
	o := observe(nil, pods)[0]
	lines, err := New(client, informers, "builds").Log(t.Context(), o)
	var heads []string
	size := 0
	for _, line := range lines {
		size += len(line) + 1
		if strings.HasPrefix(line, "==> ") {
			heads = append(heads, line)
		}
	}
	want := []string{"==> amd64 prepare", "==> amd64 image-build", "==> amd64 push", "==> arm64 prepare", "==> arm64 image-build", "==> arm64 push"}
	if diff := cmp.Diff(want, heads); err != nil || diff != "" {
		t.Errorf("%v, containers:\n%s", err, diff)
	}
	if size > 1<<20 {
		t.Errorf("the log has %d bytes", size)
	}
	o.Parts[0].UID = "another"
	if lines, err := New(client, informers, "builds").Log(t.Context(), o); err != nil || lines[0] != want[3] {
		t.Errorf("with a pod of another run: %.40q, %v", lines, err)
	}
}
