package retention

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// Grace is how long after the first look that found an image unneeded a second
// one may delete it. Whoever is about to name an image has that long to do so.
const Grace = 10 * time.Minute

// LookAgain is how soon to look again at an image that only its names keep:
// not everything that names images is watched.
const LookAgain = time.Hour

// Policy is how much is kept.
type Policy struct {
	// Keep is how many of a pool's newest images are kept.
	Keep int
	// Grace is the time between the two looks.
	Grace time.Duration
}

// Pool is one opted-in pool with its images.
type Pool struct {
	Name string
	// Target is the rendered config that the pool targets.
	Target string
	// NewestImage and ImageConfig are the result annotations, Built is the
	// condition BuildSuccess.
	NewestImage string
	ImageConfig string
	Built       bool
	// Records of the pool, in any order. One that cannot be read has only its
	// rendered config.
	Records []osbuild.Record
	// NotBefore are images, as repository@digest, that are left alone until then.
	NotBefore map[string]time.Time
}

// Settled is true while the image of the target config is built, recorded and
// annotated: no build, confirmation or annotation is under way.
func (p Pool) Settled() bool {
	return p.Built && p.ImageConfig == p.Target && slices.ContainsFunc(p.Records, func(r osbuild.Record) bool {
		return r.RenderedConfig == p.Target && r.Outcome == osbuild.Succeeded && r.Image == p.NewestImage
	})
}

// Image is one that the record of a rendered config names.
type Image struct {
	RenderedConfig string
	// Pullspec is repository@digest.
	Pullspec string
	// Steps is repository@digest of what the steps of its custom Dockerfile left,
	// where that was kept. Of an image to delete it is set when it goes, too.
	Steps string
	// Members are digests in the same repository that nothing but this image needs:
	// the images of an index. They go with it.
	Members []string
}

// Repository is the pullspec without the digest.
func (i Image) Repository() string {
	repository, _, _ := strings.Cut(i.Pullspec, "@")
	return repository
}

// Steps are what to do next.
type Steps struct {
	// Unmark are images that are needed again.
	Unmark []Image
	// Mark are images that are found unneeded for the first time.
	Mark []Image
	// Delete are images whose time has come.
	Delete []Image
	// Named are old images that are kept only because something names them.
	Named []Image
	// Drop are rendered configs whose records name no image and are old.
	Drop []string
	// Again is when to look again although nothing changed; 0 for never.
	Again time.Duration
}

// Removes is true when the steps lead to something being gone. They are to be
// planned again from a live read first.
func (s Steps) Removes() bool { return len(s.Mark)+len(s.Delete)+len(s.Drop) > 0 }

// entry is an image as its record holds it.
type entry struct {
	Image
	finished time.Time
	// since is the mark; zero for none.
	since time.Time
	// own is the record's image, others are superseded. last is an own one with
	// others that have to go before it.
	own, last bool
}

// Plan says what to do next about a pool's images.
func Plan(p Pool, policy Policy, names Names, now time.Time) Steps {
	var s Steps
	entries, settled := p.entries(), p.Settled()
	kept := p.kept(entries, policy.Keep)
	for _, e := range entries {
		named := !kept[e.Pullspec] && names.hold(p.Name, e)
		if named {
			s.Named = append(s.Named, e.Image)
			s.look(LookAgain)
		}
		needed, marked := named || kept[e.Pullspec], !e.since.IsZero()
		switch {
		case needed && marked:
			s.Unmark = append(s.Unmark, e.Image)
		case needed || !settled:
		case now.Before(p.NotBefore[e.Pullspec]):
			s.look(p.NotBefore[e.Pullspec].Sub(now))
		case !marked:
			s.Mark = append(s.Mark, e.Image)
			s.look(policy.Grace)
		case now.Before(e.since.Add(policy.Grace)):
			s.look(e.since.Add(policy.Grace).Sub(now))
		case !e.last:
			s.Delete = append(s.Delete, names.last(p.Name, e.alone(entries), entries))
		}
	}
	if settled {
		s.Drop = p.empty(policy.Keep)
	}
	return s
}

// kept are the images that the pool itself needs: the newest ones, its result,
// and what the config that it targets has or may get.
func (p Pool) kept(entries []entry, keep int) map[string]bool {
	kept := map[string]bool{}
	for _, e := range entries {
		if len(kept) < keep {
			kept[e.Pullspec] = true
		}
	}
	kept[p.NewestImage] = true
	for _, e := range entries {
		if e.RenderedConfig == p.Target && (e.own || !p.Settled()) {
			kept[e.Pullspec] = true
		}
	}
	return kept
}

func (s *Steps) look(after time.Duration) {
	if s.Again == 0 || after < s.Again {
		s.Again = after
	}
}

// entries are the images that the pool's records hold, the newest first.
func (p Pool) entries() []entry {
	var all []entry
	for _, r := range p.Records {
		all = append(all, entriesOf(r)...)
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(b.finished.Compare(a.finished), cmp.Compare(a.Pullspec, b.Pullspec))
	})
	return all
}

func entriesOf(r osbuild.Record) []entry {
	var all []entry
	if r.Image != "" {
		all = append(all, entry{
			Image: Image{r.RenderedConfig, r.Image, r.StepsImage, r.Members}, finished: r.Finished, since: r.UnneededSince, own: true, last: len(r.Superseded) > 0,
		})
	}
	for _, s := range r.Superseded {
		all = append(all, entry{Image: Image{r.RenderedConfig, s.Image, s.StepsImage, s.Members}, finished: s.Finished, since: s.UnneededSince})
	}
	return all
}

// alone is the image with those of its members that no other image has, or is:
// a rebuild for two architectures may have changed one.
func (e entry) alone(all []entry) Image {
	image := e.Image
	image.Members = slices.DeleteFunc(slices.Clone(image.Members), func(digest string) bool {
		return slices.ContainsFunc(all, func(other entry) bool {
			return other.Pullspec != e.Pullspec && (slices.Contains(other.Members, digest) || digestOf(other.Pullspec) == digest)
		})
	})
	return image
}

// empty are the configs of records that name no image, beyond the newest records.
func (p Pool) empty(keep int) []string {
	records := slices.Clone(p.Records)
	slices.SortStableFunc(records, func(a, b osbuild.Record) int {
		return cmp.Or(b.Finished.Compare(a.Finished), cmp.Compare(a.RenderedConfig, b.RenderedConfig))
	})
	var configs []string
	for n, r := range records {
		if n >= keep && r.RenderedConfig != p.Target && len(entriesOf(r)) == 0 {
			configs = append(configs, r.RenderedConfig)
		}
	}
	return configs
}

// Mark sets the marks of a record's images to a time, or removes them by the
// zero time. Images that the record does not name are passed over.
func Mark(r osbuild.Record, images []Image, since time.Time) osbuild.Record {
	r.Superseded = slices.Clone(r.Superseded)
	for _, i := range images {
		if i.RenderedConfig != r.RenderedConfig {
			continue
		}
		if i.Pullspec == r.Image {
			r.UnneededSince = since
		}
		for n := range r.Superseded {
			if r.Superseded[n].Image == i.Pullspec {
				r.Superseded[n].UnneededSince = since
			}
		}
	}
	return r
}

// Forget takes a deleted image out of its record; false when the record goes
// with it.
func Forget(r osbuild.Record, pullspec string) (osbuild.Record, bool) {
	r.Superseded = slices.DeleteFunc(slices.Clone(r.Superseded), func(s osbuild.SupersededImage) bool { return s.Image == pullspec })
	return r, r.Image != pullspec
}
