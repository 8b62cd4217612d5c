package executor

import (
	"errors"
	"slices"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// TestEndedBySomebodyElse: the record of such a Build is completed from what the API
// server has, not from the part that the cache keeps.
func TestEndedBySomebodyElse(t *testing.T) {
	gvr := buildv1.GroupVersion.WithResource("builds")
	read, write := "get builds", "update builds/status"
	for name, row := range map[string]struct {
		meanwhile func(*cluster)
		fails     bool
		want      []string
	}{
		"as the cache shows it": {want: []string{write}},
		"it is gone": {meanwhile: func(c *cluster) {
			c.must(c.build.Tracker().Delete(gvr, namespace, "app-1"))
		}},
		"it is another of that name": {meanwhile: func(c *cluster) {
			c.must(c.build.Tracker().Update(gvr, newBuild(func(b *buildv1.Build) { b.UID = "uid-of-another" }), namespace))
		}},
		"it cannot be read": {fails: true, meanwhile: func(c *cluster) {
			c.fail[read] = apierrors.NewInternalError(errors.New("induced"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newBuild(func(b *buildv1.Build) { b.Status.Phase = buildv1.BuildPhaseFailed }))
			r := c.start()
			spec := c.now().Spec.DeepCopy()
			if cached, err := r.Informers.BuildLister.Builds(namespace).Get("app-1"); err != nil || cached.Spec.Source.Dockerfile != nil {
				t.Fatalf("the cache has all of the Build, %v", err)
			}
			if row.meanwhile != nil {
				c.build.PrependReactor("get", "builds", func(clienttesting.Action) (bool, runtime.Object, error) {
					row.meanwhile(c)
					return false, nil, nil
				})
			}
			if _, err := r.sync(t.Context(), key); (err != nil) != row.fails {
				t.Errorf("error %v", err)
			}
			if got := c.took(); !slices.Equal(got, row.want) {
				t.Errorf("writes %q, want %q", got, row.want)
			}
			if row.want == nil {
				return
			}
			b := c.now()
			if b.Status.CompletionTimestamp == nil {
				t.Error("the record is not complete")
			}
			if b.Spec.Source.Dockerfile == nil || *b.Spec.Source.Dockerfile != *spec.Source.Dockerfile || b.Spec.Strategy.DockerStrategy == nil {
				t.Errorf("the Build has become %+v", b.Spec)
			}
		})
	}
}
