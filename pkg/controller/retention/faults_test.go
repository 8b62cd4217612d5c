package retention

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

var errServer = apierrors.NewInternalError(errors.New("induced"))

// TestFailedDeletions are tried again, later and later, as what they are: no
// record goes, and nobody is told that deletions are forbidden.
func TestFailedDeletions(t *testing.T) {
	for name, err := range map[string]error{
		"401": failure(registry.ErrUnauthorized, 401), "429": failure(registry.ErrRateLimited, 429), "500": failure(registry.ErrUnavailable, 500),
		"503": failure(registry.ErrUnavailable, 503), "timeout": context.DeadlineExceeded, "TLS": failure(registry.ErrTLS, 0),
		"other": failure(registry.ErrRejected, 400),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "abcde")
			c.mark(long, "ab")
			c.registry = func(image string) error {
				if image == imageOf("b") {
					return err
				}
				return nil
			}
			r := c.start()
			at := begin
			for n, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				if after := r.rest("worker"); after != want*time.Minute {
					t.Fatalf("after failure %d it is tried again in %v, want %v", n+1, after, want*time.Minute)
				}
				at = at.Add(want * time.Minute)
				c.clock.SetTime(at)
			}
			if got := c.records(); got != "b! c d e" {
				t.Errorf("records %s", got)
			}
			c.registry = func(string) error { return nil }
			if r.rest("worker"); c.records() != "c d e" {
				t.Errorf("records, when the registry is well: %s", c.records())
			}
			if told := c.told(); len(told) > 0 {
				t.Errorf("events %q", told)
			}
		})
	}
}

// TestFaultsDeleteNothing: whatever cannot be read or written, no image is
// deleted that way, and the round is tried again.
func TestFaultsDeleteNothing(t *testing.T) {
	conflict := apierrors.NewConflict(corev1.Resource("configmaps"), "x", errors.New("induced"))
	for _, row := range []struct {
		marked string
		what   string
		err    error
	}{
		{"", "list nodes", errServer},
		{"a", "list nodes", apierrors.NewForbidden(corev1.Resource("nodes"), "", errors.New("no right"))},
		{"a", "list machineconfigpools", errServer},
		{"a", "get machineconfigpools worker", errServer},
		{"a", "list configmaps", errServer},
		{"", "get configmaps digest-" + configOf("worker", "a"), errServer},
		{"", rewrites("a"), conflict},
		{"", rewrites("a"), errServer},
	} {
		t.Run(fmt.Sprintf("%s, marked %q", row.what, row.marked), func(t *testing.T) {
			c := newCluster(t, "abcd")
			if row.marked != "" {
				c.mark(long, row.marked)
			}
			r := c.start()
			c.fail[row.what] = row.err
			if _, err := r.round("worker"); !errors.Is(err, row.err) {
				t.Fatalf("error %v, want %v", err, row.err)
			}
			if effects := c.took(); slices.Contains(effects, deletes("a")) {
				t.Errorf("effects %v", effects)
			}
			delete(c.fail, row.what)
			r.rest("worker")
			c.clock.SetTime(begin.Add(grace))
			if r.rest("worker"); c.records() != "b c d" {
				t.Errorf("records when all is well: %s", c.records())
			}
		})
	}
}

// TestFaultsAfterADeletion: the record of an image that is gone goes in the end.
func TestFaultsAfterADeletion(t *testing.T) {
	c := newCluster(t, "abcd")
	c.mark(long, "a")
	r := c.start()
	c.fail[drops("a")] = errServer
	for range 3 {
		if _, err := r.round("worker"); err != nil && !apierrors.IsInternalError(err) {
			t.Fatal(err)
		}
	}
	delete(c.fail, drops("a"))
	r.rest("worker")
	if n := len(slices.DeleteFunc(c.took(), func(e string) bool { return e != deletes("a") })); n != 1 || c.records() != "b c d" {
		t.Errorf("the image was deleted %d times; records %s", n, c.records())
	}
}

// TestSecretsAreMissing: the deletion is tried again like one that failed.
func TestSecretsAreMissing(t *testing.T) {
	c := newCluster(t, "abcd")
	c.must(c.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, api.ConfigMapBuildConfig))
	c.settings(api.KeyFinalImagePullspec, repository, api.KeyFinalImagePushSecretName, "push")
	c.mark(long, "a")
	r := c.start()
	if after := r.rest("worker"); after != firstRetry || c.records() != "a! b c d" {
		t.Errorf("records %s, again after %v", c.records(), after)
	}
	if effects := c.took(); len(effects) > 0 {
		t.Errorf("effects %v", effects)
	}
}

// TestKilledAfterEveryEffect starts the controller anew after its k-th write or
// deletion, for every k: the end is that of the run which is never killed.
func TestKilledAfterEveryEffect(t *testing.T) {
	const mostEffects = 30
	live := func(t *testing.T, k int) (string, int, bool) {
		c := newCluster(t, "abcdef")
		c.changeRecord("b", func(r *osbuild.Record) {
			r.Superseded = []osbuild.SupersededImage{{Image: imageOf("x"), Finished: r.Finished.Add(-time.Minute)}}
		})
		there := map[string]bool{}
		c.registry = func(image string) error {
			if there[image] {
				return failure(registry.ErrNotFound, 404)
			}
			there[image] = true
			return nil
		}
		c.killAfter = k
		r := c.start()
		killed := false
		for minutes := 0; minutes < 60; minutes += 5 {
			c.clock.SetTime(begin.Add(time.Duration(minutes) * time.Minute))
			for range 20 {
				_, _ = r.round("worker") // a dead controller's errors are nobody's
			}
			c.mu.Lock()
			if c.killAfter > 0 && len(c.effects) >= c.killAfter {
				killed, c.killAfter = true, 0
				c.mu.Unlock()
				r.stop()
				r = c.start()
				continue
			}
			c.mu.Unlock()
		}
		return c.records(), len(there), killed
	}
	want, deleted, _ := live(t, 0)
	if want != "d e f" || deleted != 4 {
		t.Fatalf("unbroken: records %s, %d images deleted", want, deleted)
	}
	for k := 1; k <= mostEffects; k++ {
		got, n, killed := live(t, k)
		if !killed {
			return
		}
		if got != want || n != deleted {
			t.Errorf("killed after effect %d: records %q, want %q; %d images deleted, want %d", k, got, want, n, deleted)
		}
	}
	t.Errorf("there are more than %d effects", mostEffects)
}

// TestRegistryIsAskedWithTheCredentials of the push Secret and the cluster's CA.
func TestRegistryIsAskedWithTheCredentials(t *testing.T) {
	for name, row := range map[string]struct {
		fault   int
		records string
		events  int
		there   bool
	}{
		"deleted":                     {records: "b c d"},
		"S31: forbidden":              {fault: http.StatusMethodNotAllowed, records: "a! b c d", events: 1, there: true},
		"the registry is broken":      {fault: http.StatusInternalServerError, records: "a! b c d", there: true},
		"the login is not known":      {fault: http.StatusUnauthorized, records: "a! b c d", there: true},
		"the connection is cut short": {fault: -1, records: "a! b c d", there: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.New(t)
			pushed := server.Push(t, "os/images:a", registrytest.Image(t, "amd64"))
			client, err := registry.NewClient(registry.Options{CAs: [][]byte{server.CA}})
			if err != nil {
				t.Fatal(err)
			}
			digest, err := client.Resolve(t.Context(), pushed)
			if err != nil {
				t.Fatal(err)
			}
			old := server.Host + "/os/images@" + digest
			server.Login(func(user, password string, r *http.Request) int {
				if r.Method == http.MethodDelete && (user != "user" || password != "pass") {
					return http.StatusUnauthorized
				}
				return 0
			})
			if row.fault != 0 {
				server.Fault(func(r *http.Request) (int, bool) { return max(row.fault, 0), r.Method == http.MethodDelete })
			}
			c := newCluster(t, "abcd")
			c.must(c.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, api.ConfigMapBuildConfig))
			c.settings(api.KeyFinalImagePullspec, server.Host+"/os/images", api.KeyFinalImagePushSecretName, "push")
			c.must(c.core.Tracker().Add(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.ConfigMapServiceCA},
				Data:       map[string]string{api.ServiceCAKey: string(server.CA)},
			}))
			c.must(c.core.Tracker().Add(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockercfg,
				Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"` + server.Host + `":{"username":"user","password":"pass"}}`)},
			}))
			c.changeRecord("a", func(r *osbuild.Record) { r.Image, r.UnneededSince = old, long })
			r := c.start()
			r.Delete = deleteOnce
			r.rest("worker")
			if got := c.records(); got != row.records {
				t.Errorf("records %q, want %q", got, row.records)
			}
			if _, err := client.Resolve(t.Context(), old); (err == nil) != row.there {
				t.Errorf("the registry's answer: %v; it has the image: %t", err, row.there)
			}
			if told := c.told(); len(told) != row.events || strings.Contains(strings.Join(told, ""), "pass") {
				t.Errorf("events %q, want %d", told, row.events)
			}
		})
	}
}
