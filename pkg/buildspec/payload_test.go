package buildspec

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// mapLimit is what etcd takes of one object.
const mapLimit = 1 << 20

// noise does not compress.
func noise(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = source.Read(data) // never fails
	return data
}

func packed(t *testing.T, document []byte) Payload {
	t.Helper()
	p, err := EncodePayload(document)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestS36PayloadOfAnySize: there is no 1 MB limit.
func TestS36PayloadOfAnySize(t *testing.T) {
	for name, row := range map[string]struct {
		document []byte
		chunks   int
	}{
		"empty":                        {nil, 1},
		"small":                        {[]byte(`{"kind":"MachineConfig"}`), 1},
		"large, compressible":          {bytes.Repeat([]byte("all the same "), 1<<18), 1},
		"2 MB that do not compress":    {noise(2 << 20), 4},
		"just what one chunk can hold": {noise(chunkBytes/4*3 - 1000), 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := packed(t, row.document)
			if len(p.Chunks) != row.chunks {
				t.Errorf("%d chunks, want %d", len(p.Chunks), row.chunks)
			}
			for i, c := range p.Chunks {
				if len(c) > mapLimit-64*1024 {
					t.Errorf("chunk %d has %d bytes: no room for metadata", i, len(c))
				}
			}
			got, err := p.Decode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, row.document) {
				t.Error("another document came out")
			}
			if diff := cmp.Diff(p, packed(t, row.document)); diff != "" {
				t.Errorf("the same document packs differently:\n%s", diff)
			}
		})
	}
}

// TestDockerfileChunks: whatever the text, each chunk fits a ConfigMap, which
// holds UTF-8 only, and joined they are the text.
func TestDockerfileChunks(t *testing.T) {
	for name, row := range map[string]struct {
		text   string
		chunks int
	}{
		"empty":                 {"", 1},
		"full":                  {strings.Repeat("x", chunkBytes), 1},
		"one more":              {strings.Repeat("x", chunkBytes+1), 2},
		"of the API's limit":    {strings.Repeat("RUN true\n", 1<<20/9), 2},
		"a rune across the cut": {strings.Repeat("x", chunkBytes-1) + "é" + strings.Repeat("漢", 1000), 2},
		"not UTF-8":             {strings.Repeat("\x80", 2*chunkBytes), 3},
	} {
		t.Run(name, func(t *testing.T) {
			chunks := Request{Dockerfile: row.text}.DockerfileChunks()
			if len(chunks) != row.chunks || strings.Join(chunks, "") != row.text {
				t.Errorf("%d chunks, want %d; joined they are the text: %t", len(chunks), row.chunks, strings.Join(chunks, "") == row.text)
			}
			for i, c := range chunks {
				if len(c) > chunkBytes || utf8.ValidString(c) != utf8.ValidString(row.text) {
					t.Errorf("chunk %d of %d bytes is UTF-8: %t", i, len(c), utf8.ValidString(c))
				}
			}
		})
	}
}

func TestDamagedPayload(t *testing.T) {
	document := noise(2 << 20)
	for name, damage := range map[string]func(*Payload){
		"no chunks":        func(p *Payload) { p.Chunks = nil },
		"first missing":    func(p *Payload) { p.Chunks = p.Chunks[1:] },
		"last missing":     func(p *Payload) { p.Chunks = p.Chunks[:len(p.Chunks)-1] },
		"one twice":        func(p *Payload) { p.Chunks = append(p.Chunks, p.Chunks[0]) },
		"out of order":     func(p *Payload) { p.Chunks[0], p.Chunks[1] = p.Chunks[1], p.Chunks[0] },
		"a byte changed":   func(p *Payload) { p.Chunks[1] = "AAAA" + p.Chunks[1][4:] },
		"not base64":       func(p *Payload) { p.Chunks[1] = "#" + p.Chunks[1][1:] },
		"not gzip":         func(p *Payload) { p.Chunks = []string{"aGVsbG8="} },
		"of another hash":  func(p *Payload) { p.SHA256 = strings.Repeat("0", 64) },
		"with no hash":     func(p *Payload) { p.SHA256 = "" },
		"more than a bomb": func(p *Payload) { *p = packed(t, make([]byte, maxPayloadBytes+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := packed(t, document)
			damage(&p)
			if _, err := p.Decode(); !errors.Is(err, ErrPayload) {
				t.Errorf("error %v, want one of %v", err, ErrPayload)
			}
		})
	}
}

// FuzzPayload decodes anything: the answer is the document whose hash is named,
// or an error of the class. Whatever is a document survives the way.
func FuzzPayload(f *testing.F) {
	f.Add("H4sIAAAAAAAA/wEAAP//AAAAAAAAAAA=", names.Content(nil), []byte("{}"))
	f.Add("", "", []byte(nil))
	f.Add("H4sI", "!", []byte(strings.Repeat("x", 5000)))
	f.Fuzz(func(t *testing.T, text, hash string, document []byte) {
		got, err := Payload{Chunks: []string{text}, SHA256: hash}.Decode()
		if err != nil && !errors.Is(err, ErrPayload) {
			t.Errorf("error of another class: %v", err)
		}
		if err == nil && names.Content(got) != hash {
			t.Errorf("a document of another hash was taken")
		}
		p, err := EncodePayload(document)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := p.Decode(); err != nil || !bytes.Equal(back, document) {
			t.Errorf("%d bytes came back as %d, error %v", len(document), len(back), err)
		}
	})
}
