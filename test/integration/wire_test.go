package integration

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// errKilled is what a killed controller gets of every request.
var errKilled = errors.New("the process was killed")

// wire stands between a controller and the API server. It can do to requests
// and to watches what networks, servers and time do to them.
type wire struct {
	next  http.RoundTripper
	clock fastClock
	// around stands around every request that is no watch; about is its URL and body.
	around func(r *http.Request, about string, send func() (*http.Response, error)) (*http.Response, error)
	// lag is how long an event of a watch is held back; twice is true when it comes twice.
	lag   func() time.Duration
	twice func() bool

	mu      sync.Mutex
	dead    bool
	watches map[*lagging]string // by path
	expired map[string]bool
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.killed() {
		return nil, errKilled
	}
	r = r.Clone(r.Context())
	// Only of JSON can events be told apart and times be translated.
	r.Header.Set("Accept", onlyJSON(r.Header.Get("Accept")))
	if r.URL.Query().Get("watch") != "" {
		return w.watch(r)
	}
	about := r.URL.String()
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		about += string(body)
	}
	send := func() (*http.Response, error) {
		response, err := w.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		return response, w.translateBody(response)
	}
	response, err := w.around(r, about, send)
	if w.killed() {
		return nil, errKilled // whatever it was, nobody hears of it
	}
	return response, err
}

func onlyJSON(accept string) string {
	var kept []string
	for _, part := range strings.Split(accept, ",") {
		if strings.HasPrefix(strings.TrimSpace(part), "application/json") {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return "application/json"
	}
	return strings.Join(kept, ",")
}

func (w *wire) killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// kill lets nothing through from now on.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
}

var serverTime = regexp.MustCompile(`"(?:creation|deletion)Timestamp":"([^"]+)"`)

// translate turns the API server's times into those of the clock.
func (w *wire) translate(data []byte) []byte {
	if w.clock.factor == 1 {
		return data
	}
	return serverTime.ReplaceAllFunc(data, func(field []byte) []byte {
		text := string(serverTime.FindSubmatch(field)[1])
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return field
		}
		return bytes.Replace(field, []byte(text), []byte(w.clock.at(at).UTC().Format(time.RFC3339)), 1)
	})
}

func (w *wire) translateBody(response *http.Response) error {
	data, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	data = w.translate(data)
	response.Body = io.NopCloser(bytes.NewReader(data))
	response.ContentLength = int64(len(data))
	response.Header.Set("Content-Length", strconv.Itoa(len(data)))
	return err
}

func (w *wire) watch(r *http.Request) (*http.Response, error) {
	path := r.URL.Path + "?" + r.URL.Query().Get("fieldSelector")
	w.mu.Lock()
	expired := w.expired[path]
	delete(w.expired, path)
	w.mu.Unlock()
	if expired {
		return status(r, http.StatusGone, "Expired"), nil
	}
	response, err := w.next.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	l := newLagging(w, response.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches == nil {
		w.watches = map[*lagging]string{}
	}
	w.watches[l] = path
	response.Body = l
	return response, nil
}

// cut ends the watches of paths that contain a text. With expire the server no
// longer has what happened in between, so that it is never told.
func (w *wire) cut(containing string, expire bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l, path := range w.watches {
		if !strings.Contains(path, containing) {
			continue
		}
		if w.expired == nil {
			w.expired = map[string]bool{}
		}
		w.expired[path] = expire
		l.end(io.EOF)
		delete(w.watches, l)
	}
}

// lagging is the stream of a watch whose events come late, in their order.
type lagging struct {
	*io.PipeReader
	to    *io.PipeWriter
	inner io.ReadCloser
}

// event is a line of a stream and when it is let through.
type event struct {
	line []byte
	due  time.Time
}

func newLagging(w *wire, inner io.ReadCloser) *lagging {
	from, to := io.Pipe()
	l := &lagging{PipeReader: from, to: to, inner: inner}
	events := make(chan event, 10000)
	go func() {
		defer close(events)
		lines := bufio.NewReader(inner)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			line = w.translate(line)
			e := event{line, time.Now().Add(w.lag())}
			events <- e
			if w.twice() {
				events <- e
			}
		}
	}()
	go func() {
		for e := range events {
			<-time.After(time.Until(e.due))
			if _, err := to.Write(e.line); err != nil {
				break
			}
		}
		l.end(io.EOF)
	}()
	return l
}

func (l *lagging) end(err error) {
	_ = l.to.CloseWithError(err)
	_ = l.inner.Close()
}

// Close implements io.Closer.
func (l *lagging) Close() error {
	_ = l.PipeReader.Close()
	return l.inner.Close()
}
