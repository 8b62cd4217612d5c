package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestAuditIsReadAsItGrows(t *testing.T) {
	a := &audit{path: filepath.Join(t.TempDir(), "audit.log")}
	if got, err := a.take(); err != nil || len(got) > 0 {
		t.Fatalf("of a log that is not there: %v, %v", got, err)
	}
	grow := func(text string) {
		t.Helper()
		file, err := os.OpenFile(a.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want map[string]int) {
		t.Helper()
		got, err := a.take()
		if err != nil || !reflect.DeepEqual(got.kinds(), want) {
			t.Errorf("got %v, %v; want %v", got.kinds(), err, want)
		}
	}
	grow(`{"stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"machineconfigpools","subresource":"status","name":"a"},"responseStatus":{"code":200},"stageTimestamp":"2026-01-01T00:00:00.000001Z"}
{"stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"pods"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"pods"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods"},"resp`)
	expect(map[string]int{"patch machineconfigpools/status": 1, "watch pods": 1})
	grow("onseStatus\":{\"code\":409}}\n")
	expect(map[string]int{"create pods (409)": 1})
	expect(map[string]int{})
}

func TestRequestsByKind(t *testing.T) {
	to := func(verb, resource string) request {
		r := request{Verb: verb}
		r.ObjectRef.Resource = resource
		return r
	}
	for _, row := range []struct {
		request                   request
		objectWrite, read, worked bool
	}{
		{to("patch", "machineconfigpools"), true, false, true},
		{to("delete", "configmaps"), true, false, true},
		{to("create", "events"), false, false, true},
		{to("update", "leases"), false, false, false},
		{to("get", "leases"), false, false, false},
		{to("get", "secrets"), false, true, true},
		{to("list", "pods"), false, true, true},
		{to("watch", "pods"), false, false, false},
	} {
		if got := row.request; got.objectWrite() != row.objectWrite || got.read() != row.read || got.work() != row.worked {
			t.Errorf("%s: object write %t, read %t, work %t", got, got.objectWrite(), got.read(), got.work())
		}
	}
}
