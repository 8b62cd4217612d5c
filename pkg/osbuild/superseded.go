package osbuild

import (
	"slices"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// maxSuperseded bounds what a record remembers; the images beyond it stay in
// the registry. It is reached only where the registry lets nothing be deleted
// for as many builds of one rendered config.
const maxSuperseded = 50

// SupersededImage is one that a later build of the same rendered config replaced.
type SupersededImage struct {
	// Image is repository@digest.
	Image string `json:"image"`
	// InputsHash and Finished are those of the build that made it.
	InputsHash string    `json:"inputsHash"`
	Finished   time.Time `json:"finished"`
	// ImageHash tells what the image was made of; InputsHash also which rebuild
	// asked for it. Records of earlier versions have none.
	ImageHash string `json:"imageHash,omitempty"`
	// StepsImage, Members and UnneededSince are as in Record.
	StepsImage    string    `json:"stepsImage,omitempty"`
	Members       []string  `json:"members,omitempty"`
	UnneededSince time.Time `json:"unneededSince,omitzero"`
}

// supersede takes over the images that the record in the place of r names. One
// of the same inputs is not among them: they are built again only when the
// registry no longer has it.
func supersede(r Record, o Observed) Record {
	for _, old := range o.Records {
		if old.RenderedConfig != r.RenderedConfig {
			continue
		}
		if old.Image != "" && old.InputsHash != r.InputsHash {
			r.Superseded = append(r.Superseded, SupersededImage{
				Image: old.Image, InputsHash: old.InputsHash, ImageHash: names.ImageHash(old.Inputs),
				Finished: old.Finished, StepsImage: old.StepsImage, Members: old.Members, UnneededSince: old.UnneededSince,
			})
		}
		r.Superseded = append(r.Superseded, old.Superseded...)
	}
	r.Superseded = slices.DeleteFunc(r.Superseded, func(s SupersededImage) bool { return s.Image == r.Image })
	r.Superseded = r.Superseded[:min(len(r.Superseded), maxSuperseded)]
	return r
}

// reclaims is true while an image that the desired inputs made before, and
// could make again to the byte, is marked for deletion.
func (o Observed) reclaims(d Desired) bool {
	made := names.ImageHash(d.Fingerprint)
	return slices.ContainsFunc(o.Records, func(r Record) bool {
		if r.RenderedConfig != d.Request.RenderedConfig {
			return false
		}
		rebuilds := r.InputsHash != d.Request.ID && names.ImageHash(r.Inputs) == made
		return rebuilds && !r.UnneededSince.IsZero() || slices.ContainsFunc(r.Superseded, func(s SupersededImage) bool {
			return (s.InputsHash == d.Request.ID || s.InputsHash == made || s.ImageHash == made) && !s.UnneededSince.IsZero()
		})
	})
}
