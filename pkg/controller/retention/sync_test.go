package retention

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

var long = begin.Add(-time.Hour)

// Effects of the rows.
func rewrites(letter string) string { return "update configmaps digest-" + configOf("worker", letter) }

func drops(letter string) string { return "delete configmaps digest-" + configOf("worker", letter) }

func deletes(letter string) string { return "DELETE " + imageOf(letter) }

func retarget(letter string) func(*mcfgv1.MachineConfigPool) {
	return func(p *mcfgv1.MachineConfigPool) { p.Spec.Configuration.Name = configOf("worker", letter) }
}

// TestSync holds each row to what lasts of it when nothing more happens by
// itself, and to when the loop wants to look again.
func TestSync(t *testing.T) {
	for name, row := range map[string]struct {
		letters string
		change  func(*cluster)
		effects []string
		records string
		events  int
		again   time.Duration
		// looks is how often nodes may be listed.
		looks int
	}{
		"nothing happens": {letters: "abc", records: "a b c"},
		"not opted in": {
			letters: "abcd", records: "a b c d",
			change: func(c *cluster) {
				c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.Labels = nil })
			},
		},
		"the settings are wrong": {
			letters: "abcd", records: "a b c d",
			change: func(c *cluster) {
				c.must(c.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, api.ConfigMapBuildConfig))
			},
		},
		"records of an earlier pool of that name": {
			letters: "abcd", records: "a b c d",
			change: func(c *cluster) {
				c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.UID = "another" })
			},
		},
		"an image too many is marked": {
			letters: "abcd", effects: []string{rewrites("a")}, records: "a! b c d", again: grace, looks: 1,
		},
		"marked a moment ago": {
			letters: "abcd", records: "a! b c d", again: 9 * time.Minute,
			change: func(c *cluster) { c.mark(begin.Add(-time.Minute), "a") },
		},
		"S31: marked long ago": {
			letters: "abcd", effects: []string{deletes("a"), drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) { c.mark(long, "a") },
		},
		"one after the other, by one read of the nodes": {
			letters: "abcdef", effects: []string{deletes("c"), drops("c"), deletes("b"), drops("b"), deletes("a"), drops("a")}, records: "d e f", looks: 1,
			change: func(c *cluster) { c.mark(long, "abc") },
		},
		"superseded ones first": {
			letters: "abcd", effects: []string{deletes("x"), rewrites("a"), deletes("a"), drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.changeRecord("a", func(r *osbuild.Record) {
					r.Superseded = []osbuild.SupersededImage{{Image: imageOf("x"), UnneededSince: long}}
				})
			},
		},
		"what steps left goes with the last image made of it": {
			letters: "abcdef", effects: []string{deletes("c"), drops("c"), deletes("s"), deletes("b"), drops("b"), deletes("a"), drops("a")}, records: "d e f", looks: 1,
			change: func(c *cluster) {
				c.mark(long, "abc")
				for letter, steps := range map[string]string{"b": "s", "c": "s", "a": "t", "f": "t"} {
					c.changeRecord(letter, func(r *osbuild.Record) { r.StepsImage = imageOf(steps) })
				}
			},
		},
		"an index before its images": {
			letters: "abcd", effects: []string{deletes("a"), deletes("1"), deletes("2"), drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.changeRecord("a", func(r *osbuild.Record) { r.Members = []string{"sha256:1", "sha256:2"} })
			},
		},
		"an index that is gone already, and one of its images": {
			letters: "abcd", effects: []string{deletes("a"), deletes("1"), deletes("2"), drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.changeRecord("a", func(r *osbuild.Record) { r.Members = []string{"sha256:1", "sha256:2"} })
				c.registry = func(image string) error {
					if image == imageOf("2") {
						return nil
					}
					return failure(registry.ErrNotFound, 404)
				}
			},
		},
		"an index one of whose images stays for now": {
			letters: "abcd", effects: []string{deletes("a"), deletes("1")}, records: "a! b c d", again: firstRetry,
			looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.changeRecord("a", func(r *osbuild.Record) { r.Members = []string{"sha256:1", "sha256:2"} })
				c.registry = func(image string) error {
					if image == imageOf("1") {
						return failure(registry.ErrUnavailable, 503)
					}
					return nil
				}
			},
		},
		"gone already": {
			letters: "abcd", effects: []string{deletes("a"), drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.registry = func(string) error { return failure(registry.ErrNotFound, 404) }
			},
		},
		"S31: the registry forbids deletions": {
			letters: "abcdef", effects: []string{deletes("c")}, records: "a! b! c! d e f", events: 1, again: time.Hour, looks: 1,
			change: func(c *cluster) {
				c.mark(long, "abc")
				c.registry = func(string) error { return failure(registry.ErrUnsupported, 405) }
			},
		},
		"S31: the registry forbids this login deletions": {
			letters: "abcd", effects: []string{deletes("a")}, records: "a! b c d", events: 1, again: time.Hour, looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.registry = func(string) error { return failure(registry.ErrDenied, 403) }
			},
		},
		"S31: a node runs it": {
			letters: "abcd", records: "a b c d", again: time.Hour, looks: 1,
			change: func(c *cluster) { c.addNode(api.AnnotationCurrentImage, imageOf("a")) },
		},
		"S31: a node is to run it": {
			letters: "abcd", records: "a b c d", effects: []string{rewrites("a")}, again: time.Hour, looks: 1,
			change: func(c *cluster) {
				c.mark(long, "a")
				c.addNode(api.AnnotationDesiredImage, imageOf("a"))
			},
		},
		"S31: another pool, not opted in, names it": {
			letters: "abcd", records: "x a b c d", again: time.Hour, looks: 1,
			change: func(c *cluster) {
				c.addPool("infra", "x")
				c.changePool("infra", func(p *mcfgv1.MachineConfigPool) {
					p.Labels, p.Annotations[api.AnnotationNewestImage] = nil, imageOf("a")
				})
			},
		},
		"a newer record of another pool names it": {
			letters: "abcd", records: "x a b c d", again: time.Hour, looks: 1,
			change: func(c *cluster) {
				c.addPool("infra", "x")
				c.must(c.core.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), c.recordMap(osbuild.Record{
					Pool: buildspec.Pool{Name: "infra"}, RenderedConfig: configOf("infra", "x"), Image: imageOf("a"), Finished: begin,
				}), namespace))
			},
		},
		"it is the base of a build": {
			letters: "abcd", records: "a b c d", again: time.Hour, looks: 1,
			change: func(c *cluster) { c.changeRecord("d", func(r *osbuild.Record) { r.Inputs.BaseImage = imageOf("a") }) },
		},
		"on its way to a new config": {
			letters: "abcd", records: "a! b c d",
			change: func(c *cluster) { c.mark(long, "a"); c.changePool("worker", retarget("new")) },
		},
		"S29: rolled back to a marked image, without a look": {
			letters: "abcd", effects: []string{rewrites("a")}, records: "a b c d",
			change: func(c *cluster) { c.mark(long, "a"); c.changePool("worker", retarget("a")) },
		},
		"more are kept now": {
			letters: "abcd", effects: []string{rewrites("a")}, records: "a b c d",
			change: func(c *cluster) {
				c.mark(long, "a")
				c.must(c.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, api.ConfigMapBuildConfig))
				c.settings(api.KeyFinalImagePullspec, repository, api.KeyImagesToKeep, "4")
			},
		},
		"an old record without an image": {
			letters: "abcd", effects: []string{drops("a")}, records: "b c d", looks: 1,
			change: func(c *cluster) { c.changeRecord("a", func(r *osbuild.Record) { r.Image = "" }) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, row.letters)
			if row.change != nil {
				row.change(c)
			}
			r := c.start()
			c.took()
			if again := r.rest("worker"); again != row.again {
				t.Errorf("looks again after %v, want %v", again, row.again)
			}
			if looks := c.listed(); looks != row.looks {
				t.Errorf("nodes were listed %d times, want %d", looks, row.looks)
			}
			if diff := cmp.Diff(row.effects, c.took()); diff != "" {
				t.Errorf("effects:\n%s", diff)
			}
			if got := c.records(); got != row.records {
				t.Errorf("records %q, want %q", got, row.records)
			}
			if told := c.told(); len(told) != row.events {
				t.Errorf("events %q, want %d", told, row.events)
			}
			r.rest("worker")
			if more := c.took(); len(more) > 0 {
				t.Errorf("another round does %v", more)
			}
		})
	}
}

// TestTwoLooks: an image is deleted by the second look that finds it unneeded,
// not by the first, and its mark goes when it is needed in between.
func TestTwoLooks(t *testing.T) {
	c := newCluster(t, "abcd")
	r := c.start()
	if after := r.rest("worker"); after != grace {
		t.Fatalf("the second look is %v after the first", after)
	}
	c.addNode(api.AnnotationDesiredImage, imageOf("a"))
	c.clock.SetTime(begin.Add(grace))
	if after := r.rest("worker"); after != retention.LookAgain || c.records() != "a b c d" {
		t.Fatalf("while a node names it: records %s, again after %v", c.records(), after)
	}
	c.removeNode()
	c.took()
	c.clock.SetTime(begin.Add(grace + time.Minute))
	if r.rest("worker"); c.listed() > 0 || len(c.took()) > 0 {
		t.Error("nodes are asked again before the hour is over")
	}
	c.clock.SetTime(begin.Add(grace + retention.LookAgain))
	if after := r.rest("worker"); after != grace || c.records() != "a! b c d" {
		t.Fatalf("when the node is gone: records %s, again after %v", c.records(), after)
	}
	c.clock.SetTime(begin.Add(2*grace + retention.LookAgain))
	if r.rest("worker"); c.records() != "b c d" {
		t.Fatalf("after the second look: records %s", c.records())
	}
}

// TestLiveReadDecides: what the cache does not show yet keeps an image.
func TestLiveReadDecides(t *testing.T) {
	for name, change := range map[string]func(*mcfgv1.MachineConfigPool){
		"retargeted":  retarget("a"),
		"opted out":   func(p *mcfgv1.MachineConfigPool) { p.Labels = nil },
		"building":    func(p *mcfgv1.MachineConfigPool) { p.Status.Conditions = nil },
		"annotated":   func(p *mcfgv1.MachineConfigPool) { p.Annotations[api.AnnotationNewestImage] = imageOf("a") },
		"made anew":   func(p *mcfgv1.MachineConfigPool) { p.UID = "another" },
		"it has gone": nil,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "abcd")
			c.mark(long, "a")
			r := c.start()
			r.caughtUp()
			r.stop()
			gvr := mcfgv1.GroupVersion.WithResource("machineconfigpools")
			if change == nil {
				c.must(c.mc.Tracker().Delete(gvr, "", "worker"))
			} else {
				c.changePool("worker", change)
			}
			_, err := r.sync(t.Context(), "worker")
			c.must(err)
			r.deletions.wait()
			if effects := c.took(); slices.Contains(effects, deletes("a")) {
				t.Errorf("effects %v", effects)
			}
		})
	}
}

// TestNothingChangesUnderADeletion: while a registry thinks about it, the mark
// stays, since the build loop takes it for the image's end; other pools go on.
func TestNothingChangesUnderADeletion(t *testing.T) {
	for name, answer := range map[string]error{"deleted": nil, "failed": failure(registry.ErrUnavailable, 500)} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "abcd")
			c.addPool("infra", "wxyz")
			c.mark(long, "a")
			asked, think := make(chan struct{}), make(chan struct{})
			c.registry = func(string) error { close(asked); <-think; return answer }
			r := c.start()
			r.caughtUp()
			_, err := r.sync(t.Context(), "worker")
			c.must(err)
			<-asked
			c.changePool("worker", retarget("a"))
			r.caughtUp()
			if _, err := r.sync(t.Context(), "worker"); err != nil || c.records() != "w x y z a! b c d" {
				t.Errorf("error %v, records %s", err, c.records())
			}
			if _, err := r.sync(t.Context(), "infra"); err != nil || c.records() != "w! x y z a! b c d" {
				t.Errorf("another pool: error %v, records %s", err, c.records())
			}
			close(think)
			r.deletions.wait()
			r.rest("worker")
			if want := map[string]string{"deleted": "w! x y z b c d", "failed": "w! x y z a b c d"}[name]; c.records() != want {
				t.Errorf("records %q, want %q", c.records(), want)
			}
		})
	}
}

// TestRunWorksByEvents: the loop itself marks when a pool's record is one too
// many, deletes when the mark is old, and ends when it is told to.
func TestRunWorksByEvents(t *testing.T) {
	c := newCluster(t, "abc")
	r := c.start()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	eventually := func(want string, meanwhile func()) {
		t.Helper()
		err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
			meanwhile()
			return c.records() == want, nil
		})
		if err != nil {
			t.Fatalf("records %q, want %q", c.records(), want)
		}
	}
	c.must(c.core.Tracker().Add(c.recordMap(osbuild.Record{
		Pool: buildspec.Pool{Name: "worker", UID: "uid-of-worker"}, RenderedConfig: configOf("worker", "0"), Outcome: osbuild.Succeeded, Image: imageOf("0"), Finished: long.AddDate(0, -1, 0),
	})))
	eventually("0! a b c", func() {})
	eventually("a b c", func() { c.clock.Step(time.Minute) })
	stop()
	<-ended
}
