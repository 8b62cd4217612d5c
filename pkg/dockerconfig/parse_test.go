package dockerconfig_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
)

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func TestParseSecret(t *testing.T) {
	const newType, oldType = dockerconfig.TypeDockerConfigJSON, dockerconfig.TypeDockerCfg
	tests := []struct {
		name       string
		secretType string
		content    string
		wantKeys   string
		wantErr    error
		wantText   string
	}{
		{"new format", newType, `{"auths":{"quay.io":{"auth":"` + basic("u", "p") + `"}}}`, "quay.io", nil, ""},
		{"old format", oldType, `{"quay.io":{"username":"u","password":"p","email":"x@y"}}`, "quay.io", nil, ""},
		{"byte order mark and white space", newType, "\xef\xbb\xbf \n{\"auths\":{\"quay.io\":{\"auth\":\"" + basic("u", "p") + "\"}}}\n", "quay.io", nil, ""},
		{"unpadded base64", newType, `{"auths":{"quay.io":{"auth":"` + strings.TrimRight(basic("us", "p"), "=") + `"}}}`, "quay.io", nil, ""},
		{"url keys", oldType, `{"https://index.docker.io/v1/":{"auth":"` + basic("u", "p") + `"},"https://R.example:5000/v2/":{"auth":"` + basic("u", "p") + `"}}`, "docker.io r.example:5000", nil, ""},
		{"path prefix", newType, `{"auths":{"quay.io/org/team/":{"auth":"` + basic("u", "p") + `"}}}`, "quay.io/org/team", nil, ""},
		{"empty entry is anonymous", newType, `{"auths":{"quay.io":{}}}`, "", nil, ""},
		{"no entries", newType, `{"auths":{}}`, "", nil, ""},
		{"tokens", newType, `{"auths":{"a.io":{"identitytoken":"t"},"b.io":{"registrytoken":"t"}}}`, "a.io b.io", nil, ""},
		{"unknown type", "Opaque", `{}`, "", dockerconfig.ErrUnsupportedType, "Opaque"},
		{"empty", newType, " ", "", dockerconfig.ErrMalformed, "empty"},
		{"not JSON", newType, `{"auths":hunter2}`, "", dockerconfig.ErrMalformed, "byte 10"},
		{"cut off", oldType, `{"quay.io":{"password":"hunter2"`, "", dockerconfig.ErrMalformed, "byte"},
		{"a list", oldType, `["hunter2"]`, "", dockerconfig.ErrMalformed, "JSON object"},
		{"null", oldType, `null`, "", dockerconfig.ErrMalformed, "JSON object"},
		{"no auths", newType, `{"quay.io":{"password":"hunter2"}}`, "", dockerconfig.ErrMalformed, `"auths"`},
		{"new format under the old type", oldType, `{"auths":{}}`, "", dockerconfig.ErrMalformed, newType},
		{"helper only", newType, `{"credsStore":"hunter2"}`, "", dockerconfig.ErrMalformed, "credential helper"},
		{"auth is not base64", newType, `{"auths":{"quay.io":{"auth":"hunter2!"}}}`, "", dockerconfig.ErrMalformed, `registry "quay.io"`},
		{"auth without colon", newType, `{"auths":{"quay.io":{"auth":"aHVudGVyMg=="}}}`, "", dockerconfig.ErrMalformed, "user:password"},
		{"password is a number", newType, `{"auths":{"quay.io":{"username":"u","password":7777777}}}`, "", dockerconfig.ErrMalformed, `"password" must be a string`},
		{"entry is a string", newType, `{"auths":{"quay.io":"hunter2"}}`, "", dockerconfig.ErrMalformed, `registry "quay.io"`},
		{"auths is a list", newType, `{"auths":["hunter2"]}`, "", dockerconfig.ErrMalformed, `"auths" must be a JSON object`},
		{"empty registry name", newType, `{"auths":{"https://":{"auth":"` + basic("u", "p") + `"}}}`, "", dockerconfig.ErrMalformed, "empty name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key := dockerconfig.KeyDockerConfigJSON
			if test.secretType == oldType {
				key = dockerconfig.KeyDockerCfg
			}
			config, err := dockerconfig.ParseSecret(test.secretType, map[string][]byte{key: []byte(test.content)})
			if !errors.Is(err, test.wantErr) {
				t.Fatalf("error = %v, want %v", err, test.wantErr)
			}
			if err != nil {
				for _, leak := range []string{"hunter2", "aHVudGVyMg", "7777777"} {
					if strings.Contains(err.Error(), leak) {
						t.Errorf("error %q quotes the input", err)
					}
				}
				if !strings.Contains(err.Error(), test.wantText) {
					t.Errorf("error = %q, want it to contain %q", err, test.wantText)
				}
				return
			}
			if got := strings.Join(config.Keys(), " "); got != test.wantKeys {
				t.Errorf("keys = %q, want %q", got, test.wantKeys)
			}
		})
	}
}

func TestParseSecretWithoutItsKey(t *testing.T) {
	for _, secretType := range []string{dockerconfig.TypeDockerConfigJSON, dockerconfig.TypeDockerCfg} {
		if _, err := dockerconfig.ParseSecret(secretType, map[string][]byte{"config.json": []byte("{}")}); !errors.Is(err, dockerconfig.ErrMissingKey) {
			t.Errorf("%s: error = %v, want ErrMissingKey", secretType, err)
		}
	}
	if _, err := dockerconfig.ParseFiles(map[string][]byte{"token": nil}); !errors.Is(err, dockerconfig.ErrMissingKey) {
		t.Errorf("files: error = %v, want ErrMissingKey", err)
	}
}

func TestParseFilesTellsTheFormatByName(t *testing.T) {
	config, err := dockerconfig.ParseFiles(map[string][]byte{
		dockerconfig.KeyDockerCfg:        []byte(`{"old.io":{"username":"o","password":"p"},"both.io":{"username":"o","password":"p"}}`),
		dockerconfig.KeyDockerConfigJSON: []byte(`{"auths":{"both.io":{"username":"n","password":"p"}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := config.Lookup("both.io", "x"); got.Username != "n" {
		t.Errorf("both.io has user %q, want that of the newer format", got.Username)
	}
	if _, found := config.Lookup("old.io", "x"); !found {
		t.Error("old.io is missing")
	}
}

func TestLookup(t *testing.T) {
	config, err := dockerconfig.ParseDockerConfigJSON([]byte(`{"auths":{
		"quay.io":{"username":"host","password":"p"},
		"https://quay.io/v1/":{"username":"legacy","password":"p"},
		"quay.io/org":{"username":"org","password":"p"},
		"quay.io/org/app":{"username":"app","password":"p"},
		"only.io/org/app":{"username":"only","password":"p"},
		"https://index.docker.io/v1/":{"username":"hub","password":"p"},
		"10.0.0.1:5000":{"auth":"` + basic("ip", "a:b") + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ registry, repository, want string }{
		{"quay.io", "org/app", "app"},
		{"quay.io", "org/app/sub", "app"},
		{"quay.io", "org/apple", "org"},
		{"quay.io", "organisation/app", "host"},
		{"QUAY.io", "x", "host"},
		{"quay.io:443", "org/app", ""},
		{"only.io", "org", ""},
		{"docker.io", "library/busybox", "hub"},
		{"index.docker.io", "library/busybox", "hub"},
		{"registry-1.docker.io", "library/busybox", "hub"},
		{"10.0.0.1:5000", "os", "ip"},
		{"10.0.0.1", "os", ""},
	}
	for _, test := range tests {
		got, found := config.Lookup(test.registry, test.repository)
		if got.Username != test.want || found != (test.want != "") {
			t.Errorf("Lookup(%q, %q) = user %q, %v, want %q", test.registry, test.repository, got.Username, found, test.want)
		}
	}
	if got, _ := config.Lookup("10.0.0.1:5000", "os"); got.Password != "a:b" {
		t.Error("a password with a colon was cut")
	}
}

func TestMergeFirstWins(t *testing.T) {
	first, _ := dockerconfig.ParseDockerCfg([]byte(`{"a.io":{"username":"1","password":"p"}}`))
	second, _ := dockerconfig.ParseDockerCfg([]byte(`{"a.io":{"username":"2","password":"p"},"b.io":{"username":"2","password":"p"}}`))
	merged := dockerconfig.Merge(nil, first, second)
	for registry, want := range map[string]string{"a.io": "1", "b.io": "2"} {
		if got, _ := merged.Lookup(registry, "x"); got.Username != want {
			t.Errorf("%s: user %q, want %q", registry, got.Username, want)
		}
	}
	if keys := first.Keys(); len(keys) != 1 {
		t.Errorf("merging changed its input: %v", keys)
	}
}

func TestAuthFileRoundTrip(t *testing.T) {
	config, err := dockerconfig.ParseDockerCfg([]byte(`{"https://index.docker.io/v1/":{"username":"u","password":"p:q"},"a.io/x":{"identitytoken":"t"}}`))
	if err != nil {
		t.Fatal(err)
	}
	content, err := config.MarshalAuthFile()
	if err != nil {
		t.Fatal(err)
	}
	again, err := dockerconfig.ParseDockerConfigJSON(content)
	if err != nil {
		t.Fatal(err)
	}
	hub, _ := again.Lookup("docker.io", "library/x")
	if want := (dockerconfig.Credential{Username: "u", Password: "p:q"}); hub != want {
		t.Error("docker.io came back with another credential")
	}
	if token, _ := again.Lookup("a.io", "x/y"); token.IdentityToken != "t" {
		t.Error("a.io/x lost its identity token")
	}
}

func TestNothingPrintsACredential(t *testing.T) {
	config, err := dockerconfig.ParseDockerCfg([]byte(`{"a.io":{"username":"u","password":"hunter2"}}`))
	if err != nil {
		t.Fatal(err)
	}
	credential, _ := config.Lookup("a.io", "x")
	holder := struct {
		Config     *dockerconfig.Config
		Credential dockerconfig.Credential
	}{config, credential}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, value := range []any{config, credential, &credential, holder, &holder} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
				t.Errorf("%s of %T prints the password", verb, value)
			}
		}
	}
}

// plainKey is what registries are really named by.
var plainKey = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$`)

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"auths":{"quay.io/a":{"auth":"dTpw"}}}`))
	f.Add([]byte(`{"https://index.docker.io/v1/":{"username":"u","password":"p"}}`))
	f.Add([]byte(`{"auths":{"/":{"auth":"dTpw"}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, parse := range []func([]byte) (*dockerconfig.Config, error){dockerconfig.ParseDockerConfigJSON, dockerconfig.ParseDockerCfg} {
			config, err := parse(content)
			if err != nil {
				if !errors.Is(err, dockerconfig.ErrMalformed) {
					t.Fatalf("error %v is of no class", err)
				}
				continue
			}
			file, err := config.MarshalAuthFile()
			if err != nil {
				t.Fatalf("marshalling what was parsed: %v", err)
			}
			again, err := dockerconfig.ParseDockerConfigJSON(file)
			if err != nil {
				t.Fatalf("the file that was made of %q cannot be read: %v", content, err)
			}
			for _, key := range config.Keys() {
				host, path, _ := strings.Cut(key, "/")
				credential, found := config.Lookup(host, path)
				if !found && path == strings.Trim(path, "/") {
					t.Fatalf("key %q is not found again", key)
				}
				if kept, _ := again.Lookup(host, path); plainKey.MatchString(key) && kept != credential {
					t.Fatalf("key %q has another credential in the file", key)
				}
			}
		}
	})
}
