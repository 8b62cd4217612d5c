package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// The classes of errors.
var (
	// ErrNotFound: the registry answered that it has no such image.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized: the registry knows no such login, or wants one (401).
	ErrUnauthorized = errors.New("unauthorized")
	// ErrDenied: the login may not do that (403).
	ErrDenied = errors.New("access denied")
	// ErrRateLimited: too many requests (429).
	ErrRateLimited = errors.New("rate limited")
	// ErrUnavailable: no answer, or an answer that the registry is broken (5xx).
	ErrUnavailable = errors.New("registry unavailable")
	// ErrUnsupported: the registry does not offer that (405), or the image is of
	// a kind that this package does not handle.
	ErrUnsupported = errors.New("not supported")
	// ErrRejected: the registry refused the content of the request (other 4xx).
	ErrRejected = errors.New("request rejected")
	// ErrTLS: the registry's certificate is not trusted, or it does not speak TLS.
	ErrTLS = errors.New("TLS verification failed")
	// ErrProxy: the proxy does not lead there, for want of its login or by its rules.
	ErrProxy = errors.New("refused by the proxy")
	// ErrBlocked: the mirrors' configuration forbids asking the registry.
	ErrBlocked = errors.New("blocked")
	// ErrInvalidReference: the pullspec cannot be parsed.
	ErrInvalidReference = errors.New("invalid image reference")
	// ErrUnconfirmed: what was pushed is not what the registry has.
	ErrUnconfirmed = errors.New("not confirmed by the registry")
	// ErrCorrupt: what the registry returned does not match its digest or format.
	ErrCorrupt = errors.New("corrupt content")
)

// Error is what went wrong with one reference.
type Error struct {
	Class     error  // one of the Err… values
	Op        string // "resolving", "pushing", …
	Reference string
	Status    int    // HTTP status, 0 without an answer
	Detail    string // what the registry or the network said
	cause     error
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Op, e.Reference, e.Class)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap gives the class and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.cause}
}

// Temporary says whether trying again later can help without anybody acting.
func (e *Error) Temporary() bool {
	return errors.Is(e.Class, ErrUnavailable) || errors.Is(e.Class, ErrRateLimited)
}

// failure makes an *Error of whatever came back. Cancellation by the caller
// stays what it is; an error that has a class keeps it.
func failure(op, reference string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	var content contentError
	if errors.As(err, &content) {
		return fmt.Errorf("%s %s: %w", op, reference, content.error)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: %w", op, reference, err)
	}
	out := &Error{Op: op, Reference: reference, Detail: err.Error(), cause: err}
	out.Class = classify(err, out)
	return out
}

func classify(err error, out *Error) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		out.Status = answer.StatusCode
		out.Detail = answerDetail(answer)
		if unsupported(answer) {
			return ErrUnsupported
		}
		return classOfStatus(answer.StatusCode)
	}
	var proxy *proxyError
	if errors.As(err, &proxy) {
		out.Status, out.Detail = proxy.code, proxy.Error()
		return proxy.class()
	}
	// The library asks private addresses again without TLS, which is refused, and
	// reports both failures: the first one tells what is wrong.
	var first *url.Error
	if errors.As(err, &first) {
		out.Detail = first.Error()
	}
	var badName *name.ErrBadName
	var unknownAuthority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &badName):
		return ErrInvalidReference
	case errors.As(err, &verification), errors.As(err, &unknownAuthority), errors.As(err, &hostname),
		errors.As(err, &invalid), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return ErrTLS
	case errors.Is(err, ErrUnsupported):
		return ErrUnsupported
	case errors.Is(err, ErrCorrupt):
		return ErrCorrupt
	default:
		return ErrUnavailable
	}
}

// answerDetail is the registry's own words, or the status when it had none.
func answerDetail(answer *transport.Error) string {
	if len(answer.Errors) == 0 {
		return fmt.Sprintf("status %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	detail := ""
	for i, diagnostic := range answer.Errors {
		if i > 0 {
			detail += "; "
		}
		detail += string(diagnostic.Code)
		if diagnostic.Message != "" {
			detail += ": " + diagnostic.Message
		}
	}
	return detail
}

// unsupported is true for a registry that says so itself; some do with 400.
func unsupported(answer *transport.Error) bool {
	return slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return d.Code == transport.UnsupportedErrorCode })
}

func classOfStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusMethodNotAllowed:
		return ErrUnsupported
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusRequestTimeout, status >= 500, status == 499:
		return ErrUnavailable
	default:
		return ErrRejected
	}
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
