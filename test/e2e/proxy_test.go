//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// Names that nobody resolves (RFC 6761): the proxy alone knows the way.
const (
	registryByProxy = "registry-by-proxy.invalid"
	filesByProxy    = "files-by-proxy.invalid"
)

const proxySecret = "e2e-proxy"

// stepsByProxy shows the proxy to the log in each form that a program shows it in,
// notes what it sees, and fetches a file as a program does that goes by its environment.
var stepsByProxy = strings.NewReplacer("$VARIABLES", strings.Join(proxy.Variables, " "), "$FILES", filesByProxy).Replace(`FROM configs AS final
RUN env; for name in $VARIABLES; do echo "$name $(printenv $name | sha256sum)"; done > /etc/seen
RUN <<'END'
  set -e
  url=${http_proxy#http://} login=${url%@*} host=${url##*@}
  export header="Proxy-Authorization: Basic $(printf %s "$login" | base64 --wrap=0)" at=${host%:*}/${host#*:}
  echo "via $http_proxy, $header"
  bash -c 'exec 3<>/dev/tcp/$at && printf "GET http://$FILES/step HTTP/1.0\r\n%s\r\n\r\n" "$header" >&3 && tail --lines=1 <&3' > /etc/fetched
END
`)

// failsByProxy ends with the same words, which get into the record and the condition.
const failsByProxy = `FROM configs AS final
RUN echo "via $https_proxy"; echo "Basic $(printf %s "${https_proxy#http://}" | sed 's/@.*//' | tr -d '\n' | base64 --wrap=0)"; exit 6
`

// TestProxyWithALogin: the base image and a file of the config are reached by nobody but
// a proxy, which wants a login; and everything else is, as long as noProxy does not name it.
func TestProxyWithALogin(t *testing.T) {
	s := newScenario(t)
	login, wrong := live.NewCanary(), live.NewCanary()
	own := cluster.Witness(s.ctx, login, wrong)
	defer own.Stop()
	through := s.serveProxy(login)
	url := through.URL(login)
	settings := map[string]string{api.KeyHTTPProxy: url, api.KeyHTTPSProxy: url, api.KeyNoProxy: ".svc,.cluster.local"}
	set := func(url string) {
		settings[api.KeyHTTPProxy], settings[api.KeyHTTPSProxy] = url, url
		s.must(cluster.SetSecret(s.ctx, proxySecret, corev1.SecretTypeOpaque, settings))
	}
	set(url)
	s.configure(map[string]string{api.KeyProxySecretName: proxySecret, api.KeyMaxConcurrentBuilds: "3"})
	s.dockerfiles(map[string]string{"steps": stepsByProxy, "fails": failsByProxy, "refused-steps": harmless})
	s.addFetching("append", "steps", "fails")

	s.prove("a config alone is built", func(s *scenario) {
		compareFiles(s.t, s.files(s.builtFor("append")), map[string]live.File{"etc/pool": file(0o644, 0, "/append")})
	})
	s.prove("steps are given the proxy, and the image is not", func(s *scenario) {
		image := s.builtFor("steps")
		var seen strings.Builder
		for i, name := range proxy.Variables {
			value := []string{url, url, settings[api.KeyNoProxy]}[i%3]
			fmt.Fprintf(&seen, "%s %x  -\n", name, sha256.Sum256([]byte(value+"\n")))
		}
		compareFiles(s.t, s.files(image), map[string]live.File{
			"etc/pool": file(0o644, 0, "/steps"), "etc/seen": file(0o644, 0, seen.String()), "etc/fetched": file(0o644, 0, "/step"),
		})
		config, err := image.ConfigFile()
		s.must(err)
		if i := slices.IndexFunc(config.Config.Env, func(v string) bool { return strings.Contains(strings.ToLower(v), "proxy") }); i >= 0 {
			s.t.Errorf("the image's environment has %q", config.Config.Env[i])
		}
	})
	s.prove("a step that fails shows where it went, without the login", func(s *scenario) {
		s.failedAs("fails", api.ReasonBuildFailed, "via http://[redacted]@"+through.Address, "Basic [redacted]")
	})
	s.prove("all of that went through the proxy", func(s *scenario) {
		want := []string{cluster.Registry, filesByProxy, registryByProxy + ":443"}
		if led, refused := through.Led(), through.Refused(); !slices.Equal(led, want) || len(refused) > 0 {
			s.t.Errorf("the proxy led to %q and refused %q, want %q and none", led, refused, want)
		}
	})
	s.prove("a login that the proxy refuses is named as such", func(s *scenario) {
		set(through.URL(wrong))
		through.Forget()
		s.addFetching("refused", "refused-steps")
		for _, pool := range []string{"refused", "refused-steps"} {
			s.failedAs(pool, api.ReasonPullFailed, registryByProxy, "proxy "+through.Address+" answers 407", api.KeyProxySecretName)
			p, err := cluster.Pool(s.ctx, pool)
			s.must(err)
			if _, degraded := live.True(p, mcfgv1.MachineConfigPoolImageBuildDegraded); !degraded {
				s.t.Errorf("%s is not degraded: %v", pool, p.Status.Conditions)
			}
		}
		if led, refused := through.Led(), through.Refused(); len(led) > 0 || !slices.Contains(refused, registryByProxy+":443") {
			s.t.Errorf("the proxy led to %q and refused %q", led, refused)
		}
	})
	s.prove("the next try takes the right one, and goes directly where noProxy says", func(s *scenario) {
		settings[api.KeyNoProxy] = strings.Split(cluster.Registry, ":")[0]
		set(url)
		through.Forget()
		_, err := cluster.Kubectl(s.ctx, "annotate", "machineconfigpool/refused", "machineconfigpool/refused-steps", api.AnnotationRebuild+"=again")
		s.must(err)
		for _, pool := range []string{"refused", "refused-steps"} {
			compareFiles(s.t, s.files(s.builtFor(pool)), map[string]live.File{"etc/pool": file(0o644, 0, "/"+pool)})
		}
		want := []string{filesByProxy, registryByProxy + ":443"}
		if led := through.Led(); !slices.Equal(led, want) {
			s.t.Errorf("the proxy led to %q, want %q", led, want)
		}
	})
	s.prove("the login is shown to nobody but buildah and its steps", func(s *scenario) { checkProxyIsShownNowhere(s.t, own) })
}

// checkProxyIsShownNowhere allows the environments of buildah's processes and of steps
// alone: those of our own programs are what pods have.
func checkProxyIsShownNowhere(t *testing.T, own *live.Witness) {
	t.Helper()
	if err := own.Blobs(); err != nil {
		t.Fatal(err)
	}
	looked := own.Looked()
	t.Logf("looked at %v", looked)
	for _, kind := range []string{
		"pods", "configmaps", "pools", "events", "events of pools", "processes", "blobs", "log of machine-os-builder",
		"log of " + api.ContainerPrepare, "log of " + api.ContainerBuild, "log of " + api.ContainerPush,
	} {
		if looked[kind] == 0 {
			t.Errorf("nothing was searched: %s", kind)
		}
	}
	given := 0
	for _, where := range own.Found() {
		program, isEnvironment := strings.CutPrefix(where, "environment of ")
		if isEnvironment && !slices.Contains([]string{"os-image-builder", "machine-os-builder"}, path.Base(program)) {
			given++
			continue
		}
		t.Errorf("found in %q", where)
	}
	if given == 0 {
		t.Error("the login was found in no step's environment either")
	}
}

// serveProxy starts a proxy for whoever has a login, and what it alone leads to: the
// registry under another name, which is where the base image is, and files that hold
// their own path.
func (s *scenario) serveProxy(login live.Login) *live.Proxy {
	s.t.Helper()
	registry, err := cluster.HideRegistry(registryByProxy)
	s.must(err)
	s.t.Cleanup(func() { _ = registry.Close() })
	files, err := live.ServeHidden(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	s.must(err)
	s.t.Cleanup(func() { _ = files.Close() })
	through, err := cluster.ServeProxy(login, map[string]string{registryByProxy + ":443": registry.Address, filesByProxy: files.Address})
	s.must(err)
	s.t.Cleanup(func() { _ = through.Close() })

	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapUserCA, map[string]string{api.UserCAKey: registry.CA}))
	s.baseImage(strings.Replace(cluster.PlainImage, cluster.Registry, registryByProxy, 1))
	s.base = cluster.PlainImage // which it is, for whoever sees the registry
	return through
}

// addFetching adds pools of which each has a config with a file from behind the proxy.
func (s *scenario) addFetching(pools ...string) {
	s.t.Helper()
	for _, pool := range pools {
		s.must(cluster.SetMachineConfig(s.ctx, live.SourceConfig(configOf(pool), "/etc/pool", "http://"+filesByProxy+"/"+pool)))
		s.must(cluster.AddPool(s.ctx, pool, configOf(pool)))
		s.must(cluster.OptIn(s.ctx, pool))
	}
}
