package configlayer

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
)

// largeTree is an index of about n paths, in the shape of a distribution's.
func largeTree(t testing.TB, n int) *Tree {
	t.Helper()
	nodes := []testNode{{spec: "etc/", mode: 0o755}, {spec: "usr/", mode: 0o755}, {spec: "usr/local -> ../var/usrlocal"}}
	for i := 0; len(nodes) < n; i++ {
		dir := fmt.Sprintf("usr/share/package-%d/", i)
		nodes = append(nodes, testNode{spec: dir, mode: 0o755}, testNode{spec: dir + "copyright", mode: 0o644})
		for k := range 18 {
			nodes = append(nodes, testNode{spec: fmt.Sprintf("%sfile-%d.%x.so", dir, k, i*k*7919), mode: 0o644})
		}
	}
	return testTree(t, layerTar(t, nodes...))
}

// configOf makes a config of so many files of so many bytes each.
func configOf(files, size int) string {
	source := "data:;base64," + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", size)))
	var out strings.Builder
	out.WriteString(`{"ignition":{"version":"3.4.0"},"storage":{"files":[`)
	for i := range files {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"path":"/usr/local/etc/%d/%d.conf","mode":420,"overwrite":true,"contents":{"source":%q}}`, i%50, i, source)
	}
	out.WriteString(`]}}`)
	return out.String()
}

func BenchmarkBuild(b *testing.B) {
	base := largeTree(b, 10_000)
	for _, size := range []struct {
		name         string
		files, bytes int
	}{{"1KB", 1, 700}, {"100KB", 40, 1_700}, {"1.4MB", 100, 10_400}, {"5000files", 5_000, 100}} {
		config := configOf(size.files, size.bytes)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(len(config)))
			b.ReportAllocs()
			for b.Loop() {
				layer, err := Build(context.Background(), testConfig(config), base, Deps{})
				if err != nil {
					b.Fatal(err)
				}
				if err := layer.WriteTar(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTree(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		tree := largeTree(b, n)
		var raw bytes.Buffer
		if err := tree.Encode(&raw); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("Encode/%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := tree.Encode(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(raw.Len()), "bytes")
		})
		b.Run(fmt.Sprintf("Decode/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := DecodeTree(bytes.NewReader(raw.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
