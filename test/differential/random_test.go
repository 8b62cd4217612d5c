package differential

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// dirs are where generated entries go; most lie behind links of the base.
var dirs = []string{
	"/etc", "/etc/conf.d", "/etc/conf.d/deep", "/usr/local/bin", "/usr/local/new/er", "/opt", "/opt/x/y", "/lib", "/lib/systemd",
	"/home/bob", "/srv/data", "/media/disk", "/outside", "/chain", "/chain/sub", "/usr/share/up", "/var/mail", "/var/mail/sub",
	"/var/lib/private", "/root", "/tmp", "/usr/libexec", "/new/dir", "/fresh", "/fresh/link",
}

// badDirs are places where nothing can be put.
var badDirs = []string{"/loop", "/tofile", "/etc/localtime", "/etc/hostname", "/mnt/disk"}

// names are those of new entries and, fewer, of entries that the base has.
var names = []string{"one", "two", "three", "four", "x", "y", "link", "up", "new", "a", "hostname", "tool", "deep", "secret"}

// generated is a random config, in the shape of the spec.
type generated struct {
	Ignition map[string]string `json:"ignition"`
	Storage  map[string][]any  `json:"storage"`
	Systemd  map[string][]any  `json:"systemd"`
	used     map[string]bool
}

func generate(r *rand.Rand) string {
	g := generated{
		Ignition: map[string]string{"version": []string{"3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0"}[r.IntN(6)]},
		Storage:  map[string][]any{}, Systemd: map[string][]any{}, used: map[string]bool{},
	}
	for range 1 + r.IntN(5) {
		switch r.IntN(6) {
		case 0:
			g.add(r, "directories", map[string]any{"mode": 0o700 + r.IntN(0o100)})
		case 1:
			g.add(r, "links", map[string]any{"target": target(r)})
		case 2:
			g.add(r, "links", map[string]any{"target": existing(r), "hard": true})
		default:
			g.add(r, "files", fileBody(r))
		}
	}
	for _, i := range r.Perm(len(unitNames))[:r.IntN(4)] {
		g.Systemd["units"] = append(g.Systemd["units"], unit(r, unitNames[i]))
	}
	out, err := json.Marshal(g)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// somewhere picks a path; mostly one that fits what the base has.
func somewhere(r *rand.Rand) string {
	d := dirs[r.IntN(len(dirs))]
	if r.IntN(40) == 0 {
		d = badDirs[r.IntN(len(badDirs))]
	}
	if r.IntN(15) == 0 {
		return d
	}
	return d + "/" + names[r.IntN(len(names))]
}

func existing(r *rand.Rand) string {
	all := []string{"/usr/bin/tool", "/etc/hostname", "/usr/bin/sgid", "/etc/conf.d/a", "/usr/share/up/hostname", "/etc/localtime", "/new/dir/a", "/etc/one", "/etc/motd", "/etc/secret", "/missing"}
	return all[r.IntN(len(all))]
}

func target(r *rand.Rand) string {
	all := []string{"/etc/hostname", "../usr/bin", "missing", "/usr/bin/tool", "../../../etc", "/var/mail", "/etc/secret", "a"}
	return all[r.IntN(len(all))]
}

func (g *generated) add(r *rand.Rand, list string, body map[string]any) {
	at := somewhere(r)
	if g.used[at] || list != "directories" && at == "/etc" { // refused, by intent
		return
	}
	g.used[at] = true
	body["path"] = at
	_, hasContents := body["contents"]
	if r.IntN(2) == 0 && (list != "files" || hasContents) {
		body["overwrite"] = true
	}
	if body["hard"] == nil {
		owner(r, body, "user", []string{"bob", "daemon", "root", "nobody-here"})
		owner(r, body, "group", []string{"mail", "wheel", "bob", "no-group"})
	}
	g.Storage[list] = append(g.Storage[list], body)
}

func owner(r *rand.Rand, body map[string]any, key string, known []string) {
	switch r.IntN(8) {
	case 0, 1:
		body[key] = map[string]any{"id": r.IntN(3000)}
	case 2, 3:
		i := r.IntN(10 * len(known))
		if i >= len(known) {
			i = r.IntN(len(known) - 1)
		}
		body[key] = map[string]any{"name": known[i]}
	}
}

func fileBody(r *rand.Rand) map[string]any {
	body := map[string]any{}
	if r.IntN(4) != 0 {
		body["mode"] = r.IntN(0o1000)
	}
	if r.IntN(12) == 0 {
		body["mode"] = r.IntN(0o10000)
	}
	if r.IntN(4) != 0 {
		body["contents"] = source(r)
	}
	if r.IntN(4) == 0 {
		body["append"] = []any{source(r), map[string]any{"source": "data:,more"}}
	}
	return body
}

const hiHash = "sha256-8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"

func source(r *rand.Rand) map[string]any {
	all := []map[string]any{
		{"source": ""},
		{"source": "data:,"},
		{"source": "data:,hello%20world%0A"},
		{"source": "data:text/plain;charset=utf-8;base64,aGVsbG8="},
		{"source": "data:,a+b%2Bc?d=e#f%25g"},
		{"source": "data:;base64,H4sIAAAAAAACA8tIzcnJVyjPL8pJ4QIALTsIrwwAAAA=", "compression": "gzip"},
		{"source": "data:,hi", "verification": map[string]string{"hash": hiHash}},
	}
	bad := []map[string]any{
		{"source": "data:,ho", "verification": map[string]string{"hash": hiHash}},
		{"source": "data:,plain", "compression": "gzip"},
	}
	if r.IntN(20) == 0 {
		return bad[r.IntN(len(bad))]
	}
	return all[r.IntN(len(all))]
}

var unitNames = []string{"one.service", "two.timer", "sshd.service", "masked.service", "getty@tty2.service", "getty@tty3.service", "inst@.service", "inst@x.service"}

func unit(r *rand.Rand, name string) map[string]any {
	u := map[string]any{"name": name}
	if r.IntN(2) == 0 {
		u["contents"] = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
	}
	if r.IntN(3) == 0 {
		u["dropins"] = []any{
			map[string]any{"name": "10-a.conf", "contents": "[Service]\nRestart=always\n"},
			map[string]any{"name": "20-b.conf", "contents": ""},
			map[string]any{"name": "30-c.conf"},
		}
	}
	switch r.IntN(4) {
	case 0:
		u["enabled"] = true
	case 1:
		// the small base has no systemctl, without which Ignition disables nothing
		u["enabled"] = name != "one.service" && name != "two.timer"
	}
	if r.IntN(5) == 0 {
		u["mask"] = r.IntN(2) == 0
	}
	return u
}

func number(t *testing.T, key string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(key)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}

func TestGenerated(t *testing.T) {
	needReference(t)
	base := smallImage(t)
	seed := number(t, "MOB_DIFFERENTIAL_SEED", uint64(time.Now().UnixNano()))
	runs := number(t, "MOB_DIFFERENTIAL_RUNS", 200)
	t.Logf("MOB_DIFFERENTIAL_SEED=%d MOB_DIFFERENTIAL_RUNS=%d", seed, runs)
	accepted := 0
	for i := range runs {
		config := generate(rand.New(rand.NewPCG(seed, i)))
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if checkSame(t, base, config) {
				accepted++
			}
			if t.Failed() {
				t.Logf("config: %s", config)
			}
		})
	}
	t.Logf("%d of %d configs were accepted", accepted, runs)
	if accepted*3 < int(runs) {
		t.Errorf("only %d of %d generated configs are accepted: too few to prove anything", accepted, runs)
	}
}
