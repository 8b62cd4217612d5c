package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// op is what happens to a pool.
type op string

// What users do, and what the world does to a pool's builds.
const (
	opCreate     op = "create"       // the pool, also again; arg "in" opts in
	opDelete     op = "delete"       // the pool
	opLabel      op = "opt in"       //
	opUnlabel    op = "opt out"      //
	opTarget     op = "target"       // arg: config a, b or c
	opDockerfile op = "Dockerfile"   // arg: its steps; "" for none
	opRebuild    op = "rebuild"      // arg: token; "" for none
	opTouch      op = "touch"        // somebody else writes the pool
	opEnd        op = "pod ends"     // arg: kubelet.Outcome
	opDeletePod  op = "run deleted"  //
	opForcePod   op = "run forced"   // a pod deleted without grace, a Build cancelled
	opDeleteMap  op = "map deleted"  // arg: mc, dockerfile or digest
	opImageGone  op = "image gone"   // arg: config a, b or c
	opSettle     op = "wait for end" // of a build, but not for ever
)

// moment is something in a pool's life that a step can wait for.
type moment string

// Moments.
const (
	whenRunning moment = "when a pod runs"
	whenDone    moment = "when all is as wanted"
	whenSettled moment = "when a build is over"
)

// step is one of them. It happens at its moment, if it has one; then when the
// controller makes its n-th request about the pool, or is not interested in it:
// just before that request is sent, or, when it is loose, some time after.
type step struct {
	when    moment
	request int
	loose   bool
	wait    time.Duration
	op      op
	arg     string
}

func (s step) String() string {
	when := string(s.when)
	if s.loose {
		when += fmt.Sprintf(" %v after", s.wait)
	}
	if s.request > 0 {
		when += fmt.Sprintf(" before request %d", s.request)
	}
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s", when, s.op, strings.ReplaceAll(s.arg, "\n", "; ")))
}

// sequence is all that is planned for one pool.
type sequence struct {
	steps []step
	// scripts are those of the pool's first pods, in their order.
	scripts []kubelet.Script
	// faults are the names of what happens to the n-th request about the pool;
	// writeFaults count its writes only.
	faults, writeFaults map[int]string
}

func (s sequence) String() string {
	var b strings.Builder
	for _, st := range s.steps {
		fmt.Fprintf(&b, "  %v\n", st)
	}
	for i, sc := range s.scripts {
		fmt.Fprintf(&b, "  pod %d %s, pending %v, running %v, stopping %v, stuck %t, digest %q\n", i+1, sc.Outcome, sc.Pending, sc.Running, sc.Stopping, sc.Stuck, sc.Digest)
	}
	for n := range mostFaulty {
		if f, ok := s.faults[n]; ok {
			fmt.Fprintf(&b, "  request %d: %s\n", n, f)
		}
		if f, ok := s.writeFaults[n]; ok {
			fmt.Fprintf(&b, "  write %d: %s\n", n, f)
		}
	}
	return b.String()
}

// mostFaulty is beyond the number of any request that fails.
const mostFaulty = 100

// weighted is a choice out of a list with weights.
type weighted[T any] []struct {
	weight int
	value  T
}

func (w weighted[T]) pick(r *rand.Rand) T {
	sum := 0
	for _, c := range w {
		sum += c.weight
	}
	at := r.IntN(sum)
	for _, c := range w {
		if at -= c.weight; at < 0 {
			return c.value
		}
	}
	return w[0].value
}

var ops = weighted[op]{
	{20, opTarget},
	{8, opDockerfile},
	{6, opRebuild},
	{6, opUnlabel},
	{10, opLabel},
	{5, opDelete},
	{5, opCreate},
	{4, opTouch},
	{7, opEnd},
	{4, opDeletePod},
	{3, opForcePod},
	{3, opDeleteMap},
	{3, opImageGone},
	{28, opSettle},
}

var outcomes = weighted[kubelet.Outcome]{
	{74, kubelet.Succeed},
	{6, kubelet.Fail},
	{4, kubelet.Evict},
	{2, kubelet.Kill},
	{2, kubelet.OutOfMemory},
	{3, kubelet.Forge},
	{2, kubelet.Mute},
	{6, kubelet.Hang},
}

var dockerfiles = weighted[string]{
	{2, ""}, {3, "RUN true"}, {1, "RUN false"}, {1, "RUNN"},
}

var endings = weighted[kubelet.Outcome]{{2, kubelet.Evict}, {2, kubelet.Kill}, {1, kubelet.OutOfMemory}, {1, kubelet.Fail}}

// faultNames are the faults of requests; "conflict" is left to the writes that
// a server may refuse so.
var faultNames = []string{"conflict", "too many requests", "server error", "connection lost before", "connection lost after"}

// newSequence makes one up.
func newSequence(r *rand.Rand) sequence {
	s := sequence{faults: map[int]string{}}
	token, content := 0, 0
	s.steps = []step{{op: opCreate, arg: weighted[string]{{5, "in"}, {1, ""}}.pick(r)}}
	for range 3 + r.IntN(5) {
		next := step{request: weighted[int]{{1, r.IntN(5)}, {4, 1 + r.IntN(20)}}.pick(r)}
		if next.request == 0 || r.IntN(3) == 0 {
			next.loose, next.wait = true, milliseconds(r, 100)
		}
		o, arg := ops.pick(r), ""
		switch o {
		case opCreate:
			arg = weighted[string]{{4, "in"}, {1, ""}}.pick(r)
		case opTarget, opImageGone:
			// Two of them, so that pools often go back.
			arg = weighted[string]{{4, "a"}, {4, "b"}, {1, "c"}}.pick(r)
		case opDockerfile:
			if arg = dockerfiles.pick(r); arg != "" {
				content++
				arg = fmt.Sprintf("FROM configs AS final\n%s # %d\n", arg, content)
			}
		case opRebuild:
			if r.IntN(5) > 0 {
				token++
				arg = fmt.Sprint("again-", token)
			}
		case opEnd:
			arg = string(endings.pick(r))
		case opDeleteMap:
			arg = []string{"mc", "dockerfile", "digest"}[r.IntN(3)]
		default:
		}
		next.op, next.arg = o, arg
		next.loose = next.loose || o == opSettle
		if o == opUnlabel && r.IntN(3) > 0 {
			// Seldom by chance: the image is there, and no record of it.
			settle := step{request: 1, loose: true, op: opSettle}
			s.steps = append(s.steps, settle, next, step{request: next.request, op: opLabel})
			continue
		}
		s.steps = append(s.steps, next)
	}
	for range 4 {
		s.scripts = append(s.scripts, newScript(r))
	}
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(3) {
			s.faults[1+r.IntN(40)] = faultNames[r.IntN(len(faultNames))]
		}
	}
	return s
}

func newScript(r *rand.Rand) kubelet.Script {
	s := kubelet.Script{Outcome: outcomes.pick(r), Pending: milliseconds(r, 30), Stuck: r.IntN(40) == 0}
	if r.IntN(2) == 0 {
		s.Running = milliseconds(r, 80)
	}
	if r.IntN(3) == 0 {
		s.Stopping = milliseconds(r, 120)
	}
	if s.Outcome == kubelet.Forge && r.IntN(2) == 0 {
		s.Digest = digestOfAnother
	}
	return s
}

// digestOfAnother stands for that of an image which the registry has of other inputs.
const digestOfAnother = "another's"

func milliseconds(r *rand.Rand, most int) time.Duration {
	return time.Duration(r.IntN(most+1)) * time.Millisecond
}

// without leaves something out of a sequence; the choices are counted from 0,
// false is returned beyond the last.
func (s sequence) without(i int) (sequence, bool) {
	out := sequence{steps: slices.Clone(s.steps), scripts: slices.Clone(s.scripts), faults: map[int]string{}}
	for n, f := range s.faults {
		out.faults[n] = f
	}
	var faulty []int
	for n := range mostFaulty {
		if _, ok := s.faults[n]; ok {
			faulty = append(faulty, n)
		}
	}
	switch {
	case i < len(faulty):
		delete(out.faults, faulty[i])
	case i-len(faulty) < len(s.steps)-1:
		at := i - len(faulty) + 1 // the first makes the pool
		out.steps = slices.Delete(out.steps, at, at+1)
	case i-len(faulty)-len(s.steps)+1 < len(s.scripts):
		at := i - len(faulty) - len(s.steps) + 1
		out.scripts[at] = kubelet.Script{Outcome: kubelet.Succeed, Pending: 10 * time.Millisecond}
	default:
		return s, false
	}
	return out, true
}
