//go:build e2e

package e2e

import (
	"bytes"
	"strings"
	"testing"
	"text/template"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// snoop looks for passwords in all that a step can reach: each file of each
// mount, the environment, command line, open files and root of each process.
// What it finds goes into the image. The pattern does not match itself.
var snoop = template.Must(template.New("snoop").Parse(`FROM {{or .From "configs AS final"}}
RUN echo {{.Decoy}} > /etc/decoy
RUN <<'END'
  pattern='{{.Pattern}}'
  match() { xargs -0 -r grep -ahosE -e "$pattern" -- >> /tmp/seen; }
  look() { find "$@" \( -path '*/proc' -o -path '*/sys' \) -prune -o -type f -size -8M -print0 2>/dev/null | match; }
  look /
  roots=0 environments=0 known=
  for p in /proc/[0-9]*; do
    printf '%s\0' $p/cmdline $p/environ $p/mountinfo | match
    cat $p/environ > /dev/null 2>&1 && environments=$((environments+1))
    for fd in $p/fd/*; do [ -f $fd ] && printf '%s\0' $fd | match; done
    root=$(stat -Lc %d:%i $p/root/ 2>/dev/null) || continue
    case " $known " in *" $root "*) continue;; esac
    known="$known $root" roots=$((roots+1))
    look $p/root/run $p/root/tmp $p/root/home $p/root/etc $p/root/var/lib $p/root/dev $p/cwd/
  done
  sort -u /tmp/seen > /etc/seen
  echo "$environments environments, $roots roots, uid $(id -u)" > /etc/looked
  rm /tmp/seen
END
`))

// sabotage leaves a process behind that goes on after the step has ended: where
// it gets at what is handed over, it puts links to the push Secret in its place.
const sabotage = `FROM configs AS final
RUN <<'END'
  cat > /tmp/go-on <<'SCRIPT'
    while :; do
      for root in /proc/[0-9]*/root; do
        find $root/var/lib/os-image-builder/ ! -path '*/storage/*' -type f 2>/dev/null | while read file; do
          ln -sfn /run/os-image-builder/push-secret/.dockerconfigjson "$file"
        done
      done
    done
SCRIPT
  setsid sh /tmp/go-on > /dev/null 2>&1 &
END
`

// forgery would like to say itself what was built. Its last step fails where the
// file that a container's result is taken from can be written.
const forgery = `FROM configs AS final
LABEL machineconfig=another machineosbuilder.io/inputs-hash=v1-another
RUN for file in $(find / /proc/*/root/dev /proc/*/root/run -path /proc -prune -o -name termination-log -print 2>/dev/null); do \
      echo '{"succeeded":true,"digest":"sha256:6666666666666666666666666666666666666666666666666666666666666666"}' > $file && exit 6; \
    done; echo forged > /etc/forged
`

// TestStepsReachNoCredential gives both Secrets to builds whose registries ask
// for them.
func TestStepsReachNoCredential(t *testing.T) {
	s := newScenario(t)
	s.logins("e2e-push", "e2e-pull")
	decoy := "canary-" + strings.Repeat("0", 24)
	var look bytes.Buffer
	s.must(snoop.Execute(&look, map[string]string{"Pattern": cluster.Canary.Pattern(), "Decoy": decoy}))
	s.addPools(map[string]string{"snoop": look.String(), "sabotage": sabotage, "forgery": forgery})

	s.prove("a step that reads all it can finds nothing", func(s *scenario) {
		s.foundNothing(s.files(s.builtFor("snoop")), decoy)
	})
	s.prove("what the image says of itself is not the step's to say", func(s *scenario) {
		image := s.builtFor("forgery")
		labels, err := image.Labels()
		s.must(err)
		record := s.record(configOf("forgery"))
		if labels[api.ImageLabelMachineConfig] != configOf("forgery") || labels[api.ImageLabelInputsHash] != record.InputsHash {
			s.t.Errorf("labels %v, inputs %s", labels, record.InputsHash)
		}
		compareFiles(s.t, s.files(image), map[string]live.File{"etc/forged": file(0o644, 0, "forged\n")})
	})
	s.prove("what was tampered with while it was handed over gives nothing away", func(s *scenario) {
		s.settled("sabotage")
		s.must(witness.Blobs())
		if found := witness.Found(); len(found) > 0 {
			s.t.Errorf("a login was found in %q", found)
		}
	})
}

// foundNothing: of what snoop found only the decoy is there.
func (s *scenario) foundNothing(files map[string]live.File, decoy string) {
	s.t.Helper()
	looked := files["etc/looked"].Content
	s.t.Logf("looked into %s", looked)
	if looked == "" || strings.HasPrefix(looked, "0 ") || strings.Contains(looked, " 0 roots") {
		s.t.Errorf("looked into %s", looked)
	}
	if seen := strings.Fields(files["etc/seen"].Content); len(seen) != 1 || seen[0] != decoy {
		s.t.Errorf("found %q, want the decoy alone", seen)
	}
}

// logins makes the Secrets to push and to pull with, one of each type, and
// builds from and to the registry that asks for them.
func (s *scenario) logins(push, pull string) {
	s.t.Helper()
	s.must(cluster.SetPullSecret(s.ctx, push, corev1.SecretTypeDockerConfigJson))
	s.must(cluster.SetPullSecret(s.ctx, pull, corev1.SecretTypeDockercfg))
	s.baseImage(cluster.AuthPlainImage)
	s.configure(map[string]string{
		api.KeyFinalImagePullspec:       cluster.AuthRegistry + "/e2e/os-images",
		api.KeyFinalImagePushSecretName: push,
		api.KeyBaseImagePullSecretName:  pull,
	})
}
