package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// auditPolicy makes the API server keep a line for each request of the
// product's ServiceAccounts, of which one works in a world, and none of anybody else's.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + userPrefix + controllerName + `", "` + userPrefix + executorName + `"]
- level: None
`

// userPrefix begins the names of the product's users.
const userPrefix = "system:serviceaccount:" + api.DefaultNamespace + ":"

// audit reads the API server's own log of the controller's requests.
type audit struct {
	path   string
	offset int64
}

// newAudit writes the policy and returns the API server's flags for it.
func newAudit(directory string) (*audit, []string, error) {
	policy := filepath.Join(directory, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, nil, err
	}
	a := &audit{path: filepath.Join(directory, "audit.log")}
	// Without a size the log would begin anew after 100 MB.
	return a, []string{"--audit-policy-file", policy, "--audit-log-path", a.path, "--audit-log-maxsize", "0"}, nil
}

// request is a line of the log, as far as it is of interest.
type request struct {
	Stage     string
	Verb      string
	ObjectRef struct{ Resource, Subresource, Name string }
	// StageTimestamp is when the answer was complete, or begun for a watch.
	StageTimestamp metav1.MicroTime
	ResponseStatus struct{ Code int32 }
}

// watch is true for a request that goes on.
func (r request) watch() bool { return r.Verb == "watch" }

// lease is true for a request of the leader election.
func (r request) lease() bool { return r.ObjectRef.Resource == "leases" }

func (r request) event() bool { return r.ObjectRef.Resource == "events" }

func (r request) writes() bool {
	switch r.Verb {
	case "get", "list", "watch":
		return false
	default:
		return true
	}
}

func (r request) String() string {
	what := r.Verb + " " + r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		what += "/" + r.ObjectRef.Subresource
	}
	if r.ResponseStatus.Code >= http.StatusBadRequest {
		what += fmt.Sprintf(" (%d)", r.ResponseStatus.Code)
	}
	return what
}

// take returns the requests since the last call. The log has each once it is
// answered.
func (a *audit) take() (requests, error) {
	file, err := os.Open(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	var all requests
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil // what there is of a last line is read the next time
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		a.offset += int64(len(line))
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		// A watch counts when it begins.
		if !r.watch() || r.Stage == "ResponseStarted" {
			all = append(all, r)
		}
	}
}

// requests of the controller, lease renewals included.
type requests []request

// count counts those that a condition holds for.
func (rs requests) count(holds func(request) bool) float64 {
	n := 0
	for _, r := range rs {
		if holds(r) {
			n++
		}
	}
	return float64(n)
}

// objectWrites are writes that are neither events nor of the leader election.
func (r request) objectWrite() bool { return r.writes() && !r.event() && !r.lease() }

// read is true for a get or a list.
func (r request) read() bool { return !r.writes() && !r.watch() && !r.lease() }

// work is true for all but watches and the leader election.
func (r request) work() bool { return !r.watch() && !r.lease() }

// kinds counts requests by what they do.
func (rs requests) kinds() map[string]int {
	counts := map[string]int{}
	for _, r := range rs {
		counts[r.String()]++
	}
	return counts
}

// last is when the last request was answered that a condition holds for.
func (rs requests) last(holds func(request) bool) time.Time {
	var last time.Time
	for _, r := range rs {
		if holds(r) && r.StageTimestamp.After(last) {
			last = r.StageTimestamp.Time
		}
	}
	return last
}
