package main

import (
	"reflect"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
)

func TestParseRendering(t *testing.T) {
	got := parseRendering(`cpu: AMD EPYC
BenchmarkPools-2   	       1	9500000000 ns/op	1234000000 B/op	 8000000 allocs/op
BenchmarkPools     	       1	9000000000 ns/op	1230000000 B/op	 7900000 allocs/op
BenchmarkRead-2    	     100	  10000000 ns/op	    1000 B/op	      10 allocs/op
PASS
`)
	want := rendering{figure.Samples{9.5, 9}, figure.Samples{1234, 1230}, figure.Samples{8, 7.9}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

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
