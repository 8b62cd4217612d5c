package buildconfig

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// maxDuration is the longest activeDeadlineSeconds that the API takes of a pod.
const maxDuration = math.MaxInt32 * time.Second

// reader reads keys of one ConfigMap and collects what is wrong with them.
type reader struct {
	object   string
	data     map[string]string
	seen     map[string]bool
	problems Problems
}

func (r *reader) get(key string) string {
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[key] = true
	return strings.TrimSpace(r.data[key])
}

func (r *reader) fail(key, format string, args ...any) {
	r.problems.add(r.object, key, fmt.Sprintf(format, args...))
}

// repository reads a required pullspec and drops its tag and digest. It must
// name its registry: nobody means a public one by leaving it out.
func (r *reader) repository(key string) string {
	value := r.get(key)
	if value == "" {
		r.fail(key, "is missing or empty; set it to where images are pushed to, such as registry.example.com/os/pool-images")
		return ""
	}
	ref, err := name.ParseReference(value)
	if err != nil {
		r.fail(key, "%q is no pullspec (%v); use registry/repository, such as registry.example.com/os/pool-images", value, err)
		return ""
	}
	if host, _, found := strings.Cut(value, "/"); !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		r.fail(key, "%q names no registry; use registry/repository, such as registry.example.com/os/pool-images", value)
		return ""
	}
	return ref.Context().Name()
}

// pullspec reads an optional pullspec.
func (r *reader) pullspec(key string) string {
	value := r.get(key)
	if value == "" {
		return ""
	}
	if err := CheckPullspec(value); err != nil {
		r.fail(key, "%v", err)
		return ""
	}
	return value
}

// CheckPullspec returns an error that quotes the value unless it names an image.
func CheckPullspec(value string) error {
	if _, err := name.ParseReference(value); err != nil {
		return fmt.Errorf("%q is no pullspec (%w); use registry/repository:tag or registry/repository@sha256:digest", value, err)
	}
	return nil
}

func (r *reader) objectName(key string) string {
	value := r.get(key)
	if value == "" {
		return ""
	}
	if found := validation.IsDNS1123Subdomain(value); len(found) > 0 {
		r.fail(key, "%q is no object name: %s", value, strings.Join(found, ", "))
		return ""
	}
	return value
}

func (r *reader) oneOf(key string, allowed ...string) string {
	value := r.get(key)
	if value == "" {
		return ""
	}
	for _, a := range allowed {
		if value == a {
			return value
		}
	}
	r.fail(key, "%q is unknown; valid are %s, or leave it out", value, strings.Join(allowed, " and "))
	return ""
}

func (r *reader) integer(key string, byDefault, least int) int {
	value := r.get(key)
	if value == "" {
		return byDefault
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least {
		r.fail(key, "%q is not valid; use a whole number of at least %d", value, least)
		return byDefault
	}
	return n
}

func (r *reader) duration(key string, byDefault time.Duration) time.Duration {
	value := r.get(key)
	if value == "" {
		return byDefault
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Second || d > maxDuration {
		r.fail(key, "%q is not valid; use a duration of at least 1s, such as 45m or 1h30m", value)
		return byDefault
	}
	return d
}

func (r *reader) yaml(key string, into any) {
	value := r.get(key)
	if value == "" {
		return
	}
	if err := yaml.UnmarshalStrict([]byte(value), into); err != nil {
		r.fail(key, "is not valid YAML for this key: %v", err)
	}
}

func (r *reader) unknown() []string {
	var keys []string
	for key := range r.data {
		if !r.seen[key] {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}
