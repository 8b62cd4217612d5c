package metrics

import "github.com/prometheus/client_golang/prometheus"

// Deletion is how the deletion of an image from its registry ended.
type Deletion string

// Ends of a deletion.
const (
	Deleted Deletion = "deleted"
	// AlreadyGone: somebody else had deleted the image.
	AlreadyGone Deletion = "gone"
	// Forbidden: the registry deletes nothing, or not for this login.
	Forbidden Deletion = "forbidden"
	// NotDeleted: it is tried again.
	NotDeleted Deletion = "failed"
)

// Images counts what became of old images.
type Images struct{ deletions *prometheus.CounterVec }

// NewImages makes the metrics and registers them.
func NewImages(r prometheus.Registerer) *Images {
	i := &Images{deletions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ocl_image_deletions_total", Help: "Requests to delete an old image from its registry, by how they ended.",
	}, []string{"state"})}
	for _, end := range []Deletion{Deleted, AlreadyGone, Forbidden, NotDeleted} {
		i.deletions.WithLabelValues(string(end))
	}
	r.MustRegister(i.deletions)
	return i
}

// Ended takes note of a deletion that ended.
func (i *Images) Ended(d Deletion) { i.deletions.WithLabelValues(string(d)).Inc() }
