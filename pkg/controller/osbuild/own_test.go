package osbuild

import (
	"errors"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func at(version string) *mcfgv1.MachineConfigPool {
	return &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: "worker", ResourceVersion: version}}
}

func TestOwnWrites(t *testing.T) {
	var o ownWrites
	if o.made(at("1")) {
		t.Error("a version that nobody wrote is taken as our own")
	}
	write := func(before, after string, events ...string) bool {
		t.Helper()
		_, missed, err := o.write(at(before), func() (*mcfgv1.MachineConfigPool, error) {
			for _, e := range events {
				if !o.made(at(e)) {
					t.Errorf("event of version %s during the write asks for a sync at once", e)
				}
			}
			return at(after), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return missed
	}
	if write("1", "2", "2") {
		t.Error("the early event of our own write counts as missed")
	}
	if write("2", "3") {
		t.Error("a write without events missed one")
	}
	if got := o.latest(at("2")).ResourceVersion; got != "3" {
		t.Errorf("while the cache shows 2, the loop reads %s, want 3", got)
	}
	for _, version := range []string{"2", "3"} {
		if !o.made(at(version)) {
			t.Errorf("late event of our own version %s asks for a sync", version)
		}
	}
	if got := o.latest(at("4")).ResourceVersion; got != "4" {
		t.Errorf("the cache shows 4, the loop reads %s", got)
	}
	if o.made(at("4")) {
		t.Error("somebody else's version is taken as our own")
	}
	if !write("4", "5", "5", "6") {
		t.Error("somebody else's write after ours was missed")
	}
	_, missed, err := o.write(at("6"), func() (*mcfgv1.MachineConfigPool, error) {
		o.made(at("7"))
		return nil, errors.New("conflict")
	})
	if err == nil || !missed {
		t.Errorf("a refused write: missed %v, error %v; want true and an error", missed, err)
	}
	o.forget("worker")
	if o.made(at("5")) {
		t.Error("a forgotten pool is remembered")
	}
}
