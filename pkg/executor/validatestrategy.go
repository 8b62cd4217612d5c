package executor

import (
	"path"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateStrategy(s buildv1.BuildStrategy, at *field.Path) field.ErrorList {
	given := 0
	for _, is := range []bool{s.SourceStrategy != nil, s.CustomStrategy != nil, s.DockerStrategy != nil, s.JenkinsPipelineStrategy != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return field.ErrorList{field.Invalid(at, "", "must provide a value for exactly one of sourceStrategy, customStrategy, dockerStrategy, or jenkinsPipelineStrategy")}
	}
	const use = "use dockerStrategy or sourceStrategy"
	switch {
	case s.CustomStrategy != nil:
		return field.ErrorList{field.Forbidden(at.Child("customStrategy"), "an image that builds by itself would run with the credentials of the build; "+use)}
	case s.JenkinsPipelineStrategy != nil:
		return field.ErrorList{field.Forbidden(at.Child("jenkinsPipelineStrategy"), "there is no Jenkins here; "+use)}
	case s.DockerStrategy != nil:
		return validateDocker(*s.DockerStrategy, at.Child("dockerStrategy"))
	default:
		return validateS2I(*s.SourceStrategy, at.Child("sourceStrategy"))
	}
}

func validateDocker(s buildv1.DockerBuildStrategy, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	if s.From != nil {
		problems = append(problems, validateImage(*s.From, at.Child("from"))...)
	}
	problems = append(problems, requireName(s.PullSecret, at.Child("pullSecret"))...)
	problems = append(problems, validateEnv(s.Env, at.Child("env"))...)
	if path.IsAbs(s.DockerfilePath) || leavesRoot(s.DockerfilePath) {
		problems = append(problems, field.Invalid(at.Child("dockerfilePath"), s.DockerfilePath, "must be a relative path within the source"))
	}
	for i, arg := range s.BuildArgs {
		problems = append(problems, validateEnvName(arg.Name, at.Child("buildArgs").Index(i))...)
	}
	if p := s.ImageOptimizationPolicy; p != nil {
		switch *p {
		case buildv1.ImageOptimizationNone, buildv1.ImageOptimizationSkipLayers, buildv1.ImageOptimizationSkipLayersAndWarn:
		default:
			problems = append(problems, field.NotSupported(at.Child("imageOptimizationPolicy"), *p, []buildv1.ImageOptimizationPolicy{
				buildv1.ImageOptimizationNone, buildv1.ImageOptimizationSkipLayers, buildv1.ImageOptimizationSkipLayersAndWarn,
			}))
		}
	}
	return append(problems, validateVolumes(s.Volumes, at.Child("volumes"))...)
}

func validateS2I(s buildv1.SourceBuildStrategy, at *field.Path) field.ErrorList {
	problems := validateImage(s.From, at.Child("from"))
	problems = append(problems, requireName(s.PullSecret, at.Child("pullSecret"))...)
	problems = append(problems, validateEnv(s.Env, at.Child("env"))...)
	return append(problems, validateVolumes(s.Volumes, at.Child("volumes"))...)
}

func validateEnv(env []corev1.EnvVar, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, e := range env {
		at := at.Index(i)
		problems = append(problems, validateEnvName(e.Name, at)...)
		if e.ValueFrom == nil {
			continue
		}
		from := at.Child("valueFrom")
		if e.Value != "" {
			problems = append(problems, field.Invalid(from, "", "may not be specified when value is not empty"))
		}
		given := 0
		for _, is := range []bool{e.ValueFrom.FieldRef != nil, e.ValueFrom.ConfigMapKeyRef != nil, e.ValueFrom.SecretKeyRef != nil} {
			if is {
				given++
			}
		}
		switch {
		case e.ValueFrom.ResourceFieldRef != nil:
			problems = append(problems, field.Forbidden(from.Child("resourceFieldRef"), "a Build has no containers of its own; use fieldRef, configMapKeyRef or secretKeyRef"))
		case given != 1:
			problems = append(problems, field.Invalid(from, "", "must have exactly one of fieldRef, configMapKeyRef and secretKeyRef"))
		}
	}
	return problems
}

func validateEnvName(name string, at *field.Path) field.ErrorList {
	at = at.Child("name")
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	var problems field.ErrorList
	for _, problem := range validation.IsEnvVarName(name) {
		problems = append(problems, field.Invalid(at, name, problem))
	}
	return problems
}

func validateVolumes(volumes []buildv1.BuildVolume, at *field.Path) field.ErrorList {
	var problems field.ErrorList
	names, destinations := map[string]bool{}, map[string]bool{}
	for i, v := range volumes {
		at := at.Index(i)
		for _, problem := range validation.IsDNS1123Label(v.Name) {
			problems = append(problems, field.Invalid(at.Child("name"), v.Name, problem))
		}
		if names[v.Name] {
			problems = append(problems, field.Duplicate(at.Child("name"), v.Name))
		}
		names[v.Name] = true
		problems = append(problems, validateVolumeSource(v.Source, at.Child("source"))...)
		if len(v.Mounts) == 0 {
			problems = append(problems, field.Required(at.Child("mounts"), "where steps see the volume"))
		}
		for j, m := range v.Mounts {
			at := at.Child("mounts").Index(j).Child("destinationPath")
			switch {
			case !path.IsAbs(m.DestinationPath) || m.DestinationPath == "/":
				problems = append(problems, field.Invalid(at, m.DestinationPath, "must be an absolute path other than /"))
			// They would end the path where it is handed to buildah.
			case strings.ContainsAny(m.DestinationPath, ":,\n") || path.Clean(m.DestinationPath) != strings.TrimSuffix(m.DestinationPath, "/"):
				problems = append(problems, field.Invalid(at, m.DestinationPath, "must not contain a colon, a comma, a line break or .."))
			case destinations[path.Clean(m.DestinationPath)]:
				problems = append(problems, field.Duplicate(at, m.DestinationPath))
			}
			destinations[path.Clean(m.DestinationPath)] = true
		}
	}
	return problems
}

func validateVolumeSource(s buildv1.BuildVolumeSource, at *field.Path) field.ErrorList {
	given := map[buildv1.BuildVolumeSourceType]bool{}
	var name string
	if s.Secret != nil {
		given[buildv1.BuildVolumeSourceTypeSecret], name = true, s.Secret.SecretName
	}
	if s.ConfigMap != nil {
		given[buildv1.BuildVolumeSourceTypeConfigMap], name = true, s.ConfigMap.Name
	}
	if s.CSI != nil {
		given[buildv1.BuildVolumeSourceTypeCSI], name = true, s.CSI.Driver
	}
	switch {
	case len(given) != 1:
		return field.ErrorList{field.Invalid(at, "", "must have exactly one of secret, configMap and csi")}
	case !given[s.Type]:
		return field.ErrorList{field.Invalid(at.Child("type"), s.Type, "is not what is given beside it; use Secret, ConfigMap or CSI")}
	case name == "":
		return field.ErrorList{field.Required(at, "the name of the Secret or ConfigMap, or the CSI driver")}
	}
	return nil
}
