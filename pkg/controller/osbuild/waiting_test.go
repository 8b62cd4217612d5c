package osbuild

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// TestOneOfManyLooksAfterASecret: pools that wait for the same Secret do not all read
// it every few seconds, and go on as soon as one of them finds it.
func TestOneOfManyLooksAfterASecret(t *testing.T) {
	f := newFixture()
	f.pools = append(f.pools, newPool("infra"), newPool("storage"))
	f.maps[0].Data[api.KeyFinalImagePushSecretName] = "push"
	r := f.start(t)
	woken := r.wakes()

	looks := func(pool string, want time.Duration) {
		t.Helper()
		after, err := r.settle(pool)
		if err != nil || after != want {
			t.Errorf("%s looks again after %v, %v; want %v", pool, after, err, want)
		}
	}
	looks("worker", accessPoll)
	looks("infra", refusedPoll)
	looks("storage", refusedPoll)
	looks("worker", accessPoll)

	// It opted out, say.
	r.waitsNoMore("worker")
	next := <-woken
	looks(next, accessPoll)

	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
	}
	if _, err := r.Clients.Core.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.settle(next); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"infra": "storage", "storage": "infra"}[next]
	if got := <-woken; got != other {
		t.Errorf("woken is %s, want %s", got, other)
	}
}
