package names

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestBuildPod(t *testing.T) {
	for name, row := range map[string]struct{ build, pod, label string }{
		"short":     {"app-1", "app-1-build", "app-1"},
		"just fits": {strings.Repeat("a", 247), strings.Repeat("a", 247) + "-build", strings.Repeat("a", 63)},

		"too long":      {strings.Repeat("a", 248), strings.Repeat("a", 238) + "-" + fnv1a(strings.Repeat("a", 248)) + "-build", strings.Repeat("a", 63)},
		"cut at a dash": {strings.Repeat("a", 62) + "-b", strings.Repeat("a", 62) + "-b-build", strings.Repeat("a", 62)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := BuildPod(row.build); got != row.pod || len(validation.IsDNS1123Subdomain(got)) > 0 {
				t.Errorf("pod %q, want %q", got, row.pod)
			}
			if got := BuildLabel(row.build); got != row.label || len(validation.IsValidLabelValue(got)) > 0 {
				t.Errorf("label %q, want %q", got, row.label)
			}
		})
	}
}

// fnv1a is the hash by its definition (RFC 9923): 32 bits, as eight hex digits.
func fnv1a(s string) string {
	const digits = "0123456789abcdef"
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	out := make([]byte, 8)
	for i := range out {
		out[i] = digits[h>>(28-4*i)&15]
	}
	return string(out)
}
