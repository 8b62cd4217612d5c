package sourcebuild

import (
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// begin starts a step of a stage and returns what ends it: called, it puts the time
// that it took into the report, whatever came of it.
func begin(report *buildreport.Report, progress *steplog.Progress, stage buildv1.StageName, step buildv1.StepName) func() {
	start := progress.Now()
	return func() {
		took := progress.Now().Sub(start)
		at := metav1.NewTime(start)
		done := buildv1.StepInfo{Name: step, StartTime: at, DurationMilliseconds: took.Milliseconds()}
		if last := len(report.Stages) - 1; last >= 0 && report.Stages[last].Name == stage {
			known := &report.Stages[last]
			known.Steps = append(known.Steps, done)
			known.DurationMilliseconds = start.Add(took).Sub(known.StartTime.Time).Truncate(time.Millisecond).Milliseconds()
			return
		}
		report.Stages = append(report.Stages, buildv1.StageInfo{Name: stage, StartTime: at, DurationMilliseconds: took.Milliseconds(), Steps: []buildv1.StepInfo{done}})
	}
}
