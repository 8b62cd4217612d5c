package buildspec

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func failure() Result {
	return Result{
		Reason: "BuildFailed", Message: "step 3, line 3 of the custom Dockerfile, failed", Step: "RUN false", Line: 3, ExitCode: 1,
		Log: []string{"one", "two"}, Timings: []Timing{{"pull", 1.5}}, BytesPulled: 7,
	}
}

func TestResultReadsBack(t *testing.T) {
	for name, r := range map[string]Result{
		"success": {Succeeded: true, Digest: digest, BaseDigest: digest, BytesPushed: 5},
		"failure": failure(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseResult(string(r.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("read back:\n%s", diff)
			}
		})
	}
}

// TestLongResult: what is left out, and in which order.
func TestLongResult(t *testing.T) {
	lines := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = strings.Repeat("x", 50)
		}
		out[n-1] = "the last line"
		return out
	}
	for name, row := range map[string]struct {
		change func(*Result)
		holds  func(Result) bool
	}{
		"many lines: the last stays": {
			func(r *Result) { r.Log = lines(500) },
			func(r Result) bool { return len(r.Log) > 5 && r.Log[len(r.Log)-1] == "the last line" },
		},
		"one line too long: its beginning stays": {
			func(r *Result) { r.Log = []string{strings.Repeat("y", 10000)} },
			func(r Result) bool { return len(r.Log) == 1 && strings.HasPrefix(r.Log[0], "yyy") },
		},
		"a step as long as a heredoc: the message stays whole": {
			func(r *Result) { r.Step = strings.Repeat("RUN x\n", 2000) },
			func(r Result) bool { return r.Message == failure().Message && strings.HasPrefix(r.Step, "RUN x") },
		},
		"a long message is cut, not lost": {
			func(r *Result) { r.Message = strings.Repeat("wörter ", 2000) },
			func(r Result) bool { return strings.HasPrefix(r.Message, "wörter") && utf8.ValidString(r.Message) },
		},
		"control characters that JSON makes six times as long": {
			func(r *Result) {
				r.Message, r.Step, r.Log = strings.Repeat("\x01", 3000), strings.Repeat("\x02", 3000), nil
			},
			func(r Result) bool { return r.Message != "" && r.Line == 3 && r.ExitCode == 1 },
		},
		"a time that is no number": {
			func(r *Result) { r.Timings[0].Seconds = math.NaN() },
			func(r Result) bool { return r.Message == failure().Message && r.Timings == nil },
		},
		"even the reason is too long": {
			func(r *Result) { r.Reason = strings.Repeat("R", 5000) },
			func(r Result) bool { return strings.HasPrefix(r.Reason, "RRR") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := failure()
			row.change(&r)
			data := r.Encode()
			if len(data) > MaxResultBytes {
				t.Fatalf("%d bytes", len(data))
			}
			got, err := ParseResult(string(data))
			if err != nil {
				t.Fatal(err)
			}
			if !row.holds(got) {
				t.Errorf("left of it: %+v", got)
			}
		})
	}
}

func TestNoResult(t *testing.T) {
	for _, message := range []string{
		"", " ", "null", "{}", "[]", "7", `"text"`, `{"succeeded":"yes"}`, `{"succeeded":true}{"succeeded":true}`,
		"2026/03/01 panic: something\ngoroutine 1 [running]:", string(failure().Encode())[:50],
	} {
		if r, err := ParseResult(message); !errors.Is(err, ErrNoResult) {
			t.Errorf("%q gave %+v and error %v", message, r, err)
		}
	}
}

func FuzzResultEncode(f *testing.F) {
	f.Add("BuildFailed", "message", "RUN x", "log\nmore", digest, 3.5, true)
	f.Add(strings.Repeat("\x00", 900), strings.Repeat("é", 3000), "\xff\xfe", strings.Repeat("l\n", 9000), "", math.Inf(1), false)
	f.Fuzz(func(t *testing.T, reason, message, step, log, digest string, seconds float64, ok bool) {
		r := Result{
			Reason: reason, Message: message, Step: step, Log: strings.Split(log, "\n"), Digest: digest,
			Timings: []Timing{{step, seconds}}, Succeeded: ok,
		}
		data := r.Encode()
		if len(data) > MaxResultBytes {
			t.Fatalf("%d bytes", len(data))
		}
		if !json.Valid(data) {
			t.Fatalf("no JSON: %q", data)
		}
		if _, err := ParseResult(string(data)); err != nil && (ok || reason != "" || message != "") {
			t.Fatalf("%v: %q", err, data)
		}
	})
}

func FuzzParseResult(f *testing.F) {
	for _, seed := range []string{"", "null", "{}", string(failure().Encode()), `{"log":[null]}`, "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		r, err := ParseResult(message)
		if err != nil {
			if !errors.Is(err, ErrNoResult) {
				t.Fatalf("error of another class: %v", err)
			}
			return
		}
		written := r.Encode()
		if len(written) > MaxResultBytes {
			t.Fatal("what was read cannot be written")
		}
		again, err := ParseResult(string(written))
		if err != nil || again.Succeeded != r.Succeeded {
			t.Fatalf("read again it is %+v, error %v; was %+v", again, err, r)
		}
		if again.Digest != "" && again.Digest != r.Digest {
			t.Fatalf("digest %q was read, %q is written", r.Digest, again.Digest)
		}
	})
}
