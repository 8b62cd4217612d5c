package executor

import (
	"errors"
	"slices"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
)

// TestAdopts: the pod was made, and then the controller died before it wrote the Build.
func TestAdopts(t *testing.T) {
	for killed, want := range map[string][]string{
		"patch builds":         {"patch builds", "update builds/status"},
		"update builds/status": {"update builds/status"},
	} {
		t.Run(killed, func(t *testing.T) {
			c := newCluster(t, newBuild())
			c.fail[killed] = errors.New("killed")
			if _, err := c.start().round(); err == nil {
				t.Fatal("no error")
			}
			if c.now().Status.Phase != "" || c.pod() == nil {
				t.Fatalf("status %+v", c.now().Status)
			}
			c.took()
			c.start().rest()
			if got := c.took(); c.now().Status.Phase != "Pending" || c.now().Annotations["openshift.io/build.pod-name"] != podName || !slices.Equal(got, want) {
				t.Errorf("annotations %q, status %+v, writes %q", c.now().Annotations, c.now().Status, got)
			}
		})
	}
}

// TestAdoptsAtOnce: what a pod has to say when it is found is one write beside the status.
func TestAdoptsAtOnce(t *testing.T) {
	c := newCluster(t, newBuild(withGit))
	c.fail["patch builds"] = errors.New("killed")
	if _, err := c.start().round(); err == nil {
		t.Fatal("no error")
	}
	c.took()
	c.play(running)
	c.play(fetched)
	c.start().rest()
	if b, got := c.now(), c.took(); b.Spec.Revision == nil || b.Annotations["openshift.io/build.pod-name"] != podName || !slices.Equal(got, []string{"patch builds", "update builds/status"}) {
		t.Errorf("annotations %q, revision %+v, writes %q", b.Annotations, b.Spec.Revision, got)
	}
}

// TestNamesThePodOfARunningBuild that a controller of before did not name.
func TestNamesThePodOfARunningBuild(t *testing.T) {
	c := newCluster(t, newBuild())
	r := c.start()
	r.rest()
	c.play(running)
	r.rest()
	b := c.now().DeepCopy()
	delete(b.Annotations, "openshift.io/build.pod-name")
	c.must(c.build.Tracker().Update(buildv1.GroupVersion.WithResource("builds"), b, namespace))
	c.took()
	c.start().rest()
	if got := c.took(); c.now().Annotations["openshift.io/build.pod-name"] != podName || !slices.Equal(got, []string{"patch builds"}) {
		t.Errorf("annotations %q, writes %q", c.now().Annotations, got)
	}
}
