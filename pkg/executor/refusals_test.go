package executor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
)

// TestNotCreated: what the API server says of a pod stands in the status, and it is
// written anew once something else is in the way.
func TestNotCreated(t *testing.T) {
	const forbidden = `pods "app-1-build" is forbidden: `
	quota := func(used string) string {
		return fmt.Sprintf(forbidden+`exceeded quota: few, requested: pods=1,cpu=2, used: %s, limited: pods=5,cpu=3`, used)
	}
	down := func(how string) string {
		return fmt.Sprintf(`Internal error occurred: failed calling webhook "pods.example.com": failed to call webhook: Post "https://pods.example.svc:443/?timeout=10s": %s`, how)
	}
	for name, row := range map[string]struct {
		before, now string
		tells       bool
	}{
		"at first":                   {"", quota("pods=5"), true},
		"again":                      {forbidden + "no", forbidden + "no", false},
		"a quota is used otherwise":  {quota("pods=5,cpu=1"), quota("pods=7,cpu=500m"), false},
		"a limit is another":         {forbidden + "maximum cpu usage per Container is 1, but limit is 4", forbidden + "maximum cpu usage per Container is 2, but limit is 4", true},
		"a webhook is down":          {quota("pods=5"), down("connection refused"), true},
		"it is down in another way":  {down("dial tcp 10.0.0.1:443: connect: connection refused"), down("context deadline exceeded"), false},
		"another webhook is down":    {down("EOF"), strings.Replace(down("EOF"), "pods.example.com", "pods2.example.com", 1), true},
		"a webhook tells the time":   {`admission webhook "w" denied the request: at 12:00:01`, `admission webhook "w" denied the request: at 12:00:02`, false},
		"a webhook minds other than": {`admission webhook "w" denied the request: no label`, `admission webhook "w" denied the request: no owner`, true},
		"a policy names the pod":     {forbidden + "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: 12-ab", forbidden + "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: 34-cd", false},
		"a connection breaks":        {"read tcp 10.0.0.1:34126->10.0.0.2:2379: connection reset", "read tcp 10.0.0.1:4126->[::1]:2379: connection reset", false},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := newBuild(), want{}
			if row.before != "" {
				b.Status.Phase, b.Status.Reason, b.Status.Message = "New", "CannotCreateBuildPod", "Failed creating build pod: "+row.before
			}
			if row.tells {
				w = want{phase: "New", reason: "CannotCreateBuildPod", message: "Failed creating build pod: " + row.now, event: "Warning FailedCreate: Error creating: " + row.now}
			}
			w.check(t, b, NotCreated(b, errors.New(row.now)))
		})
	}
	t.Run("nobody", func(t *testing.T) {
		b, text := newBuild(), forbidden+`error looking up service account team/builder: serviceaccount "builder" not found`
		want{
			phase: "New", reason: "CannotRetrieveServiceAccount", message: "Unable to look up the service account secrets for this build.", event: "Warning FailedCreate: Error creating: " + text,
		}.check(t, b, NotCreated(b, errors.New(text)))
	})
}

func TestRejected(t *testing.T) {
	b := newBuild(phase(buildv1.BuildPhaseNew))
	want{
		phase: "Failed", reason: "CannotCreateBuildPod", message: "Failed creating build pod: no such field",
		event: "Warning FailedCreate: Error creating: no such field" + failedEvent,
	}.check(t, b, Rejected(b, errors.New("no such field"), now))
}
