package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	known := New("hunter2secret", "hunter2", "abc", "")
	for name, row := range map[string]struct{ in, want string }{
		"known":                    {"login with hunter2 failed", "login with [redacted] failed"},
		"the longer one":           {"hunter2secret!", "[redacted]!"},
		"too short to be hidden":   {"abc", "abc"},
		"nothing to hide":          {"STEP 3/7: RUN dnf install -y vim", "STEP 3/7: RUN dnf install -y vim"},
		"basic":                    {"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"},
		"bearer in JSON":           {`{"Authorization": "Bearer abcdef"}`, `{"Authorization": "Bearer [redacted]"}`},
		"bearer alone":             {"bearer 0123456789abcdef0123", "bearer [redacted]"},
		"bearer of bad news":       {"the bearer of bad news", "the bearer of bad news"},
		"URL":                      {"GET https://user:pa%20ss@registry.example.com/v2/", "GET https://[redacted]@registry.example.com/v2/"},
		"URL without":              {"GET https://registry.example.com/v2/os@sha256:00", "GET https://registry.example.com/v2/os@sha256:00"},
		"auth file":                {`{"auths":{"quay.io":{"auth":"dTpw"}}}`, `{"auths":{"quay.io":{"auth":"[redacted]"}}}`},
		"assignment":               {"RUN MY_TOKEN=xyz make; DB_PASSWORD='a b'", "RUN MY_TOKEN=[redacted] make; DB_PASSWORD='[redacted] b'"},
		"flag":                     {"curl --api-key=q1w2 x", "curl --api-key=[redacted] x"},
		"JSON web token":           {"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.c2lnbmF0dXJl", "got [redacted]"},
		"digest is not a secret":   {"pushed sha256:0123456789abcdef", "pushed sha256:0123456789abcdef"},
		"name of a Secret":         {"Secret/push-secret does not exist", "Secret/push-secret does not exist"},
		"pullspec with a tag":      {"registry.example.com:5000/os:rendered-a", "registry.example.com:5000/os:rendered-a"},
		"exit code of a step":      {"line 3 failed with exit code 2: RUN false", "line 3 failed with exit code 2: RUN false"},
		"e-mail":                   {"maintainer <a@example.com>", "maintainer <a@example.com>"},
		"several in one line":      {"hunter2 hunter2", "[redacted] [redacted]"},
		"password with no value":   {"password:", "password:"},
		"the word in a sentence":   {"the token expired", "the token expired"},
		"an environment's listing": {"REGISTRY_PASS=1 SECRET_KEY: zz", "REGISTRY_PASS=1 SECRET_KEY: [redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := known.Text(row.in); got != row.want {
				t.Errorf("%q becomes %q, want %q", row.in, got, row.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	var zero *Redactor
	got := zero.Lines([]string{"before", "-----BEGIN EC PRIVATE KEY-----", "MHcCAQ", "-----END EC PRIVATE KEY-----", "after", "-----BEGIN CERTIFICATE-----"})
	want := []string{"before", Mark, "after", "-----BEGIN CERTIFICATE-----"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if zero.Lines(nil) != nil {
		t.Error("no lines become some")
	}
}

// FuzzText: a known secret is in no text that comes out, whatever is around it.
func FuzzText(f *testing.F) {
	f.Add("password=", "hunter2", " and more")
	f.Add("https://", "user:pass", "@host")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		if len(secret) < shortest || strings.Contains(Mark, secret) {
			t.Skip("not a secret that is hidden")
		}
		if got := New(secret).Text(before + secret + after); strings.Contains(got, secret) && !strings.Contains(strings.ReplaceAll(before+secret+after, secret, Mark), secret) {
			t.Errorf("%q is still in %q", secret, got)
		}
	})
}
