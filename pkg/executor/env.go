package executor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// resolveEnv returns the environment of a Build's strategy with a value for each
// name. The rules are those of a container's environment (Kubernetes API, EnvVar):
// $(NAME) stands for what came before it, $$ for a dollar; what is optional and
// does not exist is left out. Fields are the Build's own.
func resolveEnv(b *buildv1.Build, env []corev1.EnvVar, w World) ([]corev1.EnvVar, error) {
	var resolved []corev1.EnvVar
	values := map[string]string{}
	var errs []error
	for _, e := range env {
		value, found := expand(e.Value, values), true
		if e.ValueFrom != nil {
			var err error
			if value, found, err = valueFrom(b, *e.ValueFrom, w); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
				continue
			}
		}
		if found {
			values[e.Name] = value
			resolved = append(resolved, corev1.EnvVar{Name: e.Name, Value: value})
		}
	}
	return resolved, errors.Join(errs...)
}

// valueFrom returns false for what is optional and does not exist.
func valueFrom(b *buildv1.Build, from corev1.EnvVarSource, w World) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := fieldOf(b, from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		secret := w.Secrets[ref.Name]
		if secret == nil {
			return absent(ref.Optional, "Secret %q does not exist", ref.Name)
		}
		value, ok := secret.Data[ref.Key]
		if !ok {
			return absent(ref.Optional, "Secret %q has no key %q", ref.Name, ref.Key)
		}
		return string(value), true, nil
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		m := w.ConfigMaps[ref.Name]
		if m == nil {
			return absent(ref.Optional, "ConfigMap %q does not exist", ref.Name)
		}
		value, ok := m.Data[ref.Key]
		if !ok {
			return absent(ref.Optional, "ConfigMap %q has no key %q", ref.Name, ref.Key)
		}
		return value, true, nil
	default:
		return "", false, errors.New("valueFrom has none of fieldRef, configMapKeyRef and secretKeyRef")
	}
}

func absent(optional *bool, format string, args ...any) (string, bool, error) {
	if optional != nil && *optional {
		return "", false, nil
	}
	return "", false, fmt.Errorf(format, args...)
}

// fieldOf reads what the downward API has of metadata.
func fieldOf(b *buildv1.Build, path string) (string, error) {
	if kind, key, ok := strings.Cut(path, "['"); ok && strings.HasSuffix(key, "']") {
		key = strings.TrimSuffix(key, "']")
		switch kind {
		case "metadata.labels":
			return b.Labels[key], nil
		case "metadata.annotations":
			return b.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return b.Name, nil
	case "metadata.namespace":
		return b.Namespace, nil
	case "metadata.uid":
		return string(b.UID), nil
	case "metadata.labels":
		return lines(b.Labels), nil
	case "metadata.annotations":
		return lines(b.Annotations), nil
	}
	return "", fmt.Errorf("field %q of a Build cannot be used; use metadata.name, .namespace, .uid, .labels or .annotations", path)
}

// lines writes a map as the downward API does: key="value", sorted.
func lines(m map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s=%q", key, m[key]))
	}
	return strings.Join(out, "\n")
}

// expand replaces $(NAME) by its value, where it has one, and $$ by a dollar.
func expand(text string, values map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		rest := text[i:]
		if strings.HasPrefix(rest, "$$") {
			out.WriteString("$")
			i += 2
			continue
		}
		if end := strings.IndexByte(rest, ')'); strings.HasPrefix(rest, "$(") && end > 0 {
			if value, ok := values[rest[2:end]]; ok {
				out.WriteString(value)
			} else {
				out.WriteString(rest[:end+1])
			}
			i += end + 1
			continue
		}
		out.WriteByte(text[i])
		i++
	}
	return out.String()
}
