package integration

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// filler gives every field of a value something other than its zero value.
type filler struct{ fields int }

func (f *filler) fill(v reflect.Value) {
	f.fields++
	switch at := v.Addr().Interface().(type) {
	case *metav1.Time:
		*at = metav1.NewTime(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC).Local())
		return
	case *resource.Quantity:
		*at = resource.MustParse("3")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", f.fields))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.fields) * 1_000_000)
	default:
		panic(fmt.Sprintf("a Build has a %s", v.Type()))
	}
}

// TestBuildKindKeepsAll: whatever OpenShift's own client can say of a Build comes back.
func TestBuildKindKeepsAll(t *testing.T) {
	w := newBuildWorld(t)
	builds := w.Admin.Build.BuildV1().Builds(w.namespace)
	full := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: "full"}}
	var f filler
	f.fill(reflect.ValueOf(&full.Spec).Elem())
	f.fill(reflect.ValueOf(&full.Status).Elem())
	if f.fields < 300 {
		t.Fatalf("%d fields of a Build are filled", f.fields)
	}
	empty := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: "empty"}}
	// Of these the client writes null: nodeSelector, mounts, times.
	empty.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{Volumes: []buildv1.BuildVolume{{Name: "v"}}}
	empty.Status.Stages = []buildv1.StageInfo{{Steps: []buildv1.StepInfo{{}}}}
	empty.Status.Conditions = []buildv1.BuildCondition{{}}
	for _, b := range []*buildv1.Build{full, empty} {
		t.Run(b.Name, func(t *testing.T) {
			created, err := builds.Create(w.ctx, b, metav1.CreateOptions{})
			must(t, err)
			if !reflect.DeepEqual(created.Status, buildv1.BuildStatus{}) {
				t.Errorf("a status is made with the Build: %+v", created.Status)
			}
			created.Status = b.Status
			_, err = builds.UpdateStatus(w.ctx, created, metav1.UpdateOptions{})
			must(t, err)
			got, err := builds.Get(w.ctx, b.Name, metav1.GetOptions{})
			must(t, err)
			if diff := cmp.Diff(b.Spec, got.Spec); diff != "" {
				t.Errorf("spec:\n%s", diff)
			}
			if diff := cmp.Diff(b.Status, got.Status); diff != "" {
				t.Errorf("status:\n%s", diff)
			}
		})
	}
}

// TestBuildKindIsShown as OpenShift's clients show it, and cancelled as they cancel.
func TestBuildKindIsShown(t *testing.T) {
	w := newBuildWorld(t)
	b := w.newBuild("app-1")
	b.Spec.Strategy.Type, b.Spec.Source.Type = "Docker", "Dockerfile"
	w.create(b)
	w.updateStatus("app-1", func(s *buildv1.BuildStatus) { s.Phase = buildv1.BuildPhaseComplete; s.Duration = time.Minute })
	shown := w.kubectl("get", "builds")
	for _, want := range []string{"NAME", "TYPE", "FROM", "STATUS", "STARTED", "DURATION", "Docker ", "Dockerfile ", "Complete", "60000000000"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s in:\n%s", want, shown)
		}
	}
	w.kubectl("patch", "build", "app-1", "--subresource=status", "--type=merge", "-p", `{"status":{"cancelled":true}}`)
	if !w.get("app-1").Status.Cancelled {
		t.Error("it is not cancelled")
	}
}

// waitForBuildKind returns once the API server serves Builds.
func (w *buildWorld) waitForBuildKind() {
	w.t.Helper()
	_, err := plane.Kubectl(w.ctx, "", "apply", "--server-side", "-k", "../../manifests/builds")
	must(w.t, err)
	err = wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		_, err := w.Admin.Build.BuildV1().Builds("").List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
	must(w.t, err)
}
