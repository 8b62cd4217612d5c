package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

const pool = "worker"

// source is where this program and the objects that it applies lie.
const source = "test/e2e/demo"

// The Dockerfiles of the last two parts.
var (
	//go:embed custom.Dockerfile
	customDockerfile string
	//go:embed broken.Dockerfile
	brokenDockerfile string
)

// demo is one showing.
type demo struct {
	*live.Cluster
	out     *screen
	builder string // one of the api.Builder values
	begin   time.Time
	before  map[string]live.File // the files of the image before
}

func (d *demo) install(ctx context.Context) error {
	d.out.heading("The product is installed from manifests/ on a real cluster")
	d.out.line("controller  %s\nbuilder     %s\nbase image  %s\n", d.ControllerImage, d.BuilderImage, d.BaseImage)
	if err := d.Deploy(ctx); err != nil {
		return err
	}
	if err := d.Reset(ctx); err != nil {
		return err
	}
	if d.builder == api.BuilderOpenShift {
		d.out.line("and, from manifests/builds/, the Build kind of build.openshift.io with build-executor, which runs it\n")
		if err := d.DeployBuilds(ctx); err != nil {
			return err
		}
	} else if err := d.RemoveBuilds(ctx); err != nil {
		return err
	}
	if err := d.show(ctx, "get", "nodes"); err != nil {
		return err
	}
	return d.show(ctx, "get", "deployment", "machine-os-builder")
}

func (d *demo) configOnly(ctx context.Context) error {
	d.out.heading("1. MachineConfigs are applied, and their pool is opted in")
	if err := d.settings(ctx); err != nil {
		return err
	}
	if err := d.show(ctx, "apply", "--filename="+filepath.Join(d.Root, source, "worker.yaml")); err != nil {
		return err
	}
	if err := d.rendered(ctx); err != nil {
		return err
	}
	label := []string{"label", "machineconfigpool/" + pool, api.LabelLayeringEnabled + "="}
	d.out.command("kubectl " + strings.Join(label, " "))
	build, err := d.follow(ctx, func(ctx context.Context) error {
		_, err := d.Kubectl(ctx, label...)
		return err
	}, named(""))
	if err != nil {
		return err
	}
	return d.result(ctx, "label", build)
}

// rendered shows what the pool came to target, and what it was made of.
func (d *demo) rendered(ctx context.Context) error {
	err := live.Eventually(ctx, "the pool targets a rendered config", func(ctx context.Context) error {
		p, err := d.Pool(ctx, pool)
		if err == nil && p.Spec.Configuration.Name == "" {
			err = errors.New("it has none")
		}
		return err
	})
	if err != nil {
		return err
	}
	return d.show(ctx, "get", "machineconfigpool/"+pool, `--output=jsonpath={.spec.configuration.name}: {.spec.configuration.source[*].name}`)
}

// oneMore applies a MachineConfig, and does nothing else.
func (d *demo) oneMore(ctx context.Context) error {
	d.out.heading("2. One more MachineConfig is applied")
	p, err := d.Pool(ctx, pool)
	if err != nil {
		return err
	}
	file := filepath.Join(d.Root, source, "motd.yaml")
	d.out.command("kubectl apply --filename=" + file)
	build, err := d.follow(ctx, func(ctx context.Context) error {
		_, err := d.Kubectl(ctx, "apply", "--filename="+file)
		return err
	}, named(p.Annotations[api.AnnotationNewestImage]))
	if err != nil {
		return err
	}
	if err := d.rendered(ctx); err != nil {
		return err
	}
	return d.result(ctx, "MachineConfig", build)
}

// settings are the ConfigMaps that an administrator writes once. The release
// differs from run to run, or the image of an earlier run would be taken.
func (d *demo) settings(ctx context.Context) error {
	if err := d.TrustRegistries(ctx); err != nil {
		return err
	}
	if err := d.SetConfigMap(ctx, api.ConfigMapOSImageURL, map[string]string{
		api.KeyBaseOSContainerImage: d.BaseImage, api.KeyReleaseVersion: fmt.Sprintf("4.14.0-demo.%d", d.begin.Unix()),
	}); err != nil {
		return err
	}
	if err := d.SetConfigMap(ctx, api.ConfigMapBuildConfig, map[string]string{
		api.KeyFinalImagePullspec: d.Registry + "/demo/os-images", api.KeyMaxBuildRetries: "0", api.KeyImageBuilderType: d.builder,
	}); err != nil {
		return err
	}
	return d.show(ctx, "get", "configmap", api.ConfigMapBuildConfig, "--output=jsonpath={.data}")
}

func (d *demo) custom(ctx context.Context) error {
	d.out.heading("3. A custom Dockerfile, with two stages and a RUN")
	text := strings.ReplaceAll(customDockerfile, "$PLAIN_IMAGE", d.PlainImage)
	d.out.indented(text)
	p, err := d.Pool(ctx, pool)
	if err != nil {
		return err
	}
	d.out.command("kubectl create configmap " + api.ConfigMapCustomDockerfile + " --from-file=" + pool + "=Dockerfile")
	build, err := d.follow(ctx, d.setDockerfile(text), named(p.Annotations[api.AnnotationNewestImage]))
	if err != nil {
		return err
	}
	return d.result(ctx, "Dockerfile", build)
}

func (d *demo) setDockerfile(text string) func(context.Context) error {
	return func(ctx context.Context) error {
		return d.SetConfigMap(ctx, api.ConfigMapCustomDockerfile, map[string]string{pool: text})
	}
}

func (d *demo) broken(ctx context.Context) error {
	d.out.heading("4. A Dockerfile that fails, and what the administrator sees")
	d.out.indented(brokenDockerfile)
	d.out.command("kubectl create configmap " + api.ConfigMapCustomDockerfile + " … # replaced")
	if _, err := d.follow(ctx, d.setDockerfile(brokenDockerfile), failed); err != nil {
		return err
	}
	d.out.line("")
	if err := d.show(ctx, "get", "machineconfigpool/"+pool, `--output=jsonpath={.status.conditions[?(@.type=="`+string(mcfgv1.MachineConfigPoolImageBuildDegraded)+`")].message}`); err != nil {
		return err
	}
	p, err := d.Pool(ctx, pool)
	if err != nil {
		return err
	}
	if err := d.show(ctx, "logs", "--tail=6", "pod/"+d.podOf(p.Spec.Configuration.Name)); err != nil {
		return err
	}
	d.out.line("\nThe pool still names the last good image: %s", p.Annotations[api.AnnotationNewestImage])
	return nil
}

// pods selects the pods of builds, and podOf names that of a config.
func (d *demo) pods() string {
	if d.builder == api.BuilderOpenShift {
		return buildv1.BuildLabel
	}
	return api.LabelBuildPod
}

func (d *demo) podOf(config string) string {
	if d.builder == api.BuilderOpenShift {
		return names.BuildPod(names.Build(config))
	}
	return names.Build(config)
}

// show runs kubectl and shows what it prints.
func (d *demo) show(ctx context.Context, args ...string) error {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.ContainsAny(a, " {(") {
			quoted[i] = "'" + a + "'"
		}
	}
	d.out.command("kubectl " + strings.Join(quoted, " "))
	out, err := d.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	d.out.indented(out)
	return nil
}

func (d *demo) next() {
	d.out.heading(fmt.Sprintf("Done in %.0f s; the cluster stays up", time.Since(d.begin).Seconds()))
	d.out.line(`To look around:

  eval "$(go -C test/cluster run . env)"
  alias oc="$KUBECTL --namespace %s"

  oc get machineconfigpool/%s --output=yaml
  oc get pods,configmaps --selector machineconfiguration.openshift.io/buildPod
  oc logs deployment/machine-os-builder

To try next:

  oc edit configmap/%s     # mend the Dockerfile: it is built at once
  oc annotate machineconfigpool/%s %s=again    # the same inputs, built once more
  oc label machineconfigpool/%s %s-    # opt out: nothing is left
  make e2e             # every scenario
  make cluster-down    # remove the cluster`,
		live.Namespace, pool, api.ConfigMapCustomDockerfile, pool, api.AnnotationRebuild, pool, api.LabelLayeringEnabled)
}
