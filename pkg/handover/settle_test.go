package handover_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

var epoch = time.Unix(1700000000, 0).UTC()

// entry is one of a layer that a test makes.
type entry struct {
	tar.Header
	content string
}

// entries are of every kind that a layer can hold; made is when the steps ran.
func entries(made time.Time) []entry {
	all := []entry{
		{tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "etc/.wh.gone", Typeflag: tar.TypeReg, Mode: 0o600}, ""},
		{tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "new", Mode: 0o777}, ""},
		{tar.Header{Name: "etc/new", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 70000, Gid: 1 << 22}, "new"},
		{tar.Header{Name: "etc/same", Typeflag: tar.TypeLink, Linkname: "etc/new"}, ""},
		{tar.Header{Name: "usr/bin/" + strings.Repeat("long/", 60) + "näme", Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00", "SCHILY.xattr.user.note": "a=b\n",
		}}, strings.Repeat("x", 100000)},
	}
	for i := range all {
		all[i].Size = int64(len(all[i].content))
		all[i].ModTime, all[i].AccessTime, all[i].ChangeTime = made, made.Add(time.Second), made.Add(time.Minute)
		all[i].Format = tar.FormatPAX
	}
	return all
}

func tarOf(t testing.TB, all []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for i := range all {
		if err := archive.WriteHeader(&all[i].Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, all[i].content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// boxWith holds an image of a base's layer and a new one.
func boxWith(t testing.TB, content []byte, compression registry.Compression) *box {
	b := newBox(t)
	var packed bytes.Buffer
	zip, err := compression.Writer(&packed)
	b.must(err)
	_, err = zip.Write(content)
	b.must(errors.Join(err, zip.Close()))
	b.must(errors.Join(os.Remove(filepath.Join(b.dir, file(b.layer))), os.Remove(filepath.Join(b.dir, file(b.config)))))
	b.layer = digestOf(packed.Bytes())
	b.write(file(b.layer), packed.Bytes())
	b.setConfig(fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, b.base, digestOf(content)))
	b.layers(b.describe(b.base, 4), b.describe(b.layer, packed.Len()))
	return b
}

// settled is the new layer after it was settled, and its tar.
func (b *box) settled(form handover.Form) (registry.Blob, []byte) {
	b.t.Helper()
	_, err := handover.Settle(b.t.Context(), b.dir, b.present, form)
	b.must(err)
	image, err := handover.Open(b.dir, b.present, limit)
	b.must(err)
	layer := image.Layers[1]
	stream, err := layer.Open()
	b.must(err)
	plain, err := registry.Decompress(stream)
	b.must(err)
	content, err := io.ReadAll(plain)
	b.must(errors.Join(err, plain.Close()))
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); image.Config.RootFS.DiffIDs[1].String() != got {
		b.t.Errorf("the config says %s, the tar is %s", image.Config.RootFS.DiffIDs[1], got)
	}
	if files, err := os.ReadDir(b.dir); err != nil || len(files) != 3 {
		b.t.Errorf("files = %v, %v; want a manifest, a config and one layer", files, err)
	}
	return layer, content
}

// TestSettledLayerTellsNoTimeOfTheBuild: whenever the steps ran and however
// buildah compressed what they left, the layer is the same; everything but the
// times is as it was.
func TestSettledLayerTellsNoTimeOfTheBuild(t *testing.T) {
	for _, compression := range []registry.Compression{registry.Gzip, registry.Zstd} {
		form := handover.Form{Epoch: epoch, Compression: compression}
		digests := map[string]bool{}
		for i, made := range []time.Time{epoch.Add(time.Hour), epoch.Add(2*time.Hour + 123456789), epoch.Add(9000 * time.Hour)} {
			from := []registry.Compression{registry.Gzip, registry.Gzip, registry.Zstd}[i]
			layer, content := boxWith(t, tarOf(t, entries(made)), from).settled(form)
			digests[layer.Digest] = true
			if layer.MediaType != string(compression.MediaType()) {
				t.Errorf("the layer is of type %s", layer.MediaType)
			}
			checkEntries(t, content, entries(epoch))
		}
		if len(digests) != 1 {
			t.Errorf("%s: digests = %v", compression, digests)
		}
	}
}

// plain is a header without extended attributes and times of access.
func plain(h tar.Header) string {
	return fmt.Sprint(h.Name, h.Linkname, h.Typeflag, h.Size, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor, h.ModTime.UTC())
}

func checkEntries(t *testing.T, content []byte, want []entry) {
	t.Helper()
	archive := tar.NewReader(bytes.NewReader(content))
	for _, w := range want {
		header, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plain(w.Header), plain(*header)); diff != "" || string(data) != w.content {
			t.Errorf("%s (%d bytes):\n%s", w.Name, len(data), diff)
		}
		if !header.AccessTime.IsZero() || !header.ChangeTime.IsZero() {
			t.Errorf("%s was read at %s and changed at %s", w.Name, header.AccessTime, header.ChangeTime)
		}
		for key, value := range w.PAXRecords {
			if header.PAXRecords[key] != value {
				t.Errorf("%s: %s = %q, want %q", w.Name, key, header.PAXRecords[key], value)
			}
		}
	}
	if header, err := archive.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("one more: %+v, %v", header, err)
	}
}

// TestOlderFilesKeepTheirTimes: they say nothing of the build.
func TestOlderFilesKeepTheirTimes(t *testing.T) {
	for _, made := range []time.Time{time.Unix(0, 0), epoch.Add(-time.Second), epoch} {
		_, content := boxWith(t, tarOf(t, entries(made)), registry.Gzip).settled(handover.Form{Epoch: epoch})
		checkEntries(t, content, entries(made.UTC()))
	}
}

// TestSettleChangesNoLayerOfTheBase, whether or not it was handed over.
func TestSettleChangesNoLayerOfTheBase(t *testing.T) {
	content := tarOf(t, entries(epoch.Add(time.Hour)))
	b := boxWith(t, content, registry.Gzip)
	layer, got := b.settled(handover.Form{Epoch: epoch, Compression: registry.Zstd, Base: []string{digestOf(content)}})
	if layer.Digest != b.layer || !bytes.Equal(got, content) {
		t.Errorf("layer %s became %s", b.layer, layer.Digest)
	}
}

func TestSettleRefusesWhatIsNoLayer(t *testing.T) {
	whole := tarOf(t, entries(epoch))
	for name, content := range map[string][]byte{"no tar": newLayer, "cut off": whole[:len(whole)-60000]} {
		if _, err := handover.Settle(t.Context(), boxWith(t, content, registry.Gzip).dir, []handover.Layer{{Digest: digestOf([]byte("base")), Size: 4}}, handover.Form{Epoch: epoch}); !errors.Is(err, handover.ErrRefused) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

// FuzzSettle settles any tar: it is refused, or settling it again changes nothing.
func FuzzSettle(f *testing.F) {
	f.Add(tarOf(f, entries(epoch.Add(time.Hour))))
	f.Add([]byte{})
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, content []byte) {
		b := boxWith(t, content, registry.Gzip)
		form := handover.Form{Epoch: epoch, Compression: registry.Zstd}
		if _, err := handover.Settle(t.Context(), b.dir, b.present, form); err != nil {
			if !errors.Is(err, handover.ErrRefused) {
				t.Errorf("error = %v", err)
			}
			return
		}
		first, _ := b.settled(form)
		if second, _ := b.settled(form); first.Digest != second.Digest {
			t.Errorf("%s became %s", first.Digest, second.Digest)
		}
	})
}
