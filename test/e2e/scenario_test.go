//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

var (
	cluster *live.Cluster
	// witness looks for the logins of Secrets while all tests run.
	witness *live.Witness
	// release is another one in each run of the tests: an image that the
	// registry has of an earlier run would be taken instead of being built.
	release string
)

func TestMain(m *testing.M) {
	ctx := context.Background()
	release = fmt.Sprintf("4.14.0-e2e.%d", time.Now().Unix())
	var err error
	if cluster, err = live.Connect(ctx); err == nil {
		err = cluster.Deploy(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	witness = cluster.Witness(ctx, cluster.Canary, cluster.AuthLogin())
	code := m.Run()
	if err := nothingLeaked(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// nothingLeaked holds after whatever tests have run.
func nothingLeaked() error {
	err := witness.Blobs()
	witness.Stop()
	if found := witness.Found(); len(found) > 0 {
		err = errors.Join(err, fmt.Errorf("a login of a Secret was found in:\n%s", strings.Join(found, "\n")))
	}
	return err
}

const worker = "worker"

// scenario is one test's view of the cluster: nothing is in it at first but
// settings that work.
type scenario struct {
	t      *testing.T
	ctx    context.Context
	builds *live.History
	// settings are the data of the ConfigMap with the build settings.
	settings map[string]string
	base     string
	// image and failure are what the pool last showed, seen is the pod that made
	// the image.
	image, failure string
	seen           types.UID
}

func newScenario(t *testing.T) *scenario {
	t.Helper()
	s := &scenario{t: t, ctx: t.Context(), base: cluster.PlainImage}
	s.must(cluster.Reset(s.ctx))
	s.must(cluster.TrustRegistries(s.ctx))
	s.configure(map[string]string{
		api.KeyFinalImagePullspec: cluster.Registry + "/e2e/os-images",
		api.KeyImageBuilderType:   api.BuilderCustomPod,
		api.KeyMaxBuildRetries:    "0",
	})
	s.baseImage(cluster.PlainImage)
	var err error
	s.builds, err = cluster.WatchBuilds(s.ctx)
	s.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			s.report()
		}
	})
	return s
}

// prove is a part of the test with a name of its own.
func (s *scenario) prove(what string, check func(s *scenario)) {
	s.t.Helper()
	s.t.Run(what, func(t *testing.T) {
		part := *s
		part.t = t
		check(&part)
	})
}

// report shows what an administrator would look at first.
func (s *scenario) report() {
	ctx := context.WithoutCancel(s.ctx)
	state, _ := cluster.Kubectl(ctx, "get", "machineconfigpools,pods,configmaps", "--output=wide")
	s.t.Logf("%s\ncontroller:\n%s", state, cluster.ControllerLog(ctx))
}

func (s *scenario) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) eventually(what string, check func() error) {
	s.t.Helper()
	s.must(live.Eventually(s.ctx, what, func(context.Context) error { return check() }))
}

// configure changes build settings; those not named stay.
func (s *scenario) configure(settings map[string]string) {
	s.t.Helper()
	if s.settings == nil {
		s.settings = map[string]string{}
	}
	maps.Copy(s.settings, settings)
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapBuildConfig, s.settings))
}

func (s *scenario) baseImage(pullspec string) {
	s.t.Helper()
	s.base = pullspec
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapOSImageURL, map[string]string{
		api.KeyBaseOSContainerImage: pullspec, api.KeyReleaseVersion: release,
	}))
}

func (s *scenario) customDockerfile(text string) {
	s.t.Helper()
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapCustomDockerfile, map[string]string{worker: text}))
}

// addWorkers makes the pool and the config that it targets.
func (s *scenario) addWorkers(mc *mcfgv1.MachineConfig) {
	s.t.Helper()
	s.must(cluster.SetMachineConfig(s.ctx, mc))
	s.must(cluster.AddPool(s.ctx, worker, mc.Name))
}

func (s *scenario) pool() *mcfgv1.MachineConfigPool {
	s.t.Helper()
	pool, err := cluster.Pool(s.ctx, worker)
	s.must(err)
	return pool
}

// built waits until the pool names an image of a config that it did not name
// before, and opens it.
func (s *scenario) built(config string) live.Image {
	s.t.Helper()
	var pullspec string
	s.eventually("the image of "+config+" is built", func() error {
		pool := s.pool()
		if message, failed := live.True(pool, mcfgv1.MachineConfigPoolBuildFailed); failed && message == s.failure {
			return errNoChange
		}
		var err error
		if pullspec, err = live.Built(pool, config); err == nil && pullspec == s.image {
			return errNoChange
		}
		return err
	})
	s.image = pullspec
	if pod, _ := s.builds.Last(); pod != nil {
		s.seen = pod.UID
	}
	image, err := cluster.OpenImage(pullspec)
	s.must(err)
	return image
}

// errNoChange says that the pool still shows what the test has seen already.
var errNoChange = errors.New("the pool has not changed yet")

// failed waits until the build has failed with a message that holds the given
// texts, and returns the message.
func (s *scenario) failed(texts ...string) string {
	s.t.Helper()
	s.failure = s.is(mcfgv1.MachineConfigPoolBuildFailed, texts...)
	return s.failure
}

// files are those that an image has on top of the base.
func (s *scenario) files(image live.Image) map[string]live.File {
	s.t.Helper()
	base, err := cluster.OpenImage(s.base)
	s.must(err)
	files, err := image.FilesAbove(base)
	s.must(err)
	return files
}

// is waits until a condition of the pool is True and its message holds the
// given texts, and returns the message.
func (s *scenario) is(kind mcfgv1.MachineConfigPoolConditionType, texts ...string) string {
	s.t.Helper()
	var message string
	s.eventually(fmt.Sprintf("the pool is %s", kind), func() error {
		pool := s.pool()
		var ok bool
		if message, ok = live.True(pool, kind); !ok {
			return fmt.Errorf("conditions %v", pool.Status.Conditions)
		}
		for _, text := range texts {
			if !strings.Contains(message, text) {
				return fmt.Errorf("%q is not in the message %q", text, message)
			}
		}
		return nil
	})
	return message
}

// running waits until the user's steps run in a build pod, and returns it.
func (s *scenario) running() *corev1.Pod {
	s.t.Helper()
	var pod *corev1.Pod
	s.eventually("the build runs", func() error {
		if pod, _ = s.builds.Last(); pod == nil || pod.UID == s.seen || !live.Started(pod, api.ContainerBuild) || pod.DeletionTimestamp != nil {
			return fmt.Errorf("no build runs yet; conditions %v", s.pool().Status.Conditions)
		}
		return nil
	})
	return pod
}

// logged waits until the build's container has printed a text.
func (s *scenario) logged(pod *corev1.Pod, text string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("the build has printed %q", text), func() error {
		out, err := cluster.Kubectl(s.ctx, "logs", "pod/"+pod.Name)
		if err == nil && !strings.Contains(out, text) {
			err = fmt.Errorf("printed so far: %q", out)
		}
		return err
	})
}

// record reads the build record of a config.
func (s *scenario) record(config string) osbuild.Record {
	s.t.Helper()
	record, err := cluster.Record(s.ctx, config)
	s.must(err)
	return record
}

// onlyLeft waits until these are all the build objects of the pool.
func (s *scenario) onlyLeft(want ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("only %v are left of the builds", want), func() error {
		left, err := cluster.BuildObjects(s.ctx, worker)
		if err == nil && strings.Join(left, " ") != strings.Join(want, " ") {
			err = fmt.Errorf("there are %v", left)
		}
		return err
	})
}
