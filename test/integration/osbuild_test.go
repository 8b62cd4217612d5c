package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "integration")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	plane, err = controlplane.Start(context.Background(), dir, filepath.Join("testdata", "cluster"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer plane.Stop()
	return m.Run()
}

// addPool makes a pool that targets a config, which is made as well.
func (w *world) addPool(name, config string) {
	w.t.Helper()
	w.addConfig(config, "hello")
	_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(w.ctx, &mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       mcfgv1.MachineConfigPoolSpec{Configuration: target(config)},
	}, metav1.CreateOptions{})
	must(w.t, err)
}

func (w *world) addConfig(name, content string) {
	w.t.Helper()
	_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Create(w.ctx, &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: fmt.Appendf(nil,
			`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/x","contents":{"source":"data:,%s"}}]}}`, content)}},
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		must(w.t, err)
	}
}

func target(config string) mcfgv1.MachineConfigPoolStatusConfiguration {
	var c mcfgv1.MachineConfigPoolStatusConfiguration
	c.Name = config
	return c
}

const optIn = `{"metadata":{"labels":{"` + api.LabelLayeringEnabled + `":""}}}`

const optOut = `{"metadata":{"labels":{"` + api.LabelLayeringEnabled + `":null}}}`

func retarget(config string) string { return `{"spec":{"configuration":{"name":"` + config + `"}}}` }

// podOf waits for the pod of a config that is not on its way out.
func (w *world) podOf(config string) *corev1.Pod {
	w.t.Helper()
	var pod *corev1.Pod
	w.eventually("build pod of "+config, func() error {
		p, err := w.Admin.Core.CoreV1().Pods(namespace).Get(w.ctx, "build-"+config, metav1.GetOptions{})
		if err == nil && p.DeletionTimestamp != nil {
			w.reap([]corev1.Pod{*p})
			return fmt.Errorf("it is being deleted")
		}
		pod = p
		return err
	})
	return pod
}

// verdict waits until a condition is True for a reason, and returns its message.
func (w *world) verdict(pool string, kind mcfgv1.MachineConfigPoolConditionType, reason string) string {
	w.t.Helper()
	var message string
	w.eventually(fmt.Sprintf("%s/%s of pool %s", kind, reason, pool), func() error {
		for _, c := range w.pool(pool).Status.Conditions {
			if c.Type == kind && c.Status == corev1.ConditionTrue && c.Reason == reason {
				message = c.Message
				return nil
			}
		}
		return fmt.Errorf("conditions are %v", w.pool(pool).Status.Conditions)
	})
	return message
}

// complete lets the build of a config succeed and waits for the annotation.
func (w *world) complete(pool, config string) {
	w.t.Helper()
	w.podOf(config)
	digest := w.push(config)
	w.finish("build-"+config, buildspec.Result{Succeeded: true, Digest: digest})
	w.annotated(pool, config, digest)
}

func (w *world) annotated(pool, config, digest string) {
	w.t.Helper()
	want := w.Registry + "@" + digest
	w.eventually("annotation of pool "+pool, func() error {
		a := w.pool(pool).Annotations
		if a[api.AnnotationNewestImage] != want || a[api.AnnotationImageConfig] != config {
			return fmt.Errorf("annotations are %v, want %s of %s", a, want, config)
		}
		return nil
	})
	w.verdict(pool, mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
}

func (w *world) exists(kind, name string) bool {
	w.t.Helper()
	var err error
	if kind == "pod" {
		_, err = w.Admin.Core.CoreV1().Pods(namespace).Get(w.ctx, name, metav1.GetOptions{})
	} else {
		_, err = w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, name, metav1.GetOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil
}

func (w *world) goneSoon(kind, name string) {
	w.t.Helper()
	w.eventually(kind+"/"+name+" is gone", func() error {
		pods, err := w.Admin.Core.CoreV1().Pods(namespace).List(w.ctx, metav1.ListOptions{LabelSelector: api.LabelBuildPod})
		if err != nil {
			return err
		}
		w.reap(pods.Items)
		if w.exists(kind, name) {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}

func TestConfigOnlyBuild(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.addPool("quiet", "rendered-quiet-a1")
	w.Start()
	before := w.pool("quiet").ResourceVersion
	w.patchPool("worker", optIn)
	pod := w.podOf("rendered-worker-a1")
	for _, label := range []string{api.LabelBuildPod, api.LabelTargetPool, api.LabelDesiredConfig} {
		if _, ok := pod.Labels[label]; !ok {
			t.Errorf("pod has no label %s", label)
		}
	}
	if message := w.verdict("worker", mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending); !strings.Contains(message, "pod/build-rendered-worker-a1") {
		t.Errorf("message %q does not name the pod", message)
	}
	w.podStatus(pod.Name, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning })
	w.verdict("worker", mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning)
	w.complete("worker", "rendered-worker-a1")
	w.goneSoon("pod", "build-rendered-worker-a1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
	w.goneSoon("configmap", "dockerfile-rendered-worker-a1")
	if !w.exists("configmap", "digest-rendered-worker-a1") {
		t.Error("the build record is gone")
	}
	writes := w.Requests.Writes()
	objects := slices.DeleteFunc(slices.Clone(writes), func(s string) bool { return strings.HasSuffix(s, "/events") })
	t.Logf("%d writes, %d of them events:\n%s", len(writes), len(writes)-len(objects), strings.Join(writes, "\n"))
	if len(objects) > 10 {
		t.Errorf("%d writes of objects for one build, want at most 10", len(objects))
	}
	if after := w.pool("quiet").ResourceVersion; after != before {
		t.Errorf("a pool that was not opted in was written to: %s, then %s", before, after)
	}
}

func TestS01ConfigChangeDuringBuild(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.addConfig("rendered-worker-b1", "other")
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf("rendered-worker-a1")
	w.patchPool("worker", retarget("rendered-worker-b1"))
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildInterrupted, api.ReasonBuildInterrupted)
	w.goneSoon("pod", "build-rendered-worker-a1")
	w.complete("worker", "rendered-worker-b1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
}

func TestS25OptOutAndBackIn(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf("rendered-worker-a1")
	w.patchPool("worker", optOut)
	w.eventually("nothing is left after opting out during a build", w.nothingLeft)
	w.eventually("no build condition is left", func() error {
		if c := w.pool("worker").Status.Conditions; len(c) > 0 {
			return fmt.Errorf("conditions %v", c)
		}
		return nil
	})
	w.patchPool("worker", optIn)
	w.complete("worker", "rendered-worker-a1")
	w.patchPool("worker", optOut)
	w.eventually("nothing is left after opting out after success", w.nothingLeft)
	w.eventually("the result is gone", func() error {
		if a := w.pool("worker").Annotations; a[api.AnnotationNewestImage]+a[api.AnnotationImageConfig] != "" {
			return fmt.Errorf("annotations %v", a)
		}
		return nil
	})
}

func TestImageReusedAfterOptingOutAndIn(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	pod := w.podOf("rendered-worker-a1")
	digest := w.push("rendered-worker-a1")
	w.finish(pod.Name, buildspec.Result{Succeeded: true, Digest: digest})
	w.annotated("worker", "rendered-worker-a1", digest)
	w.patchPool("worker", optOut)
	w.eventually("nothing is left", w.nothingLeft)
	w.patchPool("worker", optIn)
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonImageReused)
	if got := w.pool("worker").Annotations[api.AnnotationNewestImage]; got != w.Registry+"@"+digest {
		t.Errorf("annotation %q does not name the image that was there", got)
	}
	if w.exists("pod", pod.Name) {
		t.Error("a build was started for an image that the registry has")
	}
}

func TestS12S22FailureAndCorrection(t *testing.T) {
	w := newWorld(t)
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyMaxBuildRetries: "0"})
	w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN false\n"})
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf("rendered-worker-a1")
	w.podStatus("build-rendered-worker-a1", func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodFailed
		result := buildspec.Result{Reason: api.ReasonBuildFailed, Message: "line 2: RUN false: exit code 1", Log: []string{"it said no"}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: api.ContainerBuild, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: string(result.Encode()), FinishedAt: metav1.Now()},
		}}}
	})
	message := w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildFailed)
	w.verdict("worker", mcfgv1.MachineConfigPoolImageBuildDegraded, api.ReasonBuildFailed)
	for _, want := range []string{"line 2: RUN false: exit code 1", "it said no", "oc logs pod/build-rendered-worker-a1"} {
		if !strings.Contains(message, want) {
			t.Errorf("message does not contain %q:\n%s", want, message)
		}
	}
	if !w.exists("pod", "build-rendered-worker-a1") {
		t.Error("the failed pod is gone, and its log with it")
	}
	w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN true\n"})
	w.goneSoon("pod", "build-rendered-worker-a1")
	w.complete("worker", "rendered-worker-a1")
}

func TestS32SettingsCorrected(t *testing.T) {
	w := newWorld(t)
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePushSecretName: "missing-one"})
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	if m := w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidConfig); !strings.Contains(m, api.KeyFinalImagePullspec) {
		t.Errorf("message %q does not name the missing key", m)
	}
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyFinalImagePushSecretName: "push-here"})
	w.eventually("the missing Secret is named", func() error {
		if m := w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidConfig); !strings.Contains(m, `"push-here"`) {
			return fmt.Errorf("message %q", m)
		}
		return nil
	})
	_, err := w.Admin.Core.CoreV1().Secrets(namespace).Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "push-here"}, Type: corev1.SecretTypeDockercfg,
		Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"registry.example.com":{"auth":"dXNlcjpwYXNz"}}`)},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, w.Admin.Core.CoreV1().Secrets(namespace).Delete(context.Background(), "push-here", metav1.DeleteOptions{}))
	})
	w.complete("worker", "rendered-worker-a1")
}

func TestS17BuildEndsWhileTheControllerIsDown(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	uid := w.podOf("rendered-worker-a1").UID
	w.Stop()
	digest := w.push("rendered-worker-a1")
	w.finish("build-rendered-worker-a1", buildspec.Result{Succeeded: true, Digest: digest})
	if got := w.podOf("rendered-worker-a1").UID; got != uid {
		t.Fatalf("another pod %s, want %s", got, uid)
	}
	w.Start()
	w.annotated("worker", "rendered-worker-a1", digest)
	w.goneSoon("pod", "build-rendered-worker-a1")
}

// TestS17BuildFailsWhileTheControllerIsDown: with the time at which it did.
func TestS17BuildFailsWhileTheControllerIsDown(t *testing.T) {
	w := newWorld(t)
	const config = "rendered-worker-a1"
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyMaxBuildRetries: "0"})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf(config)
	w.Stop()
	ended := time.Now().Add(-time.Hour).Truncate(time.Second)
	w.finishAt("build-"+config, buildspec.Result{Reason: api.ReasonBuildFailed, Message: "it broke"}, ended)
	w.Start()
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildFailed)
	if r := w.record(config); !r.Finished.Equal(ended) || r.Outcome != osbuild.Failed {
		t.Errorf("recorded as %s at %v, it ended at %v", r.Outcome, r.Finished, ended)
	}
}

// TestS18ConfigChangesWhileTheControllerIsDown: the old build goes, the new one
// is built.
func TestS18ConfigChangesWhileTheControllerIsDown(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.addConfig("rendered-worker-b1", "other")
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf("rendered-worker-a1")
	w.Stop()
	w.patchPool("worker", retarget("rendered-worker-b1"))
	w.Start()
	w.goneSoon("pod", "build-rendered-worker-a1")
	w.complete("worker", "rendered-worker-b1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
}

// TestS05PoolMadeAgainDuringItsBuild: the build of the first goes with it, the
// second of that name gets one of its own.
func TestS05PoolMadeAgainDuringItsBuild(t *testing.T) {
	w := newWorld(t)
	const config = "rendered-worker-a1"
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	first := w.podOf(config)
	w.deletePool("worker")
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	uid := w.pool("worker").UID
	w.eventually("a build of the second pool", func() error {
		if p := w.podOf(config); p.UID == first.UID || p.Annotations[api.AnnotationPoolUID] != string(uid) {
			return fmt.Errorf("pod %s is of pool %s, want %s", p.UID, p.Annotations[api.AnnotationPoolUID], uid)
		}
		return nil
	})
	w.complete("worker", config)
	if r := w.record(config); r.Pool.UID != uid {
		t.Errorf("the record is of pool %s, want %s", r.Pool.UID, uid)
	}
	w.goneSoon("configmap", "mc-"+config)
}

// TestS26DeletedPoolLeavesNothing: whatever it was about, and also while no
// controller runs.
func TestS26DeletedPoolLeavesNothing(t *testing.T) {
	const config = "rendered-worker-a1"
	failed := buildspec.Result{Reason: api.ReasonBuildFailed, Message: "it broke"}
	for name, row := range map[string]struct {
		retries string
		reach   func(w *world)
	}{
		"during a build": {"3", func(*world) {}},
		"after success":  {"3", func(w *world) { w.complete("worker", config) }},
		"after failure": {"0", func(w *world) {
			w.finish("build-"+config, failed)
			w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildFailed)
		}},
		"between two tries": {"3", func(w *world) {
			w.finish("build-"+config, failed)
			w.verdict("worker", mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry)
		}},
	} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, controller down %t", name, down), func(t *testing.T) {
				w := newWorld(t)
				w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyMaxBuildRetries: row.retries})
				w.addPool("worker", config)
				w.patchPool("worker", optIn)
				w.Start()
				w.podOf(config)
				row.reach(w)
				if down {
					w.Stop()
				}
				w.deletePool("worker")
				w.eventually("nothing is left", w.nothingLeft)
			})
		}
	}
}

func (w *world) deletePool(name string) {
	w.t.Helper()
	must(w.t, w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Delete(w.ctx, name, metav1.DeleteOptions{}))
}

// record reads the build record of a config.
func (w *world) record(config string) osbuild.Record {
	w.t.Helper()
	cm, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, "digest-"+config, metav1.GetOptions{})
	must(w.t, err)
	r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
	must(w.t, err)
	return r
}

func TestS09RebuildAnnotation(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	w.complete("worker", "rendered-worker-a1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
	w.Stop()
	w.patchPool("worker", `{"metadata":{"annotations":{"`+api.AnnotationRebuild+`":"1"}}}`)
	w.Start()
	w.complete("worker", "rendered-worker-a1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
	w.patchPool("worker", `{"metadata":{"annotations":{"`+api.AnnotationRebuild+`":null}}}`)
	w.patchPool("worker", `{"metadata":{"labels":{"touched":"yes"}}}`)
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	if w.exists("pod", "build-rendered-worker-a1") {
		t.Error("removing the annotation started a build")
	}
}

func TestS06BuildLimit(t *testing.T) {
	w := newWorld(t)
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyMaxConcurrentBuilds: "2"})
	const pools = 6
	for i := range pools {
		w.addPool(fmt.Sprintf("pool-%d", i), fmt.Sprintf("rendered-pool-%d-a", i))
		w.patchPool(fmt.Sprintf("pool-%d", i), optIn)
	}
	w.Start()
	done := 0
	w.eventually("every pool is built", func() error {
		pods, err := w.Admin.Core.CoreV1().Pods(namespace).List(w.ctx, metav1.ListOptions{LabelSelector: api.LabelBuildPod})
		must(t, err)
		w.reap(pods.Items)
		var active []corev1.Pod
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodPending {
				active = append(active, p)
			}
		}
		if len(active) > 2 {
			t.Fatalf("%d builds at once, want at most 2", len(active))
		}
		// One ends only when both slots are taken, or nobody is left to take the other.
		if len(active) == 2 || (len(active) == 1 && done == pools-1) {
			config := active[0].Annotations[api.AnnotationRenderedConfig]
			w.finish(active[0].Name, buildspec.Result{Succeeded: true, Digest: w.push(config)})
			done++
		}
		if done < pools {
			return fmt.Errorf("%d of %d are", done, pools)
		}
		return nil
	})
	for i := range pools {
		w.verdict(fmt.Sprintf("pool-%d", i), mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	}
}
