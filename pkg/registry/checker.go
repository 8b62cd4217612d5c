package registry

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// Question asks what a pullspec names at present.
type Question struct {
	Pullspec    string
	Credentials *dockerconfig.Config
	CAs         [][]byte
	Proxy       proxy.Config
}

// secrets are what must not be shown of a question; what it is answered may quote them.
func (q Question) secrets() []string {
	return append(q.Credentials.Secrets(), q.Proxy.Secrets()...)
}

// Answer is what the registry said, and when.
type Answer struct {
	Info Info
	Err  error // one of this package's classes
	// Secrets are what must not be shown of Err.
	Secrets []string
	At      time.Time
}

// CheckerOptions configure a Checker.
type CheckerOptions struct {
	Workers  int           // default 4
	Timeout  time.Duration // for one question, default 30 s
	MaxAge   time.Duration // of a good answer, or of ErrNotFound; default 10 min
	ErrorAge time.Duration // of any other failure; default 15 s
	Clock    clock.PassiveClock
	// Notify is called with the key when its answer is there, from a worker.
	Notify func(key string)
	// Inspect answers one question; nil asks the registry.
	Inspect func(ctx context.Context, question Question) (Info, error)
}

// Checker puts questions to registries in the background, so that a control
// loop never waits for one: it asks, goes on, and is notified.
type Checker struct {
	options CheckerOptions
	mu      sync.Mutex
	entries map[string]*inquiry
	waiting []*inquiry
	wake    chan struct{} // holds one token while there may be work
}

type inquiry struct {
	key      string
	question Question
	answer   *Answer
}

// NewChecker returns a Checker that works once Run is called.
func NewChecker(options CheckerOptions) *Checker {
	setDefault(&options.Workers, 4)
	setDefault(&options.Timeout, 30*time.Second)
	setDefault(&options.MaxAge, 10*time.Minute)
	setDefault(&options.ErrorAge, 15*time.Second)
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Notify == nil {
		options.Notify = func(string) {}
	}
	if options.Inspect == nil {
		options.Inspect = inspectOnce
	}
	return &Checker{options: options, entries: map[string]*inquiry{}, wake: make(chan struct{}, 1)}
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// inspectOnce leaves repeating to whoever asks again.
func inspectOnce(ctx context.Context, question Question) (Info, error) {
	client, err := NewClient(Options{Credentials: question.Credentials, CAs: question.CAs, Proxy: question.Proxy, Retry: Retry{Tries: 1}})
	if err != nil {
		return Info{}, err
	}
	defer client.Close()
	return client.Inspect(ctx, question.Pullspec)
}

// Run answers questions until the context ends, then waits for its workers.
func (c *Checker) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range c.options.Workers {
		workers.Go(func() { c.work(ctx) })
	}
	workers.Wait()
}

// Asked returns the answer for a key and a pullspec, nil while there is none;
// false when that was not asked, or is to be asked again because the answer is
// too old. It spares whoever asks the reading of credentials.
func (c *Checker) Asked(key, pullspec string) (*Answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.good(key, pullspec)
	if entry == nil {
		return nil, false
	}
	return entry.answer, true
}

// Ask puts a question for a key in the place of its question before. One that
// was put already and is not answered, or whose answer is good, is left alone.
func (c *Checker) Ask(key string, question Question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good(key, question.Pullspec) != nil {
		return
	}
	entry := &inquiry{key: key, question: question}
	c.entries[key] = entry
	c.waiting = append(c.waiting, entry)
	c.signal()
}

// Forget drops a key's question and answer; one that is under way is not notified.
func (c *Checker) Forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}

// good is what a key asked about a pullspec, unless the answer is too old; nil
// when there is no such thing.
func (c *Checker) good(key, pullspec string) *inquiry {
	entry := c.entries[key]
	if entry == nil || entry.question.Pullspec != pullspec {
		return nil
	}
	if entry.answer == nil {
		return entry
	}
	limit := c.options.MaxAge
	if entry.answer.Err != nil && !isNotFound(entry.answer.Err) {
		limit = c.options.ErrorAge
	}
	if c.options.Clock.Since(entry.answer.At) >= limit {
		return nil
	}
	return entry
}

func (c *Checker) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Checker) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for entry := c.next(); entry != nil && ctx.Err() == nil; entry = c.next() {
			c.ask(ctx, entry)
		}
	}
}

// next takes the oldest question that is still wanted, and wakes another worker
// when there are more.
func (c *Checker) next() *inquiry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 {
		entry := c.waiting[0]
		c.waiting = c.waiting[1:]
		if c.entries[entry.key] != entry {
			continue
		}
		if len(c.waiting) > 0 {
			c.signal()
		}
		return entry
	}
	return nil
}

func (c *Checker) ask(ctx context.Context, entry *inquiry) {
	limited, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	info, err := c.options.Inspect(limited, entry.question)
	if ctx.Err() != nil {
		return // stopping: nobody is left to hear it
	}
	c.mu.Lock()
	wanted := c.entries[entry.key] == entry
	if wanted {
		entry.answer = &Answer{Info: info, Err: err, At: c.options.Clock.Now()}
		if err != nil {
			entry.answer.Secrets = entry.question.secrets()
		}
		// There is an entry for each pool, and credentials are large.
		entry.question = Question{Pullspec: entry.question.Pullspec}
	}
	c.mu.Unlock()
	if wanted {
		c.options.Notify(entry.key)
	}
}
