package gitaddress

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Address is a repository's.
type Address struct {
	// Plain is for the command line and for people: it has no password.
	Plain string
	// Login is what the URI had, and Server where it is good; nil unless that is http or
	// https.
	Login  *url.Userinfo
	Server *url.URL
}

// scpPattern is ssh's other form, [user@]host:path (git-clone, GIT URLS).
var scpPattern = regexp.MustCompile(`^(?:[\w.~+-]+@)?(?:\w[\w.-]*|\[[0-9a-fA-F:]+\]):[^:-].*$`)

const use = "use https://host/path, ssh://user@host/path or user@host:path"

// Read reads spec.source.git.uri. Its errors say what that is, and do not show it, for
// it may have a password.
func Read(uri string) (Address, error) {
	switch {
	case uri == "":
		return Address{}, errors.New("is required; " + use)
	case strings.HasPrefix(uri, "-"):
		return Address{}, errors.New("must not begin with a dash; " + use)
	case !strings.Contains(uri, "://") && scpPattern.MatchString(uri):
		if before, _, _ := strings.Cut(uri, "/"); strings.Contains(before, ":") && strings.Index(before, "@") > strings.Index(before, ":") {
			return Address{}, noPassword("ssh")
		}
		return Address{Plain: uri}, nil
	}
	parsed, err := url.Parse(uri)
	if err != nil {
		return Address{}, errors.New("is no URL; " + use)
	}
	switch parsed.Scheme {
	case "http", "https", "ssh", "git":
	default:
		return Address{}, errors.New("cannot be reached from a pod; " + use)
	}
	// ssh takes what begins with a dash for an option.
	if parsed.Host == "" || strings.HasPrefix(parsed.Host, "-") {
		return Address{}, errors.New("names no host; " + use)
	}
	if parsed.Scheme == "ssh" || parsed.Scheme == "git" {
		if _, found := parsed.User.Password(); found {
			return Address{}, noPassword(parsed.Scheme)
		}
		return Address{Plain: uri}, nil
	}
	out := Address{Login: parsed.User, Server: &url.URL{Scheme: parsed.Scheme, Host: parsed.Host}}
	parsed.User = nil
	out.Plain = parsed.String()
	return out, nil
}

func noPassword(scheme string) error {
	return fmt.Errorf("has a password, which %s does not use; put ssh-privatekey into the Secret of spec.source.sourceSecret", scheme)
}
