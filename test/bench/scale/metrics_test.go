package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestQueueQuantile(t *testing.T) {
	text := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	defer server.Close()
	read := func(answer string) scrape {
		t.Helper()
		text = answer
		s, err := readMetrics(context.Background(), server.URL, "osbuild")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := read(`# HELP d Time.
d_bucket{name="osbuild",le="0.001"} 5
d_bucket{name="osbuild",le="0.004"} 5
d_bucket{name="osbuild",le="+Inf"} 5
d_count{name="osbuild"} 5
`)
	after := read(`d_bucket{name="osbuild",le="0.001"} 15
d_bucket{name="osbuild",le="0.004"} 24
d_bucket{name="osbuild",le="+Inf"} 25
d_bucket{name="other",le="+Inf"} 1000
d_count{name="osbuild"} 25
`)
	if got := after.queue("d_count"); got != 25 {
		t.Errorf("count %v", got)
	}
	for _, row := range []struct{ q, want float64 }{{0.5, 0.001}, {0.95, 0.004}, {0.99, 0.004}, {0.25, 0.0005}} {
		if got := after.queueQuantile(before, "d", row.q); got < row.want-1e-9 || got > row.want+1e-9 {
			t.Errorf("quantile %v is %v, want %v", row.q, got, row.want)
		}
	}
	if got := after.queueQuantile(after, "d", 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
