package openshiftbuild

import (
	"fmt"
	"maps"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// configDir is where the build context has the MachineConfig.
const configDir = "machine-config"

// chunkDir is the directory of one chunk: a Build lays each ConfigMap into one.
func chunkDir(i int) string { return fmt.Sprintf("%s/%04d", configDir, i) }

// installsPackages is true of a request whose Dockerfile has the step that does so.
func installsPackages(r buildspec.Request) (bool, error) {
	file, err := dockerfile.ParseRendered(r.Dockerfile)
	if err != nil {
		return false, fmt.Errorf("reading the Dockerfile of a Build: %w", err)
	}
	return !file.Configs().Packages.IsZero(), nil
}

// render returns the Dockerfile of a request as a Build needs it, which nothing of
// ours prepares.
func render(r buildspec.Request) (string, error) {
	file, err := dockerfile.ParseRendered(r.Dockerfile)
	if err != nil {
		return "", fmt.Errorf("rendering the Dockerfile of a Build: %w", err)
	}
	configs := file.Configs()
	configs.InContext = &dockerfile.InContext{BuilderImage: r.BuilderImage, SHA256: r.MachineConfig.SHA256}
	for i := range r.MachineConfig.Chunks {
		configs.InContext.Chunks = append(configs.InContext.Chunks, chunkDir(i)+"/"+api.KeyMachineConfig)
	}
	text, err := file.Render(configs)
	if err != nil {
		return "", err
	}
	// The values of the labels that a Build's own field does not take are of our making.
	for _, name := range slices.Sorted(maps.Keys(r.ImageLabels)) {
		if isFieldName(name) {
			continue
		}
		if text, err = dockerfile.WithLabel(text, name, r.ImageLabels[name]); err != nil {
			return "", err
		}
	}
	return text, nil
}

// isFieldName: OpenShift takes for spec.output.imageLabels what can be a ConfigMap's
// key (its validation), which has no slash.
func isFieldName(name string) bool { return len(validation.IsConfigMapKey(name)) == 0 }

// run is the Build of a request, whose Dockerfile is render's. given are the files
// for steps that there are, by their names in stepFiles.
func run(r buildspec.Request, root *corev1.ConfigMap, given []string) *buildv1.Build {
	text := r.Dockerfile
	build := &buildv1.Build{
		ObjectMeta: inputs.RunMeta(r, root, names.Build(r.RenderedConfig)),
		Spec: buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{
			Source: buildv1.BuildSource{Type: buildv1.BuildSourceDockerfile, Dockerfile: &text},
			Strategy: buildv1.BuildStrategy{Type: buildv1.DockerBuildStrategyType, DockerStrategy: &buildv1.DockerBuildStrategy{
				Volumes: volumes(given),
			}},
			Output: buildv1.BuildOutput{
				To: &corev1.ObjectReference{Kind: "DockerImage", Name: r.FinalImage}, ImageLabels: imageLabels(r),
			},
			Resources:    r.Scheduling.Resources,
			NodeSelector: r.Scheduling.NodeSelector,
		}},
	}
	for i := range r.MachineConfig.Chunks {
		build.Spec.Source.ConfigMaps = append(build.Spec.Source.ConfigMaps, buildv1.ConfigMapBuildSource{
			ConfigMap:      corev1.LocalObjectReference{Name: names.MachineConfigMap(r.RenderedConfig, i)},
			DestinationDir: chunkDir(i),
		})
	}
	if name := r.Credentials.Push; name != "" {
		build.Spec.Output.PushSecret = &corev1.LocalObjectReference{Name: name}
	}
	// A Build takes one Secret to pull with.
	if pull := r.Credentials.Pull; len(pull) > 0 {
		build.Spec.Strategy.DockerStrategy.PullSecret = &corev1.LocalObjectReference{Name: pull[0]}
	}
	if seconds := int64(r.Timeout.Seconds()); seconds > 0 {
		build.Spec.CompletionDeadlineSeconds = &seconds
	}
	return build
}

func imageLabels(r buildspec.Request) []buildv1.ImageLabel {
	var labels []buildv1.ImageLabel
	for _, name := range slices.Sorted(maps.Keys(r.ImageLabels)) {
		if !isFieldName(name) {
			continue
		}
		labels = append(labels, buildv1.ImageLabel{Name: name, Value: r.ImageLabels[name]})
	}
	return labels
}

// stepFiles are the objects behind buildspec.StepFiles.
var stepFiles = map[string]struct {
	object   string
	isSecret bool
}{
	"entitlement": {api.SecretEntitlement, true},
	"rpm-gpg":     {api.SecretRPMKeys, true},
	"yum-repos":   {api.ConfigMapYumRepos, false},
	"user-ca":     {api.ConfigMapUserCA, false},
}

// volumes lays files for steps where those see them. One that does not exist is left
// out: an empty directory would hide what the base image has there.
func volumes(given []string) []buildv1.BuildVolume {
	var out []buildv1.BuildVolume
	for _, name := range given {
		source := buildv1.BuildVolumeSource{
			Type: buildv1.BuildVolumeSourceTypeConfigMap,
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{
				Name: stepFiles[name].object,
			}},
		}
		if stepFiles[name].isSecret {
			source = buildv1.BuildVolumeSource{
				Type: buildv1.BuildVolumeSourceTypeSecret, Secret: &corev1.SecretVolumeSource{SecretName: stepFiles[name].object},
			}
		}
		out = append(out, buildv1.BuildVolume{Name: name, Source: source, Mounts: []buildv1.BuildVolumeMount{{DestinationPath: buildspec.StepFiles[name]}}})
	}
	return out
}
