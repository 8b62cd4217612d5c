package layout

import (
	"strings"
	"testing"
)

func TestFromEnv(t *testing.T) {
	rows := []struct {
		name string
		env  map[string]string
		want Dirs
		err  string
	}{
		{"home", map[string]string{"HOME": "/h"}, Dirs{"/h/.cache/machine-os-builder/cluster", "/h/.cache/machine-os-builder/bin", "/h/.cache/machine-os-builder/images", "/p"}, ""},
		{"cache home wins", map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/c"}, Dirs{"/c/machine-os-builder/cluster", "/c/machine-os-builder/bin", "/c/machine-os-builder/images", "/p"}, ""},
		{"own work directory, caches stay", map[string]string{"HOME": "/h", "MOB_CLUSTER_DIR": "/w/"}, Dirs{"/w", "/h/.cache/machine-os-builder/bin", "/h/.cache/machine-os-builder/images", "/p"}, ""},
		{"relative work directory", map[string]string{"HOME": "/h", "MOB_CLUSTER_DIR": "w"}, Dirs{"/p/test/cluster/w", "/h/.cache/machine-os-builder/bin", "/h/.cache/machine-os-builder/images", "/p"}, ""},
		{"no home", nil, Dirs{}, "neither XDG_CACHE_HOME nor HOME"},
		{"too long for sockets", map[string]string{"HOME": "/" + strings.Repeat("x", 60)}, Dirs{}, "too long for sockets"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got, err := FromEnv(func(k string) string { return r.env[k] }, "/p/test/cluster")
			if r.err != "" {
				if err == nil || !strings.Contains(err.Error(), r.err) {
					t.Fatalf("error %v, want one with %q", err, r.err)
				}
				return
			}
			if err != nil || got != r.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, r.want)
			}
		})
	}
}

func TestMarkTellsClustersApart(t *testing.T) {
	a, b := Dirs{Work: "/a"}, Dirs{Work: "/b"}
	if a.Mark() == b.Mark() || a.Mark() != (Dirs{Work: "/a", Bin: "/x"}).Mark() {
		t.Errorf("marks %q and %q", a.Mark(), b.Mark())
	}
}
