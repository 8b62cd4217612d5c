package buildspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxResultBytes is the most that the kubelet keeps of a termination message
// (Kubernetes API, Container.terminationMessagePath).
const MaxResultBytes = 4096

// Result is what os-image-builder reports of a step as its container's
// termination message.
type Result struct {
	// Succeeded is false for every failure; Reason and Message then say what failed.
	Succeeded bool `json:"succeeded"`
	// Digest of the pushed manifest or index (sha256:…), as the registry confirmed it.
	Digest string `json:"digest,omitempty"`
	// Member is the digest of the image for the run's own architecture, where there
	// are several.
	Member string `json:"member,omitempty"`
	// Members are the digests of all images of the index that Digest names, in the
	// order of the index. Only the run that pushed it knows them.
	Members []string `json:"members,omitempty"`
	// BaseDigest is what the base image's pullspec resolved to.
	BaseDigest string `json:"baseDigest,omitempty"`
	// StepsDigest is of the image that the steps of the custom Dockerfile left, where
	// that is kept for later builds.
	StepsDigest string `json:"stepsDigest,omitempty"`
	// Reason is a condition reason of pkg/api, such as PullFailed.
	Reason string `json:"reason,omitempty"`
	// Message is one sentence for the administrator.
	Message string `json:"message,omitempty"`
	// Step is the failing Dockerfile instruction, Line where it begins in the
	// custom Dockerfile (1-based; 0 when it is not the custom file's).
	Step string `json:"step,omitempty"`
	Line int    `json:"line,omitempty"`
	// ExitCode of the failing step's command.
	ExitCode int `json:"exitCode,omitempty"`
	// Log is the end of the step's output, oldest line first.
	Log []string `json:"log,omitempty"`
	// Timings are the parts of the work in the order they were done.
	Timings []Timing `json:"timings,omitempty"`
	// BytesPulled and BytesPushed count what moved over the network.
	BytesPulled int64 `json:"bytesPulled,omitempty"`
	BytesPushed int64 `json:"bytesPushed,omitempty"`
}

// Timing is how long one part of the work took.
type Timing struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// ErrNoResult is returned by ParseResult for a message that is no Result, as
// when the process was killed before it could write one.
var ErrNoResult = errors.New("the container reported no result")

// Encode returns the result as JSON of at most MaxResultBytes, leaving out the
// oldest log lines first and then the end of the texts when it would be longer.
func (r Result) Encode() []byte {
	for {
		data, err := json.Marshal(r)
		if err != nil {
			// Only strings and numbers are marshalled; floats are the one thing that can fail.
			r.Timings = nil
			continue
		}
		if len(data) <= MaxResultBytes {
			return data
		}
		switch {
		case len(r.Log) > 1:
			r.Log = r.Log[(len(r.Log)+1)/2:]
		case len(r.Log) == 1 && len(r.Log[0]) > 200:
			r.Log = []string{truncate(r.Log[0], len(r.Log[0])/2)}
		case len(r.Log) == 1:
			r.Log = nil
		case len(r.Timings) > 0:
			r.Timings = nil
		case len(r.Step) > 200:
			r.Step = truncate(r.Step, len(r.Step)/2)
		case r.Message != "":
			r.Message = truncate(r.Message, len(r.Message)/2)
		default:
			r = Result{Reason: truncate(r.Reason, 200)}
		}
	}
}

// ParseResult reads a termination message.
func ParseResult(message string) (Result, error) {
	var r Result
	if message == "" {
		return r, ErrNoResult
	}
	if err := json.Unmarshal([]byte(message), &r); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNoResult, err)
	}
	if !r.Succeeded && r.Reason == "" && r.Message == "" {
		return Result{}, fmt.Errorf("%w: it says neither success nor what failed", ErrNoResult)
	}
	return r, nil
}

// truncate cuts s to at most n bytes at a rune's edge.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
