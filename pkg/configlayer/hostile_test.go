package configlayer

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// deviceLayer has what no config may write to: a device and a FIFO.
func deviceLayer(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, header := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "dev/", Mode: 0o755},
		{Typeflag: tar.TypeBlock, Name: "dev/disk", Mode: 0o660, Devmajor: 8},
		{Typeflag: tar.TypeFifo, Name: "dev/pipe", Mode: 0o666},
	} {
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestHostileConfigs: what a config may not say is refused with its place, and
// what it may is built to the letter, inside the image's root.
func TestHostileConfigs(t *testing.T) {
	base := testTree(t, osLayer(t), deviceLayer(t))
	for _, row := range []struct{ name, storage, want, err string }{
		{name: "relative path", storage: `"files":[{"path":"etc/x"}]`, err: "$: $.storage.files.0.path"},
		{name: "above the root", storage: `"files":[{"path":"/../../etc/x"}]`, err: "$: $.storage.files.0.path"},
		{name: "ends above its parent", storage: `"directories":[{"path":"/etc/.."}]`, err: "$: $.storage.directories.0.path"},
		{name: "link above its parent", storage: `"links":[{"path":"/etc/../../x","target":"y"}]`, err: "$: $.storage.links.0.path"},
		{name: "newline in a directory's name", storage: `"directories":[{"path":"/etc/a\nroot::0:0"}]`, err: "$.storage.directories[0].path: control character"},
		{name: "newline in a link's name", storage: `"links":[{"path":"/etc/a\nb","target":"x"}]`, err: "$.storage.links[0].path: control character"},
		{name: "file over a device", storage: `"files":[{"path":"/dev/disk","contents":{"source":"data:,x"}}]`, err: "$.storage.files[0]: something that is no file exists there"},
		{name: "more into a device", storage: `"files":[{"path":"/dev/disk","append":[{"source":"data:,x"}]}]`, err: "$.storage.files[0]: something that is no file exists there"},
		{name: "more into a pipe", storage: `"files":[{"path":"/dev/pipe","append":[{"source":"data:,x"}]}]`, err: "$.storage.files[0]: something that is no file exists there"},
		{name: "a link and a file at one place", storage: `"links":[{"path":"/etc/d","target":"/dev/disk"}],"files":[{"path":"/etc/d","append":[{"source":"data:,x"}]}]`, err: "$: duplicate entry"},
		{name: "directory over a device", storage: `"directories":[{"path":"/dev/disk"}]`, err: "$.storage.directories[0]: something that is no directory exists there"},
		{name: "file below a device", storage: `"files":[{"path":"/dev/disk/x"}]`, err: "$.storage.files[0]: not a directory"},
		{name: "file in a device's place", storage: `"files":[{"path":"/dev/disk","overwrite":true,"contents":{"source":"data:,x"}}]`, want: "5 0755 0:0 dev/\n0 0644 0:0 dev/disk \"x\"\n"},
		{name: "other name of a device", storage: `"links":[{"path":"/etc/d","target":"/dev/disk","hard":true}]`, err: "$.storage.links[0]: is a directory or a device"},
		{name: "link to a device", storage: `"links":[{"path":"/etc/d","target":"/dev/disk"}]`, want: "2 0777 0:0 etc/d -> /dev/disk\n"},
		{name: "link out of the root stays a text", storage: `"links":[{"path":"/etc/up","target":"../../../../.."}]`, want: "2 0777 0:0 etc/up -> ../../../../..\n"},
		{name: "newline in a link's target", storage: `"links":[{"path":"/etc/n","target":"a\nb"}]`, want: "2 0777 0:0 etc/n -> a\nb\n"},
		{name: "file through a link out of the root of the same config", storage: `"links":[{"path":"/etc/up","target":"../../../../.."}],"files":[{"path":"/etc/up/x"}]`, err: "$: file path includes link in config"},
		{name: "hard link to a file out of the root", storage: `"links":[{"path":"/etc/h","target":"/../../../etc/hostname","hard":true}]`, want: "0 0644 0:0 etc/h \"base\\n\"\n1 0644 0:0 etc/hostname -> etc/h\n"},
		{name: "hard link to nothing", storage: `"links":[{"path":"/etc/h","target":"/gone","hard":true}]`, err: "$.storage.links[0]: no such file"},
		{name: "odd names that are legal", storage: `"files":[{"path":"/etc/-rf \"$(reboot)\" \\ {{ }} é"}]`, want: "0 0644 0:0 etc/-rf \"$(reboot)\" \\ {{ }} é \"\"\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			layer, err := Build(t.Context(), testConfig(`{"ignition":{"version":"3.4.0"},"storage":{`+row.storage+`}}`), base, osDeps(t, base))
			if row.err != "" {
				checkConfigError(t, err, row.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Replace(withoutCurrent(listing(t, layer)), "5 0755 0:0 etc/\n", "", 1); got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}
