package osbuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// recordVersion of the JSON form; a reader refuses a newer one.
const recordVersion = 1

// Outcome is how the tries of some inputs stand.
type Outcome string

// Outcomes.
const (
	Succeeded Outcome = "Succeeded"
	// Retrying: a try failed or was interrupted, another follows.
	Retrying Outcome = "Retrying"
	// Failed: no try is left.
	Failed Outcome = "Failed"
)

// Record is what is kept of the builds of one rendered config after their
// objects are gone. It belongs to one inputs hash; a build of other inputs of
// the same rendered config replaces it.
type Record struct {
	Version        int            `json:"version"`
	Pool           buildspec.Pool `json:"pool"`
	RenderedConfig string         `json:"renderedConfig"`
	InputsHash     string         `json:"inputsHash"`
	Inputs         names.Inputs   `json:"inputs"`
	Config         RenderedConfig `json:"config,omitzero"`
	RebuildToken   string         `json:"rebuildToken,omitempty"`
	// RebuildRequest is what the pool's annotation asked for when this was written: this
	// build answers it, or an earlier one did. Without it, RebuildToken is.
	RebuildRequest string  `json:"rebuildRequest,omitempty"`
	Outcome        Outcome `json:"outcome"`
	// Attempts that failed or succeeded; interruptions are counted apart.
	Attempts      int `json:"attempts"`
	Interruptions int `json:"interruptions,omitempty"`
	// LastRun is the UID of the run that the outcome was taken from.
	LastRun types.UID `json:"lastRun"`
	// Started and Finished are the last run's own times.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// RetryAt is when the next try may start, while Retrying.
	RetryAt time.Time `json:"retryAt,omitzero"`
	// Image is repository@digest, once Succeeded.
	Image string `json:"image,omitempty"`
	// Members are the digests of the images that this build pushed for single
	// architectures: those of the index that Image names, and those of earlier tries.
	Members []string `json:"members,omitempty"`
	// UnneededSince is when the image was first found to be needed by nobody;
	// it is set while it may be deleted from the registry at any moment.
	UnneededSince time.Time `json:"unneededSince,omitzero"`
	// Superseded are earlier images of the rendered config, newest first.
	Superseded []SupersededImage `json:"superseded,omitempty"`
	BaseDigest string            `json:"baseDigest,omitempty"`
	// StepsImage is repository@digest of what the steps of the custom Dockerfile
	// left, where that is kept for later builds.
	StepsImage string   `json:"stepsImage,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Message    string   `json:"message,omitempty"`
	Object     string   `json:"object,omitempty"`
	Changes    []string `json:"changes,omitempty"`
	Log        []string `json:"log,omitempty"`
	// Timings, BytesPulled and BytesPushed are the builder's own figures.
	Timings     []buildspec.Timing `json:"timings,omitempty"`
	BytesPulled int64              `json:"bytesPulled,omitempty"`
	BytesPushed int64              `json:"bytesPushed,omitempty"`
}

// ErrRecord is wrapped by every error of ParseRecord.
var ErrRecord = errors.New("unreadable build record")

// Encode returns the record's JSON.
func (r Record) Encode() ([]byte, error) {
	r.Version = recordVersion
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding build record: %w", err)
	}
	return data, nil
}

// ParseRecord reads what Encode wrote.
func ParseRecord(data []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Version < 1 || r.Version > recordVersion {
		return Record{}, fmt.Errorf("%w: version %d, not 1 to %d", ErrRecord, r.Version, recordVersion)
	}
	return r, nil
}
