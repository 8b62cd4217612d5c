package configlayer

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestS36ConfigsOfAnySize: none, five thousand, and as many bytes as an API
// object holds that do not compress.
func TestS36ConfigsOfAnySize(t *testing.T) {
	random := make([]byte, 1_050_000)                 // 1.4 MB in base64
	_, _ = rand.NewChaCha8([32]byte{36}).Read(random) // never fails
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf(`{"path":"/etc/s36/%d","mode":420,"contents":{"source":"data:,%d"}}`, i, i)
	}
	for name, row := range map[string]struct {
		files string
		want  map[string]string // of the layer, by name
		count int               // of regular files, currentconfig included
	}{
		"no file":        {"", nil, 1},
		"5,000 files":    {strings.Join(many, ","), map[string]string{"etc/s36/0": "0", "etc/s36/4999": "4999"}, 5001},
		"no compression": {`{"path":"/etc/s36","mode":384,"contents":{"source":"data:;base64,` + base64.StdEncoding.EncodeToString(random) + `"}}`, map[string]string{"etc/s36": string(random)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			base := osTree(t)
			layer, err := Build(t.Context(), testConfig(`{"ignition":{"version":"3.4.0"},"storage":{"files":[`+row.files+`]}}`), base, osDeps(t, base))
			if err != nil {
				t.Fatal(err)
			}
			checkLayer(t, layer)
			var raw bytes.Buffer
			if err := layer.WriteTar(&raw); err != nil {
				t.Fatal(err)
			}
			archive, count := tar.NewReader(&raw), 0
			for {
				header, err := archive.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if header.Typeflag != tar.TypeReg {
					continue
				}
				count++
				if want, ok := row.want[header.Name]; ok {
					if got, err := io.ReadAll(archive); err != nil || string(got) != want {
						t.Errorf("%s has other contents, error %v", header.Name, err)
					}
					delete(row.want, header.Name)
				}
			}
			if count != row.count || len(row.want) > 0 {
				t.Errorf("%d files, want %d; without %d that must be there", count, row.count, len(row.want))
			}
		})
	}
}
