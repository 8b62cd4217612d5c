package debpkg

import (
	"slices"
	"testing"
)

func TestParseMissing(t *testing.T) {
	rows := []struct {
		name, output string
		want         []string
	}{
		{"all there", "runc installed\nbuildah installed\n", nil},
		{"unknown to dpkg", "runc installed\n", []string{"buildah"}},
		{"removed, configuration left", "runc config-files\nbuildah installed\n", []string{"runc"}},
		{"nothing known", "", []string{"runc", "buildah"}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if got := parseMissing([]string{"runc", "buildah"}, r.output); !slices.Equal(got, r.want) {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}
