package gitsource

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// address is a repository's.
type address struct {
	plain string // for the command line and for people: without a password
	// login is what the URI had, and server where it is good; nil unless that is http or
	// https.
	login  *url.Userinfo
	server *url.URL
}

// scpPattern is ssh's other form, [user@]host:path (git-clone, GIT URLS).
var scpPattern = regexp.MustCompile(`^(?:[\w.~+-]+@)?(?:\w[\w.-]*|\[[0-9a-fA-F:]+\]):[^:-].*$`)

// readAddress reads spec.source.git.uri. Its errors do not show the URI, which may
// have a password.
func readAddress(uri string) (address, error) {
	switch {
	case uri == "":
		return address{}, errors.New("spec.source.git.uri is empty; name a repository by https, http, ssh or git")
	case strings.HasPrefix(uri, "-"):
		return address{}, errors.New("spec.source.git.uri begins with -; name a repository by https, http, ssh or git")
	case !strings.Contains(uri, "://") && scpPattern.MatchString(uri):
		return address{plain: uri}, nil
	}
	parsed, err := url.Parse(uri)
	if err != nil {
		return address{}, errors.New("spec.source.git.uri does not parse as a URL")
	}
	switch parsed.Scheme {
	case "http", "https", "ssh", "git":
		if parsed.Host == "" {
			return address{}, errors.New("spec.source.git.uri names no host")
		}
	}
	switch parsed.Scheme {
	case "http", "https":
	case "ssh", "git":
		if _, found := parsed.User.Password(); found {
			return address{}, fmt.Errorf("spec.source.git.uri has a password, which %s does not use; put ssh-privatekey into the Secret of spec.source.sourceSecret", parsed.Scheme)
		}
		return address{plain: uri}, nil
	default:
		return address{}, fmt.Errorf("spec.source.git.uri has the scheme %q; allowed are https, http, ssh, git, and host:path for ssh", parsed.Scheme)
	}
	out := address{login: parsed.User, server: &url.URL{Scheme: parsed.Scheme, Host: parsed.Host}}
	parsed.User = nil
	out.plain = parsed.String()
	return out, nil
}
