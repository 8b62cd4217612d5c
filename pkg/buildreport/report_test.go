package buildreport

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func full() Report {
	start := metav1.NewTime(time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC).Local())
	return Report{
		Succeeded: true, Reason: buildv1.StatusReasonDockerBuildFailed, Message: "step 3 of 5 failed",
		Log: []string{"one", "two"}, Digest: "sha256:" + strings.Repeat("0", 64),
		Revision: &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{
			Commit: strings.Repeat("a", 40), Message: "first", Author: buildv1.SourceControlUser{Name: "A. U. Thor"},
		}},
		Stages: []buildv1.StageInfo{{Name: buildv1.StageBuild, StartTime: start, DurationMilliseconds: 5, Steps: []buildv1.StepInfo{
			{Name: buildv1.StepDockerBuild, StartTime: start, DurationMilliseconds: 5},
		}}},
	}
}

func TestRoundTrip(t *testing.T) {
	got, err := Parse(string(full().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("report:\n%s", diff)
	}
}

// TestEncodeFits: whatever is too long, what tells the outcome stays.
func TestEncodeFits(t *testing.T) {
	long := strings.Repeat("é", 40000)
	for name, damage := range map[string]func(*Report){
		"log":       func(r *Report) { r.Log = strings.SplitAfter(long, "éé") },
		"one line":  func(r *Report) { r.Log = []string{long} },
		"message":   func(r *Report) { r.Message = long },
		"commit":    func(r *Report) { r.Revision.Git.Message = long },
		"commit ID": func(r *Report) { r.Revision.Git.Commit = long },
		"stages":    func(r *Report) { r.Stages = make([]buildv1.StageInfo, 500) },
	} {
		t.Run(name, func(t *testing.T) {
			r := full()
			damage(&r)
			data := r.Encode()
			if len(data) > MaxBytes {
				t.Errorf("%d bytes", len(data))
			}
			got, err := Parse(string(data))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Succeeded || got.Digest != r.Digest || got.Reason != r.Reason || got.Message == "" {
				t.Errorf("left: %+v", got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, message := range map[string]string{
		"nothing": "", "text": "Killed", "a list": "[]", "no outcome": "{}",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(message); !errors.Is(err, ErrNone) {
				t.Errorf("got %+v, error %v", got, err)
			}
		})
	}
}

// FuzzParse reads anything: a report, or an error of the class; what is a report
// survives the way.
func FuzzParse(f *testing.F) {
	f.Add(string(full().Encode()))
	f.Add(`{"reason":"x"}`)
	f.Fuzz(func(t *testing.T, message string) {
		r, err := Parse(message)
		if err != nil {
			if !errors.Is(err, ErrNone) {
				t.Errorf("error of another class: %v", err)
			}
			return
		}
		data := r.Encode()
		if len(data) > MaxBytes {
			t.Errorf("%d bytes", len(data))
		}
		back, err := Parse(string(data))
		if err != nil || back.Succeeded != r.Succeeded {
			t.Errorf("%+v came back as %+v, error %v", r, back, err)
		}
	})
}
