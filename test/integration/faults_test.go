package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fault is a way for a request to fail.
type fault func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error)

// faults are the ways that an API server has, and a network.
var faults = map[string]fault{
	"conflict": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return status(r, http.StatusConflict, metav1.StatusReasonConflict), nil
	},
	"too many requests": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return status(r, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests), nil
	},
	"server error": func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return status(r, http.StatusInternalServerError, metav1.StatusReasonInternalError), nil
	},
	"connection lost before": func(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
		return nil, io.ErrUnexpectedEOF
	},
	"connection lost after": func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if response, err := send(); err == nil {
			_ = response.Body.Close() // the answer is what gets lost
		}
		return nil, io.ErrUnexpectedEOF
	},
}

func status(r *http.Request, code int, reason metav1.StatusReason) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"induced"}`, reason, code)
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)),
	}
}
