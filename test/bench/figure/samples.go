package figure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Samples are the values of one quantity, in the order they were taken.
type Samples []float64

// Median is the middle value, or the mean of the two in the middle; 0 of none.
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Over divides the samples by those of another quantity that were taken in the
// same rounds; those without a partner are left out.
func (s Samples) Over(other Samples) Samples {
	var ratios Samples
	for i := range min(len(s), len(other)) {
		if other[i] != 0 {
			ratios = append(ratios, s[i]/other[i])
		}
	}
	return ratios
}

// Row is one quantity.
type Row struct {
	What string
	Unit string
	Samples
	// Limit is the most that is wanted of the median; 0 where nothing is, unless
	// None says that 0 is.
	Limit float64
	None  bool
}

// Met is whether the median keeps to the limit.
func (r Row) Met() bool { return len(r.Samples) > 0 && r.Median() <= r.Limit }

func (r Row) limited() bool { return r.Limit != 0 || r.None }

// cells are the row's texts: what, median, range, number of samples, limit, verdict.
func (r Row) cells() []string {
	if len(r.Samples) == 0 {
		return []string{r.What, "not measured", "", "0", r.limit(), r.verdict()}
	}
	return []string{
		r.What,
		strings.TrimSpace(number(r.Median()) + " " + r.Unit),
		number(slices.Min(r.Samples)) + " – " + number(slices.Max(r.Samples)),
		strconv.Itoa(len(r.Samples)),
		r.limit(),
		r.verdict(),
	}
}

func (r Row) limit() string {
	if !r.limited() {
		return ""
	}
	return strings.TrimSpace(number(r.Limit) + " " + r.Unit)
}

func (r Row) verdict() string {
	switch {
	case !r.limited():
		return ""
	case r.Met():
		return "met"
	default:
		return "missed"
	}
}

// number has three significant digits, and no exponent.
func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return strconv.FormatInt(int64(v), 10)
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v <= -1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
