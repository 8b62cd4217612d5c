package retention

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

const repository = "registry.example.com/os/images"

var (
	now    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	policy = Policy{Keep: 3, Grace: 10 * time.Minute}
	long   = now.Add(-time.Hour)
	short  = now.Add(-time.Minute)
)

// imageOf is the image of a letter.
func imageOf(letter string) string { return repository + "@sha256:" + letter }

func config(letter string) string { return "rendered-worker-" + letter }

// pool has built the configs of some letters, one an hour, and is settled on
// the last one.
func pool(letters string, change ...func(*Pool)) Pool {
	p := Pool{Name: "worker", Built: true}
	for n, letter := range strings.Split(letters, "") {
		p.Target, p.ImageConfig, p.NewestImage = config(letter), config(letter), imageOf(letter)
		p.Records = append(p.Records, osbuild.Record{
			Pool: buildspec.Pool{Name: "worker"}, RenderedConfig: config(letter), Outcome: osbuild.Succeeded,
			Image: imageOf(letter), Finished: now.Add(time.Duration(n-len(letters)) * time.Hour),
		})
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func record(p *Pool, letter string) *osbuild.Record {
	n := slices.IndexFunc(p.Records, func(r osbuild.Record) bool { return r.RenderedConfig == config(letter) })
	return &p.Records[n]
}

func marked(since time.Time, letters string) func(*Pool) {
	return func(p *Pool) {
		for _, letter := range strings.Split(letters, "") {
			record(p, letter).UnneededSince = since
		}
	}
}

// supersedes lets the record of a letter hold earlier images, newest first.
func supersedes(letter string, since time.Time, earlier ...string) func(*Pool) {
	return func(p *Pool) {
		r := record(p, letter)
		for n, e := range earlier {
			r.Superseded = append(r.Superseded, osbuild.SupersededImage{
				Image: imageOf(e), Finished: r.Finished.Add(-time.Duration(n+1) * time.Minute), UnneededSince: since,
			})
		}
	}
}

func target(letter string) func(*Pool) { return func(p *Pool) { p.Target = config(letter) } }

func named(pullspecs ...string) Names {
	var n Names
	for _, p := range pullspecs {
		n.Add(p)
	}
	return n
}

// madeOf says what steps left that images were made of.
func madeOf(steps, letters string) func(*Pool) {
	return func(p *Pool) {
		for _, letter := range strings.Split(letters, "") {
			record(p, letter).StepsImage = imageOf(steps)
		}
	}
}

func stepsElsewhere(pool, steps string) Names {
	var n Names
	n.AddRecord(osbuild.Record{Pool: buildspec.Pool{Name: pool}, Image: imageOf("elsewhere"), StepsImage: imageOf(steps)})
	return n
}

func heldElsewhere(pool string, finished time.Time, letter string) Names {
	var n Names
	n.AddRecord(osbuild.Record{Pool: buildspec.Pool{Name: pool}, Image: imageOf(letter), Finished: finished})
	return n
}

func resultOf(pool, letter string) Names {
	var n Names
	n.AddResult(pool, imageOf(letter))
	return n
}

// brief is a plan for tables.
func brief(s Steps) string {
	var out []string
	add := func(what string, images []Image) {
		for _, i := range images {
			text := what + " " + strings.TrimPrefix(i.Pullspec, imageOf(""))
			if what == "delete" && i.Steps != "" {
				text += " with " + strings.TrimPrefix(i.Steps, imageOf(""))
			}
			out = append(out, text)
		}
	}
	add("unmark", s.Unmark)
	add("mark", s.Mark)
	add("delete", s.Delete)
	add("named", s.Named)
	for _, c := range s.Drop {
		out = append(out, "drop "+strings.TrimPrefix(c, config("")))
	}
	if s.Again != 0 {
		out = append(out, "again "+s.Again.String())
	}
	return strings.Join(out, ", ")
}

func TestPlan(t *testing.T) {
	for name, row := range map[string]struct {
		pool  Pool
		names Names
		want  string
	}{
		"nothing was built":                    {Pool{Name: "worker"}, Names{}, ""},
		"as many as are kept":                  {pool("abc"), Names{}, ""},
		"one more: marked first":               {pool("abcd"), Names{}, "mark a, again 10m0s"},
		"marked a moment ago":                  {pool("abcd", marked(short, "a")), Names{}, "again 9m0s"},
		"S31: marked long ago":                 {pool("abcd", marked(long, "a")), Names{}, "delete a"},
		"marked just as long ago":              {pool("abcd", marked(now.Add(-policy.Grace), "a")), Names{}, "delete a"},
		"the newest are never among them":      {pool("abcdef", marked(long, "abcdef")), Names{}, "unmark f, unmark e, unmark d, delete c, delete b, delete a"},
		"order of records does not matter":     {pool("abcd", func(p *Pool) { slices.Reverse(p.Records) }), Names{}, "mark a, again 10m0s"},
		"S31: a node or a pool names it":       {pool("abcd", marked(long, "a")), named(imageOf("a")), "unmark a, named a, again 1h0m0s"},
		"named under another repository":       {pool("abcd"), named("mirror.example.com/x@sha256:a"), "named a, again 1h0m0s"},
		"named by its tag":                     {pool("abcd"), named(repository + ":" + names.Tag(config("a"))), "named a, again 1h0m0s"},
		"another is named":                     {pool("abcd"), named(imageOf("b"), repository+":x", ""), "mark a, again 10m0s"},
		"another pool's result":                {pool("abcd"), resultOf("infra", "a"), "named a, again 1h0m0s"},
		"what was its own result a moment ago": {pool("abcd"), resultOf("worker", "a"), "mark a, again 10m0s"},
		"a newer record of another pool":       {pool("abcd"), heldElsewhere("infra", now, "a"), "named a, again 1h0m0s"},
		"an older record of another pool":      {pool("abcd"), heldElsewhere("infra", now.AddDate(-1, 0, 0), "a"), "mark a, again 10m0s"},
		"as old, of a pool that comes on":      {pool("abcd"), heldElsewhere("zone", pool("abcd").Records[0].Finished, "a"), "named a, again 1h0m0s"},
		"as old, of a pool before it":          {pool("abcd"), heldElsewhere("infra", pool("abcd").Records[0].Finished, "a"), "mark a, again 10m0s"},
		"a record of its own pool":             {pool("abcd"), heldElsewhere("worker", now, "a"), "mark a, again 10m0s"},

		"rolled back to a kept image": {pool("abcd", target("b"), marked(long, "ab")), Names{}, "unmark b"},
		"rolled back to a marked one": {pool("abcd", target("a"), marked(long, "a")), Names{}, "unmark a"},
		"settled on the old one": {
			pool("abcd", target("a"), func(p *Pool) { p.NewestImage, p.ImageConfig = imageOf("a"), config("a") }), Names{}, "",
		},
		"settled on one that another record holds too": {
			pool("abcde", target("a"), supersedes("b", long, "a"), func(p *Pool) { p.NewestImage, p.ImageConfig = imageOf("a"), config("a") }), Names{}, "unmark a, mark b, again 10m0s",
		},
		"another config is on its way": {pool("abcd", target("new"), marked(long, "a")), Names{}, ""},
		"not annotated yet":            {pool("abcd", func(p *Pool) { p.NewestImage = imageOf("c") }), Names{}, ""},
		"its build is running":         {pool("abcd", func(p *Pool) { p.Built = false }), Names{}, ""},
		"its last build failed":        {pool("abcd", func(p *Pool) { record(p, "d").Outcome = osbuild.Failed }), Names{}, ""},

		"rebuilt in its place":                    {pool("abc", supersedes("c", time.Time{}, "x")), Names{}, "mark a, again 10m0s"},
		"a superseded image goes":                 {pool("abc", supersedes("a", long, "x")), Names{}, "delete x"},
		"of the target too":                       {pool("c", supersedes("c", long, "x", "y", "z")), Names{}, "unmark x, unmark y, delete z"},
		"but not while it is built again":         {pool("c", supersedes("c", long, "x", "y", "z"), func(p *Pool) { p.Built = false }), Names{}, "unmark x, unmark y, unmark z"},
		"a record's own image goes last":          {pool("abcd", supersedes("a", short, "x"), marked(long, "a")), Names{}, "again 9m0s"},
		"it waits for one that is named":          {pool("abcd", supersedes("a", time.Time{}, "x"), marked(long, "a")), named(imageOf("x")), "named x, again 1h0m0s"},
		"a tag names the newest build only":       {pool("bcd", supersedes("b", time.Time{}, "x")), named(repository + ":" + names.Tag(config("b"))), "mark x, again 10m0s"},
		"the same image in two records":           {pool("abcd", supersedes("d", time.Time{}, "a")), Names{}, "mark b, again 10m0s"},
		"two records of it, both old: each goes":  {pool("abcde", supersedes("b", time.Time{}, "a")), Names{}, "mark b, mark a, mark a, again 10m0s"},
		"steps' result of it alone":               {pool("abcd", marked(long, "a"), madeOf("s", "a")), Names{}, "delete a with s"},
		"of a later image, too":                   {pool("abcd", marked(long, "a"), madeOf("s", "ad")), Names{}, "delete a"},
		"of another pool's image, too":            {pool("abcd", marked(long, "a"), madeOf("s", "a")), stepsElsewhere("infra", "s"), "delete a"},
		"as it was read before":                   {pool("abcd", marked(long, "a"), madeOf("s", "a")), stepsElsewhere("worker", "s"), "delete a with s"},
		"that something names":                    {pool("abcd", marked(long, "a"), madeOf("s", "a")), named(imageOf("s")), "delete a"},
		"left alone for a while":                  {pool("abcd", func(p *Pool) { p.NotBefore = map[string]time.Time{imageOf("a"): now.Add(time.Hour)} }), Names{}, "again 1h0m0s"},
		"left alone when it is to be deleted":     {pool("abcd", marked(long, "a"), func(p *Pool) { p.NotBefore = map[string]time.Time{imageOf("a"): now.Add(time.Hour)} }), Names{}, "again 1h0m0s"},
		"left alone long enough":                  {pool("abcd", func(p *Pool) { p.NotBefore = map[string]time.Time{imageOf("a"): now} }), Names{}, "mark a, again 10m0s"},
		"an old record of a failure":              {pool("abcd", func(p *Pool) { record(p, "a").Image = "" }), Names{}, "drop a"},
		"a failure among the newest":              {pool("abcd", func(p *Pool) { record(p, "b").Image = "" }), Names{}, ""},
		"a record that cannot be read is old":     {pool("abc", func(p *Pool) { p.Records = append(p.Records, osbuild.Record{RenderedConfig: config("broken")}) }), Names{}, "drop broken"},
		"a record of the target is never dropped": {pool("abcd", func(p *Pool) { p.Records = append(p.Records, osbuild.Record{RenderedConfig: config("d")}) }), Names{}, "mark a, again 10m0s"},
		"a failure that superseded an image":      {pool("abcd", supersedes("a", long, "x"), func(p *Pool) { record(p, "a").Image = "" }), Names{}, "delete x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(Plan(row.pool, policy, row.names, now)); got != row.want {
				t.Errorf("plan %q, want %q", got, row.want)
			}
		})
	}
}

func TestMarkAndForget(t *testing.T) {
	p := pool("a", supersedes("a", time.Time{}, "x", "y"))
	before := p.Records[0]
	var images []Image
	for _, i := range [][2]string{{"a", "a"}, {"a", "y"}, {"other", "x"}, {"a", "nowhere"}} {
		images = append(images, Image{RenderedConfig: config(i[0]), Pullspec: imageOf(i[1])})
	}
	r := Mark(before, images, now)
	if !r.UnneededSince.Equal(now) || !r.Superseded[0].UnneededSince.IsZero() || !r.Superseded[1].UnneededSince.Equal(now) {
		t.Errorf("marked: %v, %+v", r.UnneededSince, r.Superseded)
	}
	if !before.Superseded[1].UnneededSince.IsZero() {
		t.Error("the record that was read is changed")
	}
	if r = Mark(r, images, time.Time{}); !r.UnneededSince.IsZero() || !r.Superseded[1].UnneededSince.IsZero() {
		t.Errorf("unmarked: %v, %+v", r.UnneededSince, r.Superseded)
	}
	r, stays := Forget(r, imageOf("x"))
	if !stays || len(r.Superseded) != 1 || r.Superseded[0].Image != imageOf("y") || r.Image != imageOf("a") {
		t.Errorf("without x: %v, %+v", stays, r)
	}
	if len(before.Superseded) != 2 || before.Superseded[0].Image != imageOf("x") {
		t.Error("the record that was read is changed")
	}
	if _, stays = Forget(r, imageOf("a")); stays {
		t.Error("the record stays without its image")
	}
}

// TestMembersGoWithTheirIndex: those that no other image needs.
func TestMembersGoWithTheirIndex(t *testing.T) {
	members := func(letter string, digests ...string) func(*Pool) {
		return func(p *Pool) {
			for i := range p.Records {
				if p.Records[i].Image == imageOf(letter) {
					p.Records[i].Members = digests
				}
				for n := range p.Records[i].Superseded {
					if s := &p.Records[i].Superseded[n]; s.Image == imageOf(letter) {
						s.Members = digests
					}
				}
			}
		}
	}
	for name, row := range map[string]struct {
		pool  Pool
		names Names
		want  []string // nil: nothing goes
	}{
		"its own":                  {pool("abcd", marked(long, "a"), members("a", "sha256:1", "sha256:2")), Names{}, []string{"sha256:1", "sha256:2"}},
		"none":                     {pool("abcd", marked(long, "a")), Names{}, []string{}},
		"one is the newer image's": {pool("abc", supersedes("a", long, "x"), members("x", "sha256:1", "sha256:2"), members("a", "sha256:1", "sha256:3")), Names{}, []string{"sha256:2"}},
		"one is an older image's":  {pool("abc", supersedes("a", long, "x", "y"), members("x", "sha256:1"), members("y", "sha256:1")), named(imageOf("y")), []string{}},
		"one is an image by itself": {
			pool("abcd", marked(long, "a"), members("a", "sha256:1", "sha256:d")), Names{}, []string{"sha256:1"},
		},
		"a node runs one of them": {pool("abcd", marked(long, "a"), members("a", "sha256:1", "sha256:2")), named(repository + "@sha256:2"), nil},
	} {
		s := Plan(row.pool, policy, row.names, now)
		if (row.want == nil) != (len(s.Delete) == 0) {
			t.Errorf("%s: %+v goes", name, s.Delete)
			continue
		}
		if row.want != nil && !slices.Equal(s.Delete[0].Members, row.want) {
			t.Errorf("%s: %v go, want %v", name, s.Delete[0].Members, row.want)
		}
	}
}

// TestMostImagesGoInTheEnd carries plans out, look after look, until nothing
// is left to do: the newest stay, all others go, each after its own grace.
func TestMostImagesGoInTheEnd(t *testing.T) {
	p := pool("abcdef", supersedes("b", time.Time{}, "p", "q"), supersedes("f", time.Time{}, "x"))
	at := now
	gone := map[string]time.Time{}
	for range 100 {
		s := Plan(p, policy, Names{}, at)
		if len(s.Unmark)+len(s.Mark)+len(s.Delete)+len(s.Drop) == 0 {
			if s.Again == 0 {
				break
			}
			at = at.Add(s.Again)
			continue
		}
		apply(&p, s, at, func(pullspec string) { gone[pullspec] = at })
	}
	var left []string
	for _, e := range p.entries() {
		left = append(left, strings.TrimPrefix(e.Pullspec, imageOf("")))
	}
	if got := strings.Join(left, " "); got != "f x e" {
		t.Errorf("left: %s", got)
	}
	for pullspec, when := range gone {
		if when.Before(now.Add(policy.Grace)) {
			t.Errorf("%s was deleted %v after it was marked", pullspec, when.Sub(now))
		}
	}
	if len(gone) != 6 {
		t.Errorf("%d images were deleted: %v", len(gone), gone)
	}
}

// apply carries out a plan on a pool's records, each deletion with success.
func apply(p *Pool, s Steps, at time.Time, gone func(string)) {
	var records []osbuild.Record
	for _, r := range p.Records {
		r, stays := Mark(Mark(r, s.Unmark, time.Time{}), s.Mark, at), !slices.Contains(s.Drop, r.RenderedConfig)
		for _, i := range s.Delete {
			if stays && i.RenderedConfig == r.RenderedConfig {
				r, stays = Forget(r, i.Pullspec)
				gone(i.Pullspec)
			}
		}
		if stays {
			records = append(records, r)
		}
	}
	p.Records = records
}

// FuzzPlan makes worlds of any bytes and holds every plan to what must never
// happen in any of them.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{1, 0, 255, 128, 64, 32, 16, 8, 4, 2, 1, 255, 255, 0, 0, 7, 77, 177})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, keep, n, naming := world(data)
		s := Plan(p, Policy{Keep: keep, Grace: policy.Grace}, n, now)
		check(t, p, keep, naming, s)
	})
}

// TestS31NothingNeededIsDeleted does the same for many worlds, always the same.
func TestS31NothingNeededIsDeleted(t *testing.T) {
	deletions := 0
	for i := range uint64(10_000) {
		data := sha512.Sum512(binary.LittleEndian.AppendUint64(nil, i))
		p, keep, n, naming := world(data[:])
		s := Plan(p, Policy{Keep: keep, Grace: policy.Grace}, n, now)
		check(t, p, keep, naming, s)
		deletions += len(s.Delete)
	}
	if deletions < 500 {
		t.Errorf("only %d images were deleted: the worlds are too tame", deletions)
	}
}

// world reads a pool, how many images to keep, and what is named from bytes.
func world(data []byte) (p Pool, keep int, n Names, naming map[string]bool) {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	letter := func() string { return string(rune('a' + next()%12)) }
	since := func() time.Time {
		return []time.Time{{}, {}, short, long, now.Add(-policy.Grace)}[next()%5]
	}
	keep = 1 + next()%4
	p = Pool{Name: "worker", Built: next()%4 > 0, NotBefore: map[string]time.Time{}}
	p.Target, p.ImageConfig, p.NewestImage = config(letter()), config(letter()), imageOf(letter())
	if next()%4 > 0 {
		p.ImageConfig = p.Target
	}
	seen := map[string]bool{}
	for range next() % 8 {
		r := osbuild.Record{RenderedConfig: config(letter()), Finished: now.Add(-time.Duration(next()) * time.Minute)}
		if seen[r.RenderedConfig] {
			continue
		}
		seen[r.RenderedConfig] = true
		if r.Outcome = osbuild.Failed; next()%4 > 0 {
			r.Outcome, r.Image, r.UnneededSince = osbuild.Succeeded, imageOf(letter()), since()
		}
		if r.RenderedConfig == p.Target && next()%2 > 0 {
			r.Image = p.NewestImage
		}
		held := map[string]bool{r.Image: true} // a record holds an image once
		for m := range next() % 4 {
			image := imageOf(letter())
			if !held[image] {
				r.Superseded = append(r.Superseded, osbuild.SupersededImage{
					Image: image, Finished: r.Finished.Add(-time.Duration(m+1) * time.Minute), UnneededSince: since(),
				})
			}
			held[image] = true
		}
		p.Records = append(p.Records, r)
	}
	naming = map[string]bool{}
	for range next() % 3 {
		image := imageOf(letter())
		n.Add(image)
		naming[image] = true
	}
	if next()%3 == 0 {
		p.NotBefore[imageOf(letter())] = now.Add(time.Minute)
	}
	return p, keep, n, naming
}

// check holds a plan to the rules of doc.go, found anew from the records.
func check(t *testing.T, p Pool, keep int, naming map[string]bool, s Steps) {
	t.Helper()
	newest := map[string]bool{}
	key := func(i Image) [2]string { return [2]string{i.RenderedConfig, i.Pullspec} }
	marks := map[[2]string]time.Time{}
	for _, e := range p.entries() {
		if len(newest) < keep {
			newest[e.Pullspec] = true
		}
		marks[key(e.Image)] = e.since
	}
	for what, images := range map[string][]Image{"marked": s.Mark, "deleted": s.Delete} {
		for _, i := range images {
			why := ""
			switch {
			case naming[i.Pullspec]:
				why = "something names it"
			case newest[i.Pullspec]:
				why = "it is one of the newest"
			case !p.Settled():
				why = "the pool is not settled"
			case i.Pullspec == p.NewestImage:
				why = "it is the pool's result"
			case now.Before(p.NotBefore[i.Pullspec]):
				why = "it is to be left alone"
			case what == "deleted" && (marks[key(i)].IsZero() || now.Before(marks[key(i)].Add(policy.Grace))):
				why = fmt.Sprintf("it was marked at %v", marks[key(i)])
			}
			if why != "" {
				t.Errorf("%s of %s is %s, but %s: %+v", i.Pullspec, i.RenderedConfig, what, why, p)
			}
		}
	}
	for _, c := range s.Drop {
		for _, r := range p.Records {
			if r.RenderedConfig == c && len(entriesOf(r)) > 0 {
				t.Errorf("the record of %s is dropped with its images", c)
			}
		}
	}
	if s.Again < 0 {
		t.Errorf("looks again after %v", s.Again)
	}
}
