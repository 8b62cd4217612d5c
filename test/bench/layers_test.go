package main

import (
	"reflect"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
)

func TestParseBenchmarks(t *testing.T) {
	got := parseBenchmarks(`goos: linux
BenchmarkBuild/1KB-2         	   12345	     98000 ns/op	  10.21 MB/s	   54321 B/op	     321 allocs/op
BenchmarkBuild/1KB-2         	   12345	     97000.5 ns/op
BenchmarkBuild/5000files     	      10	  21000000 ns/op
BenchmarkTree/encode-2       	      10	  11000000 ns/op
PASS
`)
	want := map[string]figure.Samples{"1KB": {0.098, 0.0970005}, "5000files": {21}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
