package render

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

func TestCache(t *testing.T) {
	var c Cache
	a, b := config("a", ""), config("b", "")
	if c.Find(a) != nil {
		t.Error("an empty cache has something")
	}
	read := readOne(&c, a)
	if readOne(&c, a) != read || c.Find(a) != read {
		t.Error("the same MachineConfig was read twice")
	}
	readOne(&c, b)
	newer := a.DeepCopy()
	newer.ResourceVersion = "2"
	if c.Find(newer) != nil || readOne(&c, newer) == read || c.Find(newer) == nil || c.Find(a) != nil {
		t.Error("a newer version was not read, or the older one kept")
	}
	again := a.DeepCopy()
	again.UID = "another"
	if c.Find(again) != nil {
		t.Error("one that was made again passes for the first one")
	}
	Keep(&c, []*mcfgv1.MachineConfig{newer})
	if c.Find(newer) == nil || c.Find(b) != nil {
		t.Error("kept the wrong ones")
	}
	nameless := config("c", "", func(mc *mcfgv1.MachineConfig) { mc.UID = "" })
	first := readOne(&c, nameless)
	if second := readOne(&c, nameless); first == second {
		t.Error("one without UID was kept")
	}
}

func TestCacheKeepsNothingUnread(t *testing.T) {
	c := Cache{Convert: func([]byte) (ignition.Converted, error) { return ignition.Converted{}, ignition.ErrNoConverter }}
	old := config("old", "")
	old.Spec.Config.Raw = []byte(`{"ignition":{"version":"2.2.0"}}`)
	if _, err := c.Read(old); !errors.Is(err, ignition.ErrNoConverter) || !strings.Contains(err.Error(), `"old"`) {
		t.Errorf("without a converter: %v", err)
	}
	c.Convert = spec2.Convert
	if source, err := c.Read(old); err != nil || source.problem != nil {
		t.Errorf("with one: %v, %v", err, source)
	}
}

func TestCacheAtOnce(t *testing.T) {
	var c Cache
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := range 50 {
				mc := config(fmt.Sprint(i%5), "")
				if readOne(&c, mc).name != mc.Name {
					t.Error("the wrong one")
				}
				Keep(&c, []*mcfgv1.MachineConfig{mc})
			}
		})
	}
	wait.Wait()
}

// poolsConfigs are 19 MachineConfigs for all pools and one for each.
func poolsConfigs(pools int) (shared, own []*mcfgv1.MachineConfig) {
	for i := range 19 {
		var files []string
		for n := range 10 {
			files = append(files, fmt.Sprintf(`{"path":"/etc/%d/%d","mode":420,"contents":{"source":"data:,%s"}}`, i, n, strings.Repeat("x", 500)))
		}
		shared = append(shared, config(fmt.Sprintf("%02d-worker", i), `"storage":{"files":[`+strings.Join(files, ",")+`]}`))
	}
	for i := range pools {
		own = append(own, config(fmt.Sprintf("50-pool-%d", i), fmt.Sprintf(`"storage":{"files":[{"path":"/etc/pool","contents":{"source":"data:,%d"}}]}`, i)))
	}
	return shared, own
}

// BenchmarkPools renders 1,000 pools of 20 MachineConfigs each, 19 of them shared.
func BenchmarkPools(b *testing.B) {
	shared, own := poolsConfigs(1000)
	b.ReportAllocs()
	for b.Loop() {
		var c Cache
		for i, mc := range own {
			p := pool("worker")
			p.Name, p.UID = fmt.Sprintf("pool-%d", i), types.UID(fmt.Sprint(i))
			var sources []*Source
			for _, s := range shared {
				sources = append(sources, readOne(&c, s))
			}
			if _, err := Render(p, append(sources, readOne(&c, mc)), "v1"); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRead reads the MachineConfigs that the pools share.
func BenchmarkRead(b *testing.B) {
	shared, _ := poolsConfigs(0)
	b.ReportAllocs()
	for b.Loop() {
		for _, mc := range shared {
			readOne(&Cache{}, mc)
		}
	}
}
