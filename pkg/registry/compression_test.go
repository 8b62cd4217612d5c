package registry_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// TestCompressionIsAFunctionOfTheContent: how it is cut into writes does not count.
func TestCompressionIsAFunctionOfTheContent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for text.Len() < 3<<20 {
		text.WriteString([]string{"one ", "two ", "three\n", "\x00"}[random.IntN(4)])
	}
	content := []byte(text.String())
	for _, compression := range []registry.Compression{registry.Gzip, registry.Zstd, ""} {
		var first []byte
		for _, chunk := range []int{len(content), 1 << 16, 4096, 77777, 0} {
			packed := compressed(t, compression, content, chunk)
			if first == nil {
				first = packed
			}
			if !bytes.Equal(first, packed) {
				t.Errorf("%q in writes of %d bytes gives other bytes", compression, chunk)
			}
		}
		plain, err := registry.Decompress(io.NopCloser(bytes.NewReader(first)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%q: %d bytes are %d after all, %v", compression, len(content), len(got), err)
		}
	}
}

// compressed writes in chunks; 0 is for chunks of many sizes.
func compressed(t *testing.T, compression registry.Compression, content []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	zip, err := compression.Writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for len(content) > 0 {
		n := chunk
		if n == 0 {
			n = 1 + random.IntN(1<<17)
		}
		n = min(n, len(content))
		if _, err := zip.Write(content[:n]); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestParseCompression(t *testing.T) {
	for name, want := range map[string]registry.Compression{"": registry.Gzip, "gzip": registry.Gzip, "zstd": registry.Zstd} {
		if got, err := registry.ParseCompression(name); err != nil || got != want {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
	if _, err := registry.ParseCompression("xz"); err == nil || !strings.Contains(err.Error(), `"xz", want gzip or zstd`) {
		t.Errorf("error = %v", err)
	}
}
