package measure

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// encoded is an object as the core client sends it.
func encoded(t *testing.T, object runtime.Object) string {
	t.Helper()
	for _, info := range scheme.Codecs.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeProtobuf {
			var out bytes.Buffer
			if err := scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(object, &out); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
	}
	t.Fatal("no protobuf")
	return ""
}

type recorder struct{ body string }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		r.body = string(body)
	}
	return &http.Response{StatusCode: http.StatusOK}, nil
}

func TestWritesAreNamed(t *testing.T) {
	cm := encoded(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mc-x"}})
	event := encoded(t, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "worker.1"}, Reason: "BuildStarted"})
	rows := []struct{ method, path, body, want string }{
		{"GET", "/api/v1/namespaces/n/pods", "", ""},
		{"POST", "/api/v1/namespaces/n/configmaps", cm, "POST configmaps mc-x"},
		{"POST", "/api/v1/namespaces/n/events", event, "POST events BuildStarted"},
		{"POST", "/api/v1/namespaces/n/configmaps", "nonsense", "POST configmaps"},
		{"DELETE", "/api/v1/namespaces/n/configmaps/mc-x", "{}", "DELETE configmaps mc-x"},
		{"PATCH", "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker/status", "{}", "PATCH machineconfigpools worker status"},
	}
	for _, r := range rows {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			request, err := http.NewRequest(r.method, "https://api.example.com"+r.path, strings.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			list, next := &writes{}, &recorder{}
			response, err := counting{list, next}.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			if response.Body != nil {
				response.Body.Close()
			}
			if got := strings.Join(list.take(), "; "); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
			if next.body != r.body {
				t.Errorf("the request's body became %q", next.body)
			}
			if left := list.take(); len(left) != 0 {
				t.Errorf("taken twice: %v", left)
			}
		})
	}
}
