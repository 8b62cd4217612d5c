package osbuild

import (
	"cmp"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// Observed is what exists.
type Observed struct {
	// NewestImage and ImageConfig are the pool's result annotations.
	NewestImage string
	ImageConfig string
	// Conditions are the pool's, ours and those of others.
	Conditions []mcfgv1.MachineConfigPoolCondition
	// Builds are all that exist for a pool of this name.
	Builds []backend.Observation
	// Records of the pool, in any order.
	Records []Record
	// Registry is the answer to Question; nil while there is none.
	Registry *Confirmation
	Slots    Slots
}

// Confirmation is the registry's answer about one image.
type Confirmation struct {
	Image string
	Found bool
	// Digest and InputsHash of the image, when it was found.
	Digest     string
	InputsHash string
	// BaseName and BaseDigest are what the image says that it was built on: a pullspec,
	// and what that named or, of an index, the image for one platform.
	BaseName, BaseDigest string
	// StepsDigest is of what the steps left that it was made of; empty for none.
	StepsDigest string
	// Members are the digests of an index's images.
	Members []string
	// Err is set when the registry gave no answer to that question; Temporary
	// when it may give one later.
	Err       error
	Temporary bool
}

// holds is true when the registry has the image and it is one of the desired
// inputs. Its label says nothing of a rebuild, but did in earlier versions.
func (c *Confirmation) holds(d Desired) bool {
	return c.Err == nil && c.Found && (c.InputsHash == d.Request.ImageLabels[api.ImageLabelInputsHash] || c.InputsHash == d.Request.ID)
}

// answers is true when, besides, it is known to be no older than the request
// for a rebuild.
func (c *Confirmation) answers(d Desired) bool {
	return c.holds(d) && c.InputsHash == d.Request.ID
}

// record returns the pool's record of a rendered config, for these inputs only.
func (o Observed) record(d Desired) *Record {
	for i := range o.Records {
		r := &o.Records[i]
		if r.RenderedConfig == d.Request.RenderedConfig && r.InputsHash == d.Request.ID && r.Pool.UID == d.Request.Pool.UID {
			return r
		}
	}
	return nil
}

// newest returns the record that finished last.
func (o Observed) newest() *Record { return Newest(o.Records) }

// Newest returns the record of a pool that finished last; nil when there is none.
// Of two at once it is always the same one.
func Newest(records []Record) *Record {
	var newest *Record
	for i := range records {
		r := &records[i]
		if newest == nil || cmp.Or(r.Finished.Compare(newest.Finished), cmp.Compare(r.RenderedConfig, newest.RenderedConfig)) > 0 {
			newest = r
		}
	}
	return newest
}

// current splits the builds into the one of the desired inputs, if it is there
// and staying, and the stale rest.
func (o Observed) current(d Desired) (current *backend.Observation, stale []backend.Observation) {
	for i := range o.Builds {
		b := &o.Builds[i]
		switch {
		case !b.Deleting && d.wants(*b):
			current = b
		case !d.spares(*b):
			stale = append(stale, *b)
		}
	}
	return current, stale
}

// spares is true for a build of the target config while nobody can say which
// inputs are desired: what ran goes on, and a failed pod keeps its log.
func (d Desired) spares(b backend.Observation) bool {
	return (d.Blocked != nil || d.Waiting != nil) && b.RenderedConfig == d.TargetConfig && b.Pool.UID == d.Pool.UID
}

// wants is true for a build of the desired inputs.
func (d Desired) wants(b backend.Observation) bool {
	return d.Request != nil && b.ID == d.Request.ID && d.builtBy(b) &&
		b.RenderedConfig == d.Request.RenderedConfig && b.Pool.UID == d.Request.Pool.UID
}

// replaced is true for a live run that newer inputs end, or have ended.
func (d Desired) replaced(b backend.Observation) bool {
	return d.Request != nil && b.Phase.Active() && b.Pool.UID == d.Pool.UID && !d.wants(b) && !b.RunDeleting
}

// Backoff before try n+1, after n failed ones: doubling from 10 s to 10 min.
func Backoff(n int) time.Duration {
	const first, most = 10 * time.Second, 10 * time.Minute
	d := first
	for i := 1; i < n && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}
