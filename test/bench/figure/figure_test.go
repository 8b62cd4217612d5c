package figure

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	rows := []struct {
		samples Samples
		want    float64
	}{{nil, 0}, {Samples{4}, 4}, {Samples{9, 1}, 5}, {Samples{9, 1, 2}, 2}, {Samples{4, 9, 1, 2}, 3}}
	for _, r := range rows {
		given := slices.Clone(r.samples)
		if got := r.samples.Median(); got != r.want {
			t.Errorf("median of %v: got %v, want %v", r.samples, got, r.want)
		}
		if !slices.Equal(given, r.samples) {
			t.Errorf("the median reordered %v to %v", given, r.samples)
		}
	}
}

func TestOver(t *testing.T) {
	got := Samples{1, 6, 5, 8}.Over(Samples{2, 3, 0})
	if want := (Samples{0.5, 2}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestVerdict(t *testing.T) {
	rows := []struct {
		name string
		row  Row
		want string
	}{
		{"nothing wanted", Row{Samples: Samples{7}}, ""},
		{"kept", Row{Samples: Samples{1, 5, 9}, Limit: 5}, "met"},
		{"passed by one sample only", Row{Samples: Samples{1, 2, 99}, Limit: 5}, "met"},
		{"passed", Row{Samples: Samples{1, 6, 9}, Limit: 5}, "missed"},
		{"none wanted and none there", Row{Samples: Samples{0, 0}, None: true}, "met"},
		{"none wanted", Row{Samples: Samples{1}, None: true}, "missed"},
		{"not measured", Row{Limit: 5}, "missed"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if got := r.row.verdict(); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	table := Table{
		Title: "Builds",
		Rows: []Row{
			{What: "label to image", Unit: "s", Samples: Samples{3.25, 3.5, 4}, Limit: 5},
			{What: "moved", Unit: "KiB", Samples: Samples{1234.5}},
			{What: "ratio", Unit: "×", Limit: 0.333},
		},
		Notes: []string{"A note."},
	}
	markdown := `### Builds

|  | median | range | n | at most |  |
|---|---|---|---|---|---|
| label to image | 3.50 s | 3.25 – 4 | 3 | 5 s | met |
| moved | 1234 KiB | 1234 – 1234 | 1 |  |  |
| ratio | not measured |  | 0 | 0.333 × | missed |

A note.
`
	if got := table.Markdown(); got != markdown {
		t.Errorf("got\n%s\nwant\n%s", got, markdown)
	}
	text := `Builds
                  median        range        n  at most
  label to image  3.50 s        3.25 – 4     3  5 s      met
  moved           1234 KiB      1234 – 1234  1
  ratio           not measured               0  0.333 ×  missed
  A note.
`
	if got := table.Text(); got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

func TestSplice(t *testing.T) {
	const document = "# A\n" + "<!-- results: written by make a -->\nold\n" + end + "\nrest\n<!-- results: written by make b -->\nb\n" + end + "\n"
	got, err := splice(document, "make a", "\nnew\n")
	if want := strings.Replace(document, "\nold\n", "\n\nnew\n\n", 1); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	again, err := splice(got, "make a", "new")
	if err != nil || again != got {
		t.Errorf("the same again changed the document: %q, %v", again, err)
	}
	begin := begin("make a")
	for _, bad := range []string{"", begin, end, end + begin, strings.Repeat(begin+end, 2), strings.ReplaceAll(document, "make a", "make c")} {
		if _, err := splice(bad, "make a", "x"); !errors.Is(err, ErrMarkers) {
			t.Errorf("%q: got %v, want %v", bad, err, ErrMarkers)
		}
	}
}
