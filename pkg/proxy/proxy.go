package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Config is one set of settings. A URL may hold a login, so a Config is printed
// nowhere.
type Config struct {
	HTTP, HTTPS string
	// No lists hosts, domains and networks, separated by commas.
	No string
}

// IsZero is true when nothing is set: what is not told goes by the environment.
func (c Config) IsZero() bool { return c == Config{} }

// Errors of Check.
var (
	errMalformed = errors.New("is no URL; use http://host:port, and write what is special in a user or password as %XX")
	errScheme    = errors.New("has no scheme http or https; use http://host:port")
	errHost      = errors.New("names no host; use http://host:port")
	errMore      = errors.New("has more than a host and a port; use http://host:port")
)

// Check returns what is wrong with the URL of a proxy, in words that show
// nothing of it. Empty means none.
func Check(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://"):
		return errScheme
	case err != nil:
		return errMalformed
	case u.Hostname() == "":
		return errHost
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return errMore
	}
	return nil
}

// Check returns what is wrong with the URLs.
func (c Config) Check() error {
	for _, u := range []string{c.HTTP, c.HTTPS} {
		if err := Check(u); err != nil {
			return fmt.Errorf("the proxy's address %w", err)
		}
	}
	return nil
}

// HasLogin is true when a URL names a user.
func HasLogin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.User != nil
}

// Secrets are what must not be shown of the settings.
func (c Config) Secrets() []string {
	var secrets []string
	for _, text := range []string{c.HTTP, c.HTTPS} {
		u, err := url.Parse(text)
		if err != nil || u.User == nil {
			continue
		}
		password, found := u.User.Password()
		if !found { // then the user is all that there is of a login
			secrets = append(secrets, u.User.Username(), url.QueryEscape(u.User.Username()))
			continue
		}
		// As it stands in the URL, as it is meant, and as it is sent (RFC 7617).
		login, _, _ := strings.Cut(text[strings.Index(text, "://")+len("://"):], "@"+u.Host)
		_, written, _ := strings.Cut(login, ":")
		secrets = append(secrets, password, written, url.QueryEscape(password),
			base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	return secrets
}

// For returns what says which proxy a request for a URL goes through, if any.
func (c Config) For() func(*url.URL) (*url.URL, error) {
	return (&httpproxy.Config{HTTPProxy: c.HTTP, HTTPSProxy: c.HTTPS, NoProxy: c.No}).ProxyFunc()
}

// Variables are the names of the environment variables.
var Variables = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

// Environment is the settings as variables; curl reads the lower-case ones.
func (c Config) Environment() []string {
	var environment []string
	for i, value := range []string{c.HTTP, c.HTTPS, c.No, c.HTTP, c.HTTPS, c.No} {
		if value != "" {
			environment = append(environment, Variables[i]+"="+value)
		}
	}
	return environment
}
