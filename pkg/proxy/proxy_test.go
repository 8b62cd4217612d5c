package proxy

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for text, want := range map[string]error{
		"":                             nil,
		"http://proxy.example.com":     nil,
		"http://proxy.example.com:1/":  nil,
		"https://u:p%40ss@10.0.0.1:31": nil,
		"proxy.example.com:3128":       errScheme,
		"u:hunter2@proxy:3128":         errScheme,
		"socks5://proxy:1080":          errScheme,
		"http://u:hun ter2@proxy":      errMalformed,
		"http://u:hunter2@":            errHost,
		"http://proxy/hunter2":         errMore,
		"http://proxy?hunter2=x":       errMore,
	} {
		err := Check(text)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v shows the password", text, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	c := Config{HTTP: "http://u:hunter%2F2@proxy:1", HTTPS: "http://proxy:1"}
	for _, want := range []string{"hunter/2", "hunter%2F2", "dTpodW50ZXIvMg=="} {
		if !slices.Contains(c.Secrets(), want) {
			t.Errorf("%q is not among the secrets %q", want, c.Secrets())
		}
	}
	if got := (Config{HTTP: "http://t%2Foken@proxy", No: "x"}).Secrets(); !slices.Contains(got, "t/oken") || !slices.Contains(got, "t%2Foken") {
		t.Errorf("secrets without a password: %q", got)
	}
	if got := (Config{HTTP: "http://proxy", No: "x"}).Secrets(); len(got) > 0 {
		t.Errorf("secrets without a login: %q", got)
	}
}

func TestFor(t *testing.T) {
	choose := Config{HTTP: "http://one:1", HTTPS: "http://two:2", No: ".svc,10.0.0.0/8,direct.example.com"}.For()
	for target, want := range map[string]string{
		"https://registry.example.com/v2/":  "http://two:2",
		"http://registry.example.com/":      "http://one:1",
		"https://registry.ns.svc:5000/v2/":  "",
		"https://10.1.2.3/v2/":              "",
		"https://direct.example.com:8443/x": "",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		through, err := choose(u)
		if got := ""; err != nil || through != nil && through.String() != want || through == nil && got != want {
			t.Errorf("%s goes through %v, %v, want %q", target, through, err, want)
		}
	}
}

// FuzzSecrets: whatever URL is accepted, its password is known as a secret.
func FuzzSecrets(f *testing.F) {
	f.Add("http://user:password@proxy:3128")
	f.Add("https://u:p%20x@proxy")
	f.Fuzz(func(t *testing.T, text string) {
		c := Config{HTTP: text}
		if c.Check() != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("%q was accepted: %v", text, err)
		}
		if password, found := u.User.Password(); found && !slices.Contains(c.Secrets(), password) {
			t.Errorf("the password of %q is not among %q", text, c.Secrets())
		}
	})
}
