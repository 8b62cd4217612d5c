package redact

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

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
		"URL with @ in a password": {"GET http://user:p@ss@proxy.example.com:3128/", "GET http://[redacted]@proxy.example.com:3128/"},
		"signed URL":               {"GET https://s3.example.com/b?X-Amz-Credential=me/x&X-Amz-Signature=abc%3D&part=1: 403", "GET https://s3.example.com/b?X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]&part=1: 403"},
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
		"key on one line":          {"step 3 failed: RUN echo -----BEGIN PRIVATE KEY----- MIIE -----END PRIVATE KEY----- > k", "step 3 failed: RUN echo [redacted] > k"},
		"key cut off at its end":   {"step 3 failed: RUN echo -----BEGIN PRIVATE KEY----- MIIEvQ IBADANBg", "step 3 failed: RUN echo [redacted]"},
		"key on several lines":     {"it said:\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nand more", "it said:\n[redacted]\nand more"},
		"our own lines and a tab":  {"first:\n\tsecond", "first:\n\tsecond"},
		"a coloured line":          {"\x1b[1;31merror\x1b[0m: \x1b(Bbad", "error: bad"},
		"a title and a link":       {"\x1b]0;title\x07a \x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\ b", "a link b"},
		"a string for the device":  {"a\x1bP+q544e\x1b\\b", "ab"},
		"a sequence without end":   {"a\x1b]0;title", "a0;title"},
		"C0, DEL and C1":           {"a\x00b\x08c\x7fd\u0085e\u009b31mf\rg", "abcdefg"},
		"a bare C1 byte":           {"a\x9b31mb", "a\ufffd31mb"},
		"known, in colours":        {"login with hun\x1b[1mter2\x1b[0m failed", "login with [redacted] failed"},
		"an environment's listing": {"REGISTRY_PASS=1 SECRET_KEY: zz", "REGISTRY_PASS=1 SECRET_KEY: [redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := known.Text(row.in); got != row.want {
				t.Errorf("%q becomes %q, want %q", row.in, got, row.want)
			}
		})
	}
}

// keyLines are the body of a private key that takes n lines.
func keyLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = strings.Repeat(string(rune('A'+i%26)), 62) + "+/"
	}
	if n > 0 {
		lines[n-1] = "c2hvcnQ="
	}
	return lines
}

const (
	beginKey = "-----BEGIN RSA PRIVATE KEY-----"
	endKey   = "-----END RSA PRIVATE KEY-----"
)

func TestLines(t *testing.T) {
	key := keyLines(50)
	hash := strings.Repeat("0123456789abcdef", 4)
	for name, row := range map[string]struct{ in, want []string }{
		"whole": {
			[]string{"before", "-----BEGIN EC PRIVATE KEY-----", "MHcCAQ", "-----END EC PRIVATE KEY-----", "after", "-----BEGIN CERTIFICATE-----"},
			[]string{"before", Mark, "after", "-----BEGIN CERTIFICATE-----"},
		},
		"with anything between": {
			[]string{beginKey, "1: MHcCAQ", "- 2", endKey, "after"},
			[]string{Mark, "after"},
		},
		"two": {
			slices.Concat([]string{beginKey}, key, []string{endKey, beginKey}, key, []string{endKey}),
			[]string{Mark, Mark},
		},
		"begin cut off": {
			slices.Concat(key[31:], []string{endKey, "error: no"}),
			[]string{Mark, "error: no"},
		},
		"begin cut off, after another part": {
			slices.Concat([]string{"==> prepare", "pulled it", "==> image-build"}, key[31:], []string{endKey}),
			[]string{"==> prepare", "pulled it", "==> image-build", Mark},
		},
		"begin cut off, behind a prefix": {
			[]string{"all is well", "out | " + key[0], "out | " + key[1], "out | " + endKey},
			[]string{"all is well", Mark},
		},
		"begin cut off, in quotes": {
			[]string{key[0], "YWJj", endKey + `"}`},
			[]string{Mark},
		},
		"end without anything": {
			[]string{"RUN grep the key", endKey, "after"},
			[]string{"RUN grep the key", Mark, "after"},
		},
		"end cut off": {
			slices.Concat([]string{beginKey, "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,00", ""}, key[:20]),
			[]string{Mark},
		},
		"begin alone does not hide what cannot be of a key": {
			[]string{"x", beginKey, "", key[0], "error: disk full", key[0], "==> push", "failed (PushFailed): denied"},
			[]string{"x", Mark, "error: disk full", key[0], "==> push", "failed (PushFailed): denied"},
		},
		"begin and end in two parts": {
			[]string{"==> image-build", beginKey, key[0], "==> push", "pushing it all", endKey, "failed"},
			[]string{"==> image-build", Mark, "==> push", "pushing it all", Mark, "failed"},
		},
		"two begin, one ends": {
			[]string{beginKey, "why: this", beginKey, key[0], endKey, "ok: done"},
			[]string{Mark, "why: this", Mark, "ok: done"},
		},
		"a certificate after a begin alone": {
			slices.Concat([]string{beginKey, "-----BEGIN CERTIFICATE-----"}, key, []string{"-----END CERTIFICATE-----"}),
			slices.Concat([]string{Mark, "-----BEGIN CERTIFICATE-----"}, key, []string{"-----END CERTIFICATE-----"}),
		},
		"neither begin nor end": {
			slices.Concat([]string{"out:"}, key[10:], []string{"error: no"}),
			[]string{"out:", Mark, "error: no"},
		},
		"of OpenSSH, neither begin nor end": {
			[]string{strings.Repeat("b", 69) + "Q", strings.Repeat("c", 69) + "Q", strings.Repeat("d", 69) + "Q", "two words"},
			[]string{Mark, "two words"},
		},
		"two lines may be anything": {key[:2], key[:2]},
		"hashes":                    {[]string{hash, hash, hash}, []string{hash, hash, hash}},
		"a certificate cut off":     {slices.Concat(key, []string{"-----END CERTIFICATE-----"}), slices.Concat(key, []string{"-----END CERTIFICATE-----"})},
		"a certificate":             {slices.Concat([]string{"-----BEGIN CERTIFICATE-----"}, key[:9]), slices.Concat([]string{"-----BEGIN CERTIFICATE-----"}, key[:9])},
		"in colours":                {[]string{"\x1b[1m-----BEGIN \x1b[0mPRIVATE KEY-----", "MHcCAQ", endKey, "\x1b[32mok\x1b[0m"}, []string{Mark, "ok"}},
		"several lines in one":      {[]string{"a\nb", "c\r\n" + beginKey + "\nMHcCAQ", endKey}, []string{"a", "b", "c", Mark}},
		"of PGP":                    {[]string{"-----BEGIN PGP PRIVATE KEY BLOCK-----", "", "lQVYB", "=abcd", "-----END PGP PRIVATE KEY BLOCK-----"}, []string{Mark}},
		"none":                      {[]string{}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			var zero *Redactor
			given := slices.Clone(row.in)
			if diff := cmp.Diff(row.want, zero.Lines(row.in)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(given, row.in); diff != "" {
				t.Errorf("the lines that were given are changed:\n%s", diff)
			}
		})
	}
	var zero *Redactor
	if zero.Lines(nil) != nil {
		t.Error("no lines become some")
	}
}

// FuzzLines: wherever a log is cut, no two lines of a key are left in it; what
// other containers said stays; and nothing in it moves a terminal's cursor.
func FuzzLines(f *testing.F) {
	f.Add("before\nit", "after\nit", 50, 0, 0)
	f.Add("a\n"+beginKey, "\x1b[2J"+endKey, 30, 12, 5)
	f.Add("==> prepare", beginKey+"\n==> x", 27, 3, 29)
	f.Add("-----BEGIN CERTIFICATE", "", 27, 3, 29)
	f.Fuzz(func(t *testing.T, before, after string, length, front, back int) {
		length = 4 + abs(length)%100
		key := slices.Concat([]string{beginKey}, keyLines(length), []string{endKey})
		front = abs(front) % len(key)
		back = abs(back) % (len(key) - front)
		if strings.Contains(clean(before), "-----") || strings.Contains(clean(after), "-----") {
			t.Skip("what is left is inside of something else")
		}
		cut := key[front : len(key)-back]
		log := slices.Concat([]string{before}, cut, []string{after, "==> push", "failed (PushFailed): it was denied"})
		got := New().Lines(log)
		for _, line := range got {
			if strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }) {
				t.Errorf("%q has control characters", line)
			}
		}
		if n := len(got); n < 2 || got[n-2] != "==> push" || got[n-1] != "failed (PushFailed): it was denied" {
			t.Errorf("the failure of another container is lost: %q", got)
		}
		if len(cut) < 5 {
			return // too little to be known for a key
		}
		for _, line := range got {
			if slices.Contains(keyLines(length), line) && !strings.Contains(before+after, line) {
				t.Errorf("a line of the key is left, cut %d and %d:\n%s", front, back, strings.Join(got, "\n"))
			}
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

// FuzzText: a known secret is in no text that comes out, whatever is around it.
func FuzzText(f *testing.F) {
	f.Add("password=", "hunter2", " and more")
	f.Add("https://", "user:pass", "@host")
	f.Add("\x1b[", "1mhunter2", "\x1b]")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		if len(secret) < shortest || strings.Contains(secret, Mark) || !utf8.ValidString(secret) {
			t.Skip("not a secret that is hidden; those of a registry come from JSON")
		}
		for i := 1; i <= len(Mark); i++ {
			if strings.HasPrefix(secret, Mark[len(Mark)-i:]) || strings.HasSuffix(secret, Mark[:i]) || strings.Contains(Mark, secret) {
				t.Skip("a mark can be a part of it")
			}
		}
		if got := New(secret).Text(before + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q is still in %q", secret, got)
		}
	})
}
