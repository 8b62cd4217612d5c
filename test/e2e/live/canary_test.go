package live

import (
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCanaryIsFoundInEveryForm(t *testing.T) {
	c := NewCanary()
	if other := NewCanary(); len(other.Password) != len(c.Password) || other.Password == c.Password {
		t.Fatalf("two canaries are %q and %q", c.Password, other.Password)
	}
	n := needlesOf(Login{Password: "another"}, c)
	for name, text := range map[string]string{
		"as it is":       "login " + c.Password + " refused",
		"in an auth":     base64.StdEncoding.EncodeToString([]byte(c.User + ":" + c.Password)),
		"in a document":  base64.StdEncoding.EncodeToString([]byte(`{"auths":{"h":{"password":"` + c.Password + `"}}}`)),
		"one byte later": base64.StdEncoding.EncodeToString([]byte(`{ "auths":{"h":{"password":"` + c.Password + `"}}}`)),
		"two later":      base64.StdEncoding.EncodeToString([]byte(`{  "auths":{"h":{"password":"` + c.Password + `"}}}`)),
		"in a URL":       base64.URLEncoding.EncodeToString([]byte("x" + c.Password)),
	} {
		if !regexp.MustCompile(c.Pattern()).MatchString(text) {
			t.Errorf("%s: %q does not match %q", name, c.Pattern(), text)
		}
		if !n.in([]byte(text)) {
			t.Errorf("%s: not found in %q", name, text)
		}
		long := strings.Repeat("-", 300<<10) + text
		if found, err := n.inStream(iotest.OneByteReader(strings.NewReader(long))); !found || err != nil {
			t.Errorf("%s: not found in a stream (%v)", name, err)
		}
	}
	if regexp.MustCompile(c.Pattern()).MatchString(c.Pattern()) {
		t.Errorf("the pattern %q matches itself", c.Pattern())
	}
	for _, text := range []string{"", c.User, c.Password[:12], strings.Repeat("canary", 100000)} {
		from := strings.NewReader(text)
		found, err := n.inStream(from)
		if n.in([]byte(text)) || found || err != nil || from.Len() > 0 {
			t.Errorf("found in %.40q: %v with %d bytes to go, %v", text, found, from.Len(), err)
		}
	}
	if _, err := n.inStream(iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("a stream that breaks is taken as searched")
	}
}
