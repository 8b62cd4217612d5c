package proc

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is the line of a report that says on what its figures were taken;
// what cannot be read is left out.
func Machine() string {
	return fmt.Sprintf("- machine: %d × %s, %s memory\n", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), gibibytes(field("/proc/meminfo", "MemTotal")))
}

// Load is the line of a report that says how busy the machine is: what else runs
// on it spoils the figures.
func Load(when string) string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("- load average %s: %s\n", when, strings.Join(strings.Fields(string(text))[:3], ", "))
}

// field is the first value of a name in a file of "name: value" lines.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// gibibytes of a number of kilobytes, as /proc/meminfo has it.
func gibibytes(text string) string {
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%.0f GiB", float64(kilobytes)/(1<<20))
}
