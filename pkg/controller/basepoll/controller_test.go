package basepoll

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgfake "github.com/openshift/client-go/machineconfiguration/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/klog/v2"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

const (
	namespace = "builds"
	baseImage = "registry.example.com/os/base:1"
	interval  = time.Hour
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// build is a record: which config was built when, on which digest, for which token.
func build(config, digest, token string, hour int) osbuild.Record {
	inputs := names.Inputs{RenderedConfig: "rendered-worker-" + config, BaseImage: baseImage, RebuildToken: token}
	return osbuild.Record{
		Pool: buildspec.Pool{Name: "worker", UID: "uid"}, RenderedConfig: inputs.RenderedConfig, Inputs: inputs, InputsHash: names.InputsHash(inputs),
		RebuildToken: token, Outcome: osbuild.Succeeded, Image: "registry.example.com/os/images@sha256:" + config + digest,
		BaseDigest: digest, Finished: begin.Add(time.Duration(hour) * time.Hour),
	}
}

// failed is the record of a build of which no try is left.
func failed(config, digest, token string, hour int) osbuild.Record {
	r := build(config, digest, token, hour)
	r.Outcome, r.Image, r.Superseded = osbuild.Failed, "", []osbuild.SupersededImage{{Image: r.Image}}
	return r
}

// asks is the token for a move to a digest, when this was the last build.
func asks(digest string, last osbuild.Record) string {
	return "base-" + digest + "-" + last.InputsHash
}

// rig is a loop that does not run, on caches that are filled by hand.
type rig struct {
	*Controller
	t     *testing.T
	mc    *mcfgfake.Clientset
	clock *clocktesting.FakeClock
	names string // what the base image's tag names
	looks int
	// members are the images of the index that it names.
	members []string
	counts  int
}

// newRig has one pool whose image is that of the first record.
func newRig(t *testing.T, change func(*mcfgv1.MachineConfigPool), records ...osbuild.Record) *rig {
	t.Helper()
	r := &rig{t: t, mc: mcfgfake.NewSimpleClientset(), clock: clocktesting.NewFakeClock(begin)}
	clients := kube.Clients{Core: corefake.NewClientset(), MachineConfig: r.mc, Metadata: metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())}
	informers, err := kube.NewInformers(clients, namespace)
	r.must(err)
	r.Controller, err = New(Options{
		Clients: clients, Informers: informers, Namespace: namespace, Clock: r.clock,
		Resolve: func(context.Context, string, registry.Options) (string, error) { r.looks++; return r.names, nil },
		Members: func(context.Context, string, registry.Options) ([]string, error) { r.counts++; return r.members, nil },
	})
	r.must(err)
	for name, data := range map[string]map[string]string{
		api.ConfigMapBuildConfig: {api.KeyFinalImagePullspec: "registry.example.com/os/images", api.KeyBaseImagePollInterval: interval.String()},
		api.ConfigMapOSImageURL:  {api.KeyBaseOSContainerImage: baseImage},
	} {
		r.must(informers.Settings[name].GetStore().Add(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}))
	}
	for _, record := range records {
		r.built(record)
	}
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{
		Name: "worker", UID: "uid", Labels: map[string]string{api.LabelLayeringEnabled: ""},
		Annotations: map[string]string{api.AnnotationNewestImage: records[0].Image, api.AnnotationImageConfig: records[0].RenderedConfig},
	}}
	pool.Spec.Configuration.Name = records[0].RenderedConfig
	pool.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{{Type: mcfgv1.MachineConfigPoolBuildSuccess, Status: corev1.ConditionTrue}}
	if change != nil {
		change(pool)
	}
	r.must(r.mc.Tracker().Add(pool))
	r.must(informers.Pools.GetStore().Add(pool))
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// built adds a record, or replaces that of its config.
func (r *rig) built(record osbuild.Record) {
	data, err := record.Encode()
	r.must(err)
	r.must(r.Informers.BuildMaps.GetStore().Add(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: names.Record(record.RenderedConfig),
			Labels:      map[string]string{api.LabelBuildPod: "", api.LabelRole: api.RoleRecord, api.LabelTargetPool: "worker"},
			Annotations: map[string]string{api.AnnotationPool: "worker", api.AnnotationPoolUID: string(record.Pool.UID), api.AnnotationRenderedConfig: record.RenderedConfig},
		},
		Data: map[string]string{api.KeyRecord: string(data)},
	}))
}

// look syncs the pool and returns its rebuild annotation.
func (r *rig) look() string {
	r.t.Helper()
	_, err := r.sync(r.t.Context(), "worker")
	r.must(err)
	pool, err := r.mc.MachineconfigurationV1().MachineConfigPools().Get(r.t.Context(), "worker", metav1.GetOptions{})
	r.must(err)
	return pool.Annotations[api.AnnotationRebuild]
}

func annotated(token string) func(*mcfgv1.MachineConfigPool) {
	return func(p *mcfgv1.MachineConfigPool) { p.Annotations[api.AnnotationRebuild] = token }
}

// hasFailed is the pool's state when its build has, for a rebuild token or none.
func hasFailed(token string) func(*mcfgv1.MachineConfigPool) {
	return func(p *mcfgv1.MachineConfigPool) {
		if token != "" {
			annotated(token)(p)
		}
		p.Annotations[api.AnnotationNewestImage] = build("x", "a", "", 1).Image
		p.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{
			{Type: mcfgv1.MachineConfigPoolBuildSuccess, Status: corev1.ConditionFalse},
			{Type: mcfgv1.MachineConfigPoolBuildFailed, Status: corev1.ConditionTrue},
		}
	}
}

// TestMovedBase: the tag names the digest "b" now.
func TestMovedBase(t *testing.T) {
	x, other := build("x", "a", "", 1), build("y", "b", "", 2)
	answered := build("y", "b", asks("b", x), 3)
	again := build("x", "b", asks("b", x), 2)
	onC := build("z", "c", again.RebuildToken, 3)
	missed := build("x", "a", asks("b", x), 2)
	missedC := build("x", "a", asks("c", x), 2)
	missedBefore := build("y", "a", asks("b", x), 2)
	reused := build("y", "", asks("b", x), 2)
	failedOnB, failedUnknownB, failedOnC := failed("x", "b", asks("b", x), 2), failed("x", "", asks("b", x), 2), failed("x", "c", asks("c", x), 2)
	failedUnknownC, missedAndFailed := failed("x", "", asks("c", x), 2), failed("x", "a", asks("b", x), 2)
	failedElsewhere := failedOnC
	failedElsewhere.Inputs.BaseImage = "registry.example.com/os/base:2"
	pinned, elsewhere, unknown := x, x, x
	pinned.Inputs.BaseImage, elsewhere.Inputs.BaseImage, unknown.BaseDigest = baseImage+"@sha256:a", "registry.example.com/os/base:2", ""
	own := elsewhere
	own.Config.OSImageURL = elsewhere.Inputs.BaseImage
	old := x
	old.Pool.UID = "before"
	for _, row := range []struct {
		name    string
		records []osbuild.Record
		change  func(*mcfgv1.MachineConfigPool)
		want    string
		unasked bool // the registry is
	}{
		{name: "it stays", records: []osbuild.Record{build("x", "b", "", 1)}},
		{name: "it moves", records: []osbuild.Record{x}, want: asks("b", x)},
		{name: "it was asked for", records: []osbuild.Record{x}, change: annotated(asks("b", x)), want: asks("b", x)},
		{name: "a user asked for something", records: []osbuild.Record{x}, change: annotated("mine"), want: asks("b", x)},
		{name: "back to a config that was built before the move", records: []osbuild.Record{x, answered}, change: annotated(asks("b", x)), want: asks("b", answered)},
		{name: "to a digest that it had before", records: []osbuild.Record{onC, again}, change: annotated(asks("b", x)), want: asks("b", onC)},
		{name: "the build that it was asked for found another one", records: []osbuild.Record{missed}, change: annotated(asks("b", x)), want: asks("b", x)},
		{name: "so did the last build, of another config", records: []osbuild.Record{x, missedBefore}, change: annotated(asks("b", x)), want: asks("b", x)},
		{name: "a build of another config has found it, for another reason", records: []osbuild.Record{missed, build("y", "b", "", 1)}, change: annotated(asks("b", x)), want: asks("b", x)},
		{name: "nobody noted down what the last build found", records: []osbuild.Record{x, reused}, change: annotated(asks("b", x)), want: asks("b", reused)},
		{name: "it moves on from one that the build did not find", records: []osbuild.Record{missedC}, change: annotated(asks("c", x)), want: asks("b", missedC)},
		{name: "it moves on from one that no build succeeded on", records: []osbuild.Record{failedOnC}, change: hasFailed(asks("c", x)), want: asks("b", failedOnC)},
		{name: "it moves on from one that no build found", records: []osbuild.Record{failedUnknownC}, change: hasFailed(asks("c", x)), want: asks("b", failedUnknownC)},
		{name: "it stays what no build succeeded on", records: []osbuild.Record{failedOnB}, change: hasFailed(asks("b", x)), want: asks("b", x)},
		{name: "it stays what no build found", records: []osbuild.Record{failedUnknownB}, change: hasFailed(asks("b", x)), want: asks("b", x)},
		{name: "the build that failed found another one", records: []osbuild.Record{missedAndFailed}, change: hasFailed(asks("b", x)), want: asks("b", x)},
		{name: "no build succeeded on it, that was asked for another", records: []osbuild.Record{failed("x", "b", asks("c", x), 2)}, change: hasFailed(asks("c", x)), want: asks("c", x)},
		{name: "a build failed that a user asked for", records: []osbuild.Record{failed("x", "a", "mine", 2)}, change: hasFailed("mine"), want: "mine", unasked: true},
		{name: "a build failed that nobody asked for", records: []osbuild.Record{failed("x", "a", "", 2)}, change: hasFailed(""), unasked: true},
		{name: "a build failed on a base that the pool has no more", records: []osbuild.Record{failedElsewhere}, change: hasFailed(asks("c", x)), want: asks("c", x), unasked: true},
		{name: "a build failed and another config is wanted", records: []osbuild.Record{failedOnC}, unasked: true, want: asks("c", x), change: func(p *mcfgv1.MachineConfigPool) {
			hasFailed(asks("c", x))(p)
			p.Spec.Configuration.Name = "rendered-worker-y"
		}},
		{name: "settings are wrong since a rebuild", records: []osbuild.Record{missedC}, change: hasFailed(asks("c", x)), want: asks("c", x), unasked: true},
		{name: "settings are wrong, and the image is there", records: []osbuild.Record{x}, change: hasFailed(""), unasked: true},
		{name: "another config was built last", records: []osbuild.Record{x, other}, want: asks("b", other)},
		{name: "the base of the config itself", records: []osbuild.Record{own}, want: asks("b", own)},
		{name: "a base by digest", records: []osbuild.Record{pinned}, unasked: true},
		{name: "a base that the pool has no more", records: []osbuild.Record{elsewhere}, unasked: true},
		{name: "a base that nobody noted down", records: []osbuild.Record{unknown}, unasked: true},
		{name: "an image that no record names", records: []osbuild.Record{x}, unasked: true, change: func(p *mcfgv1.MachineConfigPool) {
			p.Annotations[api.AnnotationNewestImage] += "0"
		}},
		{name: "a record of an earlier pool", records: []osbuild.Record{old}, unasked: true},
		{name: "another config is wanted", records: []osbuild.Record{x}, unasked: true, change: func(p *mcfgv1.MachineConfigPool) {
			p.Spec.Configuration.Name = "rendered-worker-y"
		}},
		{name: "a build runs", records: []osbuild.Record{x}, unasked: true, change: func(p *mcfgv1.MachineConfigPool) {
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		}},
		{name: "not opted in", records: []osbuild.Record{x}, unasked: true, change: func(p *mcfgv1.MachineConfigPool) { p.Labels = nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.change, row.records...)
			r.names = "b"
			if token := r.look(); token != row.want {
				t.Errorf("the rebuild is %q, want %q", token, row.want)
			}
			if r.looks > 0 == row.unasked {
				t.Errorf("the registry was asked %d times", r.looks)
			}
		})
	}
}

// TestReusedImage: what an image says that was found in the registry may be the index
// that the tag names, or the image in it for one platform.
func TestReusedImage(t *testing.T) {
	found := build("x", "a", "", 1)
	found.Reason = api.ReasonImageReused
	unknown := found
	unknown.BaseDigest = ""
	for name, row := range map[string]struct {
		record  osbuild.Record
		names   string
		members []string
		want    string
	}{
		"the index stays":            {found, "a", []string{"m"}, ""},
		"its image stays":            {found, "b", []string{"m", "a"}, ""},
		"it moves":                   {found, "b", []string{"m", "n"}, asks("b", found)},
		"it moves, of one platform":  {found, "b", nil, asks("b", found)},
		"the image does not know":    {unknown, "b", []string{"m"}, ""},
		"built, of the image before": {build("x", "a", "", 1), "b", []string{"a"}, asks("b", found)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, row.record)
			r.names, r.members = row.names, row.members
			for range 2 {
				r.clock.Step(interval)
				if token := r.look(); token != row.want {
					t.Errorf("the rebuild is %q, want %q", token, row.want)
				}
			}
			if len(row.members) > 0 && r.counts > 1 {
				t.Errorf("an index that stays was read %d times", r.counts)
			}
		})
	}
}

// TestPullSecretFirst: who asks for a base has the logins of who pulls it, in their
// order.
func TestPullSecretFirst(t *testing.T) {
	r := newRig(t, nil, build("x", "a", "", 1))
	login := func(name string) {
		_, err := r.Clients.Core.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeDockerConfigJson,
			Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"registry.example.com":{"username":"` + name + `","password":"p"}}}`)},
		}, metav1.CreateOptions{})
		r.must(err)
	}
	login("push")
	login("pull")
	cm := r.Informers.Setting(api.ConfigMapBuildConfig).DeepCopy()
	cm.Data[api.KeyFinalImagePushSecretName], cm.Data[api.KeyBaseImagePullSecretName] = "push", "pull"
	r.must(r.Informers.Settings[api.ConfigMapBuildConfig].GetStore().Update(cm))
	var user string
	r.Resolve = func(_ context.Context, _ string, o registry.Options) (string, error) {
		credential, _ := o.Credentials.Lookup("registry.example.com", "os/base")
		user = credential.Username
		return "a", nil
	}
	if r.look(); user != "pull" {
		t.Errorf("asked as %q", user)
	}
}

// TestOldAnswer: what the tag named before a build is no reason to build again.
func TestOldAnswer(t *testing.T) {
	r := newRig(t, nil, build("x", "a", "", -1))
	r.names = "a"
	r.look()
	r.names = "b"
	r.clock.Step(time.Minute)
	if r.look(); r.looks != 1 {
		t.Errorf("the registry was asked %d times within a minute", r.looks)
	}
	newer := build("x", "b", "", 0)
	newer.Finished, newer.Image = r.clock.Now(), build("x", "a", "", 0).Image
	r.built(newer)
	r.clock.Step(time.Minute)
	if token := r.look(); token != "" || r.looks != 2 {
		t.Errorf("asked for %q after %d looks: the image is on what the tag names", token, r.looks)
	}
	if r.look(); r.looks != 2 {
		t.Errorf("the registry was asked %d times", r.looks)
	}
}

// TestLaggingRegistry: builds read "a" where the loop reads "b". One of them is
// enough to know, and one line in the log.
func TestLaggingRegistry(t *testing.T) {
	var log bytes.Buffer
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(klog.ClearLogger)
	x := build("x", "a", "", 0)
	r := newRig(t, nil, x)
	look := func(names string) string {
		t.Helper()
		r.names = names
		r.clock.Step(interval)
		return r.look()
	}
	first := look("b")
	if first != asks("b", x) {
		t.Fatalf("asked for %q", first)
	}
	again := build("x", "a", first, 1)
	r.built(again)
	for range 3 {
		if token := look("b"); token != first {
			t.Errorf("asked for %q: the build would find the same again", token)
		}
	}
	if n := strings.Count(log.String(), "did not find"); n != 1 {
		t.Errorf("the log says so %d times:\n%s", n, log.String())
	}
	if token := look("c"); token != asks("c", again) {
		t.Errorf("asked for %q when the tag names a third one", token)
	}
}

// TestPoolMovesMeanwhile: a pool that by now targets another config, or has another
// image, is not asked to rebuild that for what was found out about this one.
func TestPoolMovesMeanwhile(t *testing.T) {
	token := asks("c", build("x", "a", "", 1))
	for name, row := range map[string]struct {
		record osbuild.Record
		change func(*mcfgv1.MachineConfigPool)
		patch  string
	}{
		"target": {failed("x", "c", token, 2), hasFailed(token), `{"spec":{"configuration":{"name":"rendered-worker-y"}}}`},
		"image":  {build("x", "c", token, 2), annotated(token), `{"metadata":{"annotations":{"` + api.AnnotationNewestImage + `":"another"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, row.change, row.record)
			r.names = "b"
			_, err := r.mc.MachineconfigurationV1().MachineConfigPools().Patch(t.Context(), "worker", types.MergePatchType, []byte(row.patch), metav1.PatchOptions{})
			r.must(err)
			if got := r.look(); got != token || r.looks != 1 {
				t.Errorf("the rebuild is %q after %d looks", got, r.looks)
			}
		})
	}
}

// TestWakes: a pool that comes to have its image, or to have no try left, is
// looked at at once, and not for each event of its build.
func TestWakes(t *testing.T) {
	r := newRig(t, nil, build("x", "a", "", 1))
	pool, err := r.Informers.PoolLister.Get("worker")
	r.must(err)
	building := pool.DeepCopy()
	building.Status.Conditions[0].Status = corev1.ConditionFalse
	broken := pool.DeepCopy()
	hasFailed("")(broken)
	moved := pool.DeepCopy()
	moved.Annotations[api.AnnotationNewestImage] += strings.Repeat("0", 3)
	for _, row := range []struct {
		name          string
		before, after *mcfgv1.MachineConfigPool
		wakes         bool
	}{
		{"found", nil, pool, true},
		{"found while it builds", nil, building, false},
		{"built", building, pool, true},
		{"builds", pool, building, false},
		{"failed", building, broken, true},
		{"another image", pool, moved, true},
		{"something else", pool, pool.DeepCopy(), false},
		{"gone", pool, nil, false},
	} {
		if got := wakes(row.before, row.after); got != row.wakes {
			t.Errorf("%s: wakes %v", row.name, got)
		}
	}
}
