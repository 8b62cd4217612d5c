package gitaddress

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for uri, want := range map[string]string{
		"https://u:hunter2@example.com/a": "https://example.com/a",
		"git@example.com:a/b.git":         "git@example.com:a/b.git",
		"example.com:a/b.git":             "example.com:a/b.git",
		"ssh://git@example.com:22/a":      "ssh://git@example.com:22/a",
		"git://example.com/a":             "git://example.com/a",
		"git@example.com:/srv/b.git":      "git@example.com:/srv/b.git",
		"git@example.com:a@b.git":         "git@example.com:a@b.git",
		"git@[::1]:a/b.git":               "git@[::1]:a/b.git",
	} {
		if got, err := Read(uri); err != nil || got.Plain != want {
			t.Errorf("%s: %+v, %v", uri, got, err)
		}
	}
	for _, uri := range []string{"", "-x", "/tmp/x", "./x", "ext::sh", "https://u:hunter2@exa mple", "--upload-pack=x:y", "a:-x", "http:", "ssh:///x", "git+ssh://h/x", "ssh://u:hunter2@h/x", "u:hunter2@example.com:app.git", "ssh://-oProxyCommand=x/a", "file:///x"} {
		if got, err := Read(uri); err == nil {
			t.Errorf("%q is accepted as %+v", uri, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// helper is an address that git has a program of its own read (gitremote-helpers).
var helper = regexp.MustCompile(`^[^:/\[]*::`)

// FuzzAddress reads anything: an address that git is given shows no password, and is
// no option.
func FuzzAddress(f *testing.F) {
	for _, uri := range []string{"https://u:p%40ss@example.com/a?b#c", "git@example.com:a/b.git", "ssh://git@[::1]:22/a", "ext::sh -c id", "https://@x", "http:", "http://\x84", "ssh://-o/x", "a@-o:x", "a:b@c:d", "0:0::"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got, err := Read(uri)
		if err != nil {
			return
		}
		if strings.HasPrefix(got.Plain, "-") || got.Plain == "" {
			t.Errorf("%q becomes %q", uri, got.Plain)
		}
		if helper.MatchString(uri) || strings.Contains(uri, "://-") || strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "/") {
			t.Errorf("%q passes", uri)
		}
		if parsed, err := url.Parse(got.Plain); err == nil && parsed.User != nil {
			if _, found := parsed.User.Password(); found {
				t.Errorf("%q becomes %q", uri, got.Plain)
			}
		}
		if before, _, found := strings.Cut(got.Plain, "@"); found && !strings.Contains(uri, "/") && strings.Contains(before, ":") {
			t.Errorf("%q becomes %q", uri, got.Plain)
		}
		if got.Server != nil && !strings.HasPrefix(got.Plain, got.Server.String()) {
			t.Errorf("%q becomes %q on %q", uri, got.Plain, got.Server)
		}
	})
}
