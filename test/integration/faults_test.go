package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// TestKilledAfterEveryWrite kills the controller right after its k-th write of
// a build, for every k, and starts another.
func TestKilledAfterEveryWrite(t *testing.T) {
	const mostWrites = 14 // more than a build has; the run that is never killed ends the loop
	for k := 1; k <= mostWrites; k++ {
		killed := false
		t.Run(fmt.Sprintf("write %d", k), func(t *testing.T) {
			w := newWorld(t)
			config := fmt.Sprintf("rendered-worker-k%d", k)
			w.addPool("worker", config)
			w.patchPool("worker", optIn)
			dead := make(chan struct{})
			writes := 0
			w.onWrite = func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				select {
				case <-dead:
					return nil, context.Canceled
				default:
				}
				response, err := send()
				if writes++; writes == k {
					killed = true
					close(dead)
				}
				return response, err
			}
			w.Start()
			w.untilDeadOrBuilt(dead, "worker", config)
			w.Stop()
			w.onWrite = nil
			w.Start()
			w.builtOnce("worker", config)
		})
		if !killed {
			return
		}
	}
	t.Errorf("a build has more than %d writes", mostWrites)
}

// untilDeadOrBuilt plays the kubelet until the controller was killed or has
// nothing left to write.
func (w *world) untilDeadOrBuilt(dead <-chan struct{}, pool, config string) {
	w.t.Helper()
	w.eventually("the controller was killed or is done", func() error {
		select {
		case <-dead:
			return nil
		default:
		}
		w.playKubelet(config)
		if w.pool(pool).Annotations[api.AnnotationImageConfig] == config && w.quiet(config) {
			return nil
		}
		return errors.New("neither")
	})
}

// playKubelet lets pending pods succeed, once each, and ends deleted ones.
func (w *world) playKubelet(config string) {
	w.t.Helper()
	pods, err := w.Admin.Core.CoreV1().Pods(namespace).List(w.ctx, metav1.ListOptions{LabelSelector: api.LabelBuildPod})
	must(w.t, err)
	w.reap(pods.Items)
	for _, p := range pods.Items {
		w.pods[string(p.UID)] = true
		if p.Status.Phase == corev1.PodPending && p.DeletionTimestamp == nil {
			w.finish(p.Name, buildspec.Result{Succeeded: true, Digest: w.push(config)})
		}
	}
}

func (w *world) quiet(config string) bool {
	return !w.exists("pod", "build-"+config) && !w.exists("configmap", "mc-"+config) && !w.exists("configmap", "dockerfile-"+config)
}

// builtOnce waits for the end that an undisturbed build has: the
// annotation names an image that the registry has, one pod was ever made,
// nothing but the record is left.
func (w *world) builtOnce(pool, config string) {
	w.t.Helper()
	w.eventually("the same end as without the disturbance", func() error {
		w.playKubelet(config)
		a := w.pool(pool).Annotations
		image, ok := strings.CutPrefix(a[api.AnnotationNewestImage], w.Registry+"@")
		if !ok || a[api.AnnotationImageConfig] != config || !w.has(image) {
			return fmt.Errorf("annotations are %v", a)
		}
		if !w.quiet(config) {
			return errors.New("build objects are still there")
		}
		if !w.exists("configmap", "digest-"+config) {
			return errors.New("there is no record")
		}
		return nil
	})
	w.verdict(pool, "BuildSuccess", api.ReasonBuildSucceeded)
	if len(w.pods) != 1 {
		w.t.Errorf("%d build pods were made, want 1", len(w.pods))
	}
}

// TestEveryWriteFailsOnce lets the k-th write of a build fail in each way that
// an API server has, for every k.
func TestEveryWriteFailsOnce(t *testing.T) {
	faults := map[string]func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error){
		"conflict": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
			return status(r, http.StatusConflict, metav1.StatusReasonConflict), nil
		},
		"too many requests": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
			return status(r, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests), nil
		},
		"server error": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
			return status(r, http.StatusInternalServerError, metav1.StatusReasonInternalError), nil
		},
		"connection lost before": func(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
			return nil, io.ErrUnexpectedEOF
		},
		"connection lost after": func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			if response, err := send(); err == nil {
				_ = response.Body.Close() // the answer is what gets lost
			}
			return nil, io.ErrUnexpectedEOF
		},
	}
	const writesOfABuild = 10
	for name, fault := range faults {
		for k := 1; k <= writesOfABuild; k++ {
			t.Run(fmt.Sprintf("%s at write %d", name, k), func(t *testing.T) {
				w := newWorld(t)
				config := fmt.Sprintf("rendered-worker-f%d", k)
				w.addPool("worker", config)
				w.patchPool("worker", optIn)
				writes := 0
				w.onWrite = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/events") {
						return send()
					}
					if writes++; writes == k {
						return fault(r, send)
					}
					return send()
				}
				w.Start()
				w.builtOnce("worker", config)
			})
		}
	}
}

func status(r *http.Request, code int, reason metav1.StatusReason) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"induced"}`, reason, code)
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)),
	}
}
