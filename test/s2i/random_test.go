package s2i

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// generate makes an input, of parts in which nothing is meant to differ.
func generate(r *rand.Rand) input {
	in := input{builder: static, source: map[string]string{}, labels: map[string]string{"io.openshift.tags": "x"}, served: map[string]string{}}
	maybe := func(n int, do func()) {
		if r.IntN(n) == 0 {
			do()
		}
	}
	root := ""
	maybe(4, func() { in.contextDir = pick(r, "sub", "sub/", "/sub", "./sub/deep/..", "sub/deep"); root = "sub/" })
	if in.contextDir == "sub/deep" {
		root = "sub/deep/"
	}
	in.source[root+"always"] = "a"
	for range r.IntN(12) {
		in.source[root+somewhere(r)] = pick(r, "a", "b", "x", "->always", "->../x", "->/etc/passwd", "")
	}
	for _, name := range []string{"assemble", "run", "save-artifacts"} {
		maybe(3, func() { in.source[root+".s2i/bin/"+name] = pick(r, "own", "x own") })
		maybe(5, func() { in.source[root+".sti/bin/"+name] = "old" })
		maybe(2, func() { in.served["/s/"+name] = "fetched" })
		maybe(2, func() { in.served["/l/"+name] = "of the label" })
	}
	maybe(2, func() { in.source[root+".s2iignore"] = ignoreText(r) })
	maybe(2, func() { in.source[root+".s2i/environment"] = environmentText(r) })
	maybe(3, func() { in.scripts = pick(r, "SERVER/s", "image:///opt/s", "image:///opt/t", "SERVER/none") })
	maybe(3, func() {
		in.labels["io.openshift.s2i.scripts-url"] = pick(r, "image:///usr/s", "SERVER/l", "SERVER/none")
	})
	maybe(6, func() { in.labels["io.s2i.scripts-url"] = "image:///old" })
	maybe(3, func() { in.labels["io.openshift.s2i.destination"] = pick(r, "/opt/s2i", "/d", "/a/b/c") })
	maybe(4, func() { in.labels["io.openshift.s2i.assemble-user"] = pick(r, "185", "app", "0", "a_b-c.d") })
	in.user = pick(r, "", "1001", "default", "1001:0", "0")
	in.allowed = pick(r, "", "", "1-", "0-1000", "-185,1001")
	in.workingDir = pick(r, "", "/srv", "/opt/app-root")
	maybe(2, func() { in.previous = "registry.example.com/apps/site:latest" })
	maybe(2, func() { in.output = "registry.example.com/apps/site:next" })
	in.imageLabels = map[string]string{}
	for range r.IntN(4) {
		in.imageLabels[pick(r, "a", "a.b/c", "io.k8s.display-name", "é", "two words")] = word(r)
	}
	for range r.IntN(4) {
		in.env = append(in.env, [2]string{pick(r, "A", "B", "PATH", "a.b", "_C-d"), word(r)})
	}
	for i := range r.IntN(3) {
		in.secrets = append(in.secrets, volume(r, fmt.Sprintf("secret-%d", i)))
		in.configs = append(in.configs, volume(r, fmt.Sprintf("config-%d", i)))
	}
	return in
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// somewhere makes a path; no name of a file is one of a folder.
func somewhere(r *rand.Rand) string {
	out := ""
	for range r.IntN(3) {
		out += pick(r, "d", "e", ".git", "two words", "ü") + "/"
	}
	return out + pick(r, "a", "b.md", "README.md", ".hidden", "c d", "x.txt", "[z]")
}

// ignoreText does not name single files below .s2i, nor itself: there the library
// leaves empty ones.
func ignoreText(r *rand.Rand) string {
	out := ""
	for range 1 + r.IntN(5) {
		out += pick(r, "", "!", "", "# ", " ") + pick(r, "*.md", "a", "d", "d/*", "*/*.txt", ".git/", "/e", "./d/e", "*/*/a", "?", "[a-c]*", ".h*", ".s2i", ".s2i/bin", "d/../e", "\\[z\\]", "ü/*", "none", "c d", "*/README.md") + pick(r, "\n", "\r\n", " \n", "\n\n")
	}
	return out
}

func environmentText(r *rand.Rand) string {
	out := ""
	for range 1 + r.IntN(5) {
		out += pick(r, "A", "B ", " C", "#D", "E.f") + "=" + word(r) + pick(r, "\n", "\r\n", "\n\n")
	}
	return out
}

// word makes a value that the library does not change.
func word(r *rand.Rand) string {
	out := ""
	for range r.IntN(5) {
		out += pick(r, "a", " ", "'", `"`, `\`, "=", "#", "ü", "&&", "`", "{x}", "1", ";", "%s", "<<", "[", ",")
	}
	return out
}

func volume(r *rand.Rand, name string) injected {
	v := injected{name: name, destination: pick(r, "", ".", "conf", "a/b", "/etc/app", "/opt/x/", "../up"), keys: map[string]string{}}
	for range r.IntN(4) {
		v.keys[pick(r, "key", ".dot", "a.b", "k-1", "Z")] = pick(r, "1", "2")
	}
	return v
}

// TestRandom compares generated builds.
func TestRandom(t *testing.T) {
	seed, runs := uint64(time.Now().UnixNano()), 200
	for name, read := range map[string]func(string) error{
		"MOB_DIFFERENTIAL_SEED": func(text string) (err error) { seed, err = strconv.ParseUint(text, 10, 64); return err },
		"MOB_DIFFERENTIAL_RUNS": func(text string) (err error) { runs, err = strconv.Atoi(text); return err },
	} {
		if text := os.Getenv(name); text != "" {
			if err := read(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("MOB_DIFFERENTIAL_SEED=%d", seed)
	built := 0
	for run := range runs {
		in := generate(rand.New(rand.NewPCG(seed, uint64(run))))
		t.Run(strconv.Itoa(run), func(t *testing.T) {
			if compare(t, in) {
				built++
			}
		})
	}
	if built < runs/4 {
		t.Errorf("only %d of %d inputs were built", built, runs)
	}
}
