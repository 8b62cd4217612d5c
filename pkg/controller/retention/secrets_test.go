package retention

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

const password = "correct-horse-battery"

// quoting is a registry that has every image and answers its deletion with the login
// that was used.
func quoting(t *testing.T, status int) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, known := r.BasicAuth()
		switch {
		case !known:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodDelete:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"%s may not with %s (%s)"}]}`, user, password, r.Header.Get("Authorization"))
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64))
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestRegistryQuotesTheLogin: what a registry says of a deletion is told without the
// login that it was asked with.
func TestRegistryQuotesTheLogin(t *testing.T) {
	image := func(r *rig) error {
		r.caughtUp()
		for range 2 {
			if _, err := r.sync(t.Context(), "worker"); err != nil {
				return err
			}
			r.deletions.wait()
		}
		return nil
	}
	buildCache := func(r *rig) error {
		r.cacheRound(t)
		optOut(r.cluster)
		r.cacheRound(t)
		r.cluster.clock.Step(cacheGrace)
		_, err := r.syncCache(t.Context(), "worker")
		return err
	}
	for name, row := range map[string]struct {
		status int
		delete func(*rig) error
		fails  bool
		events int
	}{
		"an image, forbidden":      {status: http.StatusForbidden, delete: image, events: 1},
		"an image, refused":        {status: http.StatusBadRequest, delete: image},
		"a build cache, forbidden": {status: http.StatusForbidden, delete: buildCache},
		"a build cache, refused":   {status: http.StatusBadRequest, delete: buildCache, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := quoting(t, row.status)
			host := server.Listener.Addr().String()
			c := newCluster(t, "abcd")
			gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
			c.must(c.core.Tracker().Delete(gvr, namespace, api.ConfigMapBuildConfig))
			c.settings(api.KeyFinalImagePullspec, host+"/os/images", api.KeyFinalImagePushSecretName, "push", api.KeyBuildCache, api.BuildCacheRegistry)
			c.must(c.core.Tracker().Add(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.ConfigMapServiceCA},
				Data:       map[string]string{api.ServiceCAKey: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))},
			}))
			c.must(c.core.Tracker().Add(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockercfg,
				Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"` + host + `":{"username":"pusher","password":"` + password + `"}}`)},
			}))
			c.changeRecord("a", func(r *osbuild.Record) {
				r.Image, r.UnneededSince = host+"/os/images@sha256:"+strings.Repeat("a", 64), long
			})
			r := c.start()
			r.Delete = deleteOnce
			var log bytes.Buffer
			klog.SetSlogLogger(slog.New(slog.NewTextHandler(&log, nil)))
			t.Cleanup(klog.ClearLogger)
			err := row.delete(r)
			told := c.told()
			if (err != nil) != row.fails || len(told) != row.events {
				t.Errorf("error %v, events %q, want %d", err, told, row.events)
			}
			all := fmt.Sprint(err, told, log.String())
			if strings.Count(all, "may not with [redacted]") == 0 {
				t.Errorf("what the registry said is not told: %s", all)
			}
			for _, secret := range []string{password, "Basic cHVz"} {
				if strings.Contains(all, secret) {
					t.Errorf("%s is told: %s", secret, all)
				}
			}
		})
	}
}
