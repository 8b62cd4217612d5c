package buildreport

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	buildv1 "github.com/openshift/api/build/v1"
)

// MaxBytes is the most that the kubelet keeps of a termination message
// (Kubernetes API, Container.terminationMessagePath).
const MaxBytes = 4096

// Report is the termination message of one container.
type Report struct {
	// Succeeded is false for every failure; Reason and Message then say what failed.
	Succeeded bool `json:"succeeded"`
	// Reason is one of the API's, such as DockerBuildFailed; Message is one sentence
	// for the Build's author.
	Reason  buildv1.StatusReason `json:"reason,omitempty"`
	Message string               `json:"message,omitempty"`
	// Log is the end of the container's output, oldest line first, for
	// status.logSnippet.
	Log []string `json:"log,omitempty"`
	// Digest of the pushed manifest (sha256:…), as the registry confirmed it. Only
	// the container that pushes knows it.
	Digest string `json:"digest,omitempty"`
	// Revision is the commit that was built, where the source is a git repository.
	Revision *buildv1.SourceRevision `json:"revision,omitempty"`
	// Stages are the parts of the work in the order they were done.
	Stages []buildv1.StageInfo `json:"stages,omitempty"`
}

// ErrNone is wrapped by the errors of Parse.
var ErrNone = errors.New("the container reported nothing")

// Encode returns the report as JSON of at most MaxBytes, leaving out what is least
// needed when it would be longer: the oldest lines of the log, the stages, the
// texts of the commit, and then the end of the message.
func (r Report) Encode() []byte {
	for {
		data, err := json.Marshal(r)
		if err != nil {
			// Strings, numbers and times of metav1 can all be marshalled.
			return fmt.Appendf(nil, `{"message":%q}`, err.Error())
		}
		if len(data) <= MaxBytes {
			return data
		}
		switch {
		case len(r.Log) > 1:
			r.Log = r.Log[(len(r.Log)+1)/2:]
		case len(r.Log) == 1:
			r.Log = shorter(r.Log[0])
		case len(r.Stages) > 0:
			r.Stages = nil
		case r.Revision != nil:
			r.Revision = shortRevision(r.Revision)
		case r.Message != "":
			r.Message = truncate(r.Message, len(r.Message)/2)
		default:
			r = Report{Reason: buildv1.StatusReason(truncate(string(r.Reason), 100))}
		}
	}
}

func shorter(line string) []string {
	if len(line) <= 200 {
		return nil
	}
	return []string{truncate(line, len(line)/2)}
}

// shortRevision keeps the commit alone; called again, nothing.
func shortRevision(r *buildv1.SourceRevision) *buildv1.SourceRevision {
	if r.Git == nil || (*r.Git == buildv1.GitSourceRevision{Commit: r.Git.Commit}) {
		return nil
	}
	return &buildv1.SourceRevision{Type: r.Type, Git: &buildv1.GitSourceRevision{Commit: r.Git.Commit}}
}

// Parse reads a termination message.
func Parse(message string) (Report, error) {
	var r Report
	if message == "" {
		return r, ErrNone
	}
	if err := json.Unmarshal([]byte(message), &r); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if !r.Succeeded && r.Reason == "" && r.Message == "" {
		return Report{}, fmt.Errorf("%w: it says neither success nor what failed", ErrNone)
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
