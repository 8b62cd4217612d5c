package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Credential is what one registry, or one path below it, is logged in to with.
// It formats as a redacted text under every verb of package fmt.
type Credential struct {
	Username      string
	Password      string
	IdentityToken string // OAuth2 refresh token, exchanged at the token server
	RegistryToken string // sent to the registry as it is
}

// IsZero says whether the credential holds nothing: an anonymous access.
func (c Credential) IsZero() bool { return c == Credential{} }

// Format implements fmt.Formatter, so that no verb prints a secret.
func (c Credential) Format(f fmt.State, _ rune) {
	if c.IsZero() {
		fmt.Fprint(f, "anonymous")
		return
	}
	fmt.Fprint(f, "[redacted credential]")
}

// Config maps registries and repository path prefixes to credentials. The zero
// value and nil hold none.
type Config struct {
	entries map[string]entry
}

// Format implements fmt.Formatter: no verb prints more than the registries.
func (c *Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials for %v", c.Keys())
}

type entry struct {
	credential Credential
	legacy     bool // the key was a URL: "https://quay.io/v1/"
}

// dockerHub is the name that image references use; its API hosts are aliases.
const dockerHub = "docker.io"

// normalizeKey brings a key to the form host[:port][/path], and says whether it
// was written as a URL, which ranks behind a plain one.
func normalizeKey(key string) (normalized string, legacy bool) {
	normalized = strings.TrimSpace(key)
	for _, scheme := range []string{"https://", "http://"} {
		if rest, found := strings.CutPrefix(normalized, scheme); found {
			normalized, legacy = rest, true
		}
	}
	normalized = strings.TrimRight(normalized, "/")
	if legacy {
		for _, version := range []string{"/v1", "/v2"} {
			normalized = strings.TrimSuffix(normalized, version)
		}
	}
	host, path, hasPath := strings.Cut(normalized, "/")
	host = canonicalHost(host)
	if hasPath {
		// Docker Hub's own configuration says index.docker.io/v1 without a scheme too.
		if host == dockerHub && (path == "v1" || path == "v2") {
			return host, true
		}
		return host + "/" + path, legacy
	}
	return host, legacy
}

func canonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return host
}

func (c *Config) add(key string, credential Credential) {
	normalized, legacy := normalizeKey(key)
	old, exists := c.entries[normalized]
	if exists && (!old.legacy || legacy) {
		return
	}
	if c.entries == nil {
		c.entries = map[string]entry{}
	}
	c.entries[normalized] = entry{credential: credential, legacy: legacy}
}

// Merge returns one Config with the entries of all of them. The first config
// that has a key wins; nil ones are skipped.
func Merge(configs ...*Config) *Config {
	merged := &Config{entries: map[string]entry{}}
	for _, config := range configs {
		if config == nil {
			continue
		}
		for key, e := range config.entries {
			if _, exists := merged.entries[key]; !exists {
				merged.entries[key] = e
			}
		}
	}
	return merged
}

// Lookup returns the credential for a repository ("library/busybox") of a
// registry ("docker.io", "quay.io:443"). The most specific path prefix wins,
// then the bare host; path prefixes end at a slash. The second result is false
// when there is none: access is anonymous then.
func (c *Config) Lookup(registry, repository string) (Credential, bool) {
	if c == nil {
		return Credential{}, false
	}
	host := canonicalHost(registry)
	for path := strings.Trim(repository, "/"); path != ""; {
		if e, found := c.entries[host+"/"+path]; found {
			return e.credential, true
		}
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	e, found := c.entries[host]
	return e.credential, found
}

// Keys returns the registries and path prefixes that have a credential, sorted.
// They are safe to print.
func (c *Config) Keys() []string {
	if c == nil {
		return nil
	}
	keys := make([]string, 0, len(c.entries))
	for key := range c.entries {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

type authFileEntry struct {
	Auth          string `json:"auth,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// MarshalAuthFile returns the content of a containers-auth.json(5) file. It
// holds the secrets: it belongs in memory, or in a file only the tool that needs
// it can reach.
func (c *Config) MarshalAuthFile() ([]byte, error) {
	auths := map[string]authFileEntry{}
	for _, key := range c.Keys() {
		credential := c.entries[key].credential
		out := authFileEntry{IdentityToken: credential.IdentityToken, RegistryToken: credential.RegistryToken}
		if credential.Username != "" || credential.Password != "" {
			out.Auth = base64.StdEncoding.EncodeToString([]byte(credential.Username + ":" + credential.Password))
		}
		auths[key] = out
	}
	return json.Marshal(map[string]any{"auths": auths})
}

// Secrets returns every text that must not be shown: passwords, tokens, and the
// encoded form in which they stand in auth files and HTTP headers.
func (c *Config) Secrets() []string {
	if c == nil {
		return nil
	}
	var secrets []string
	for _, key := range c.Keys() {
		credential := c.entries[key].credential
		secrets = append(secrets, credential.Password, credential.IdentityToken, credential.RegistryToken)
		if credential.Password != "" {
			secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(credential.Username+":"+credential.Password)))
		}
	}
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}
