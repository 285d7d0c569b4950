// Command bench compares each package with its peers on this machine, in one
// run, and prints what docs/benchmarks.md shows:
//
//	go -C internal/bench run . >docs/benchmarks.md    about half an hour
//	go -C internal/bench run . -only caches,presence
//
// Each part is a program or a test of its own in a folder beside this file,
// which says there what it does and can be run alone. Peers are pinned in
// go.mod.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

// part is one comparison.
type part struct {
	name, title, about string
	command            []string
}

var parts = []part{
	{"caches", "Caches", "Package `lru` beside the caches that Go programs use, statistics and a time to live on where they have them. " +
		"Speed is interleaved in short slices, as nanoseconds an operation and relative to otter; hit ratios have LRU (\"plimsoll strict\") and Belady's optimum beside them.",
		[]string{"run", "./lru"}},
	{"http", "HTTP compression", "Package `compress` beside the public middlewares, on the bodies that its doc comment describes: the median time of an answer, its bytes and its allocations.",
		[]string{"test", "-count=1", "-v", "-run", "Table", "./compress"}},
	{"stream", "A realtime stream", "The messages of a platform, as full JSON, deflated, and as what package `compress` makes of them.",
		[]string{"test", "-count=1", "-v", "-run", "Stream", "./compress"}},
	{"sockets", "Sockets", "Package `signaling` beside other WebSocket servers, each a process on one core and driven by the same client: memory of an idle socket, one broadcast, bursts.",
		[]string{"run", "./signaling", "-runs", "3"}},
	{"refusals", "Refusing a connection", "Package `connmgr` refuses in three places; what each costs the server.",
		[]string{"run", "./connmgr"}},
	{"presence", "Presence", "Package `presence` beside centrifuge's in-memory presence: processor time, and heap of a membership.",
		[]string{"test", "-count=1", "-v", "./presence"}},
	{"overshoot", "Staying below a limit", "How far a process that is told to stop at a mark goes beyond it, in a memory cgroup (as root): package `memmgr`, GOMEMLIMIT, automemlimit, polls.",
		[]string{"test", "-count=1", "-v", "-run", "Overshoot", "./memmgr"}},
}

func main() {
	only := flag.String("only", "", "names of parts, separated by commas; all by default")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go -C internal/bench run . [-only names]")
		flag.PrintDefaults()
		for _, p := range parts {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-10s go -C internal/bench %s\n", p.name, strings.Join(p.command, " "))
		}
	}
	flag.Parse()
	if err := run(*only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(only string, out io.Writer) error {
	chosen := parts
	if only != "" {
		chosen = nil
		for name := range strings.SplitSeq(only, ",") {
			found := false
			for _, p := range parts {
				if p.name == name {
					chosen, found = append(chosen, p), true
				}
			}
			if !found {
				return fmt.Errorf("no part %q", name)
			}
		}
	}
	var rows []string
	var text strings.Builder
	for _, p := range chosen {
		fmt.Fprintln(os.Stderr, p.name)
		lines, err := output(p.command)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(&text, "\n## %s\n\n%s\n\n`go -C internal/bench %s`\n\n```\n", p.title, p.about, strings.Join(p.command, " "))
		for _, line := range lines {
			if row, ok := strings.CutPrefix(line, summary.Prefix); ok {
				rows = append(rows, row)
			} else {
				fmt.Fprintln(&text, line)
			}
		}
		fmt.Fprint(&text, "```\n")
	}
	fmt.Fprintf(out, "# Benchmarks\n\nPrinted by `go -C internal/bench run .` with %s on %s/%s, %d cores%s. Peers: %s.\n"+
		"Medians of one run, in which all take turns; a virtual machine's neighbours move figures by a tenth, ratios less.\n\n"+
		"| what | Plimsoll | peer | Plimsoll is |\n|---|---|---|---|\n%s\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), versions(), strings.Join(rows, "\n"))
	_, err := io.WriteString(out, text.String())
	return err
}

// noise is what the test runner adds.
var noise = regexp.MustCompile(`^(=== |\s*--- |PASS$|ok  \t|\?   \t|FAIL$|goos: |goarch: |pkg: )`)

// place is where a test logged a line.
var place = regexp.MustCompile(`^\s*\w+_test\.go:\d+: ?`)

// output runs the go command and gives its lines as they are worth showing.
func output(command []string) (lines []string, err error) {
	cmd := exec.Command("go", command...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, " \n")
		if noise.MatchString(line) {
			continue
		}
		line = strings.TrimPrefix(place.ReplaceAllString(line, ""), "        ")
		if line == "" && (len(lines) == 0 || lines[len(lines)-1] == "") {
			continue
		}
		lines = append(lines, line)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, b)
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines, nil
}

// processor names the kind of machine where the system says it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if name, ok := strings.CutPrefix(in.Text(), "model name"); ok {
			return " (" + strings.TrimSpace(strings.TrimLeft(name, "\t :")) + ")"
		}
	}
	return ""
}

// shown are the peers whose versions are printed.
var shown = []string{
	"hashicorp/golang-lru/v2", "maypok86/otter/v2", "Yiling-J/theine-go", "dgraph-io/ristretto/v2", "jellydator/ttlcache/v3",
	"CAFxX/httpcompression", "klauspost/compress", "go-chi/chi/v5", "gorilla/handlers", "andybalholm/brotli",
	"gorilla/websocket", "lxzan/gws", "centrifugal/centrifuge", "KimMachineGun/automemlimit",
}

func versions() string {
	var list []string
	for _, name := range shown {
		b, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/"+name).Output()
		if err == nil {
			list = append(list, name+" "+strings.TrimSpace(string(b)))
		}
	}
	return strings.Join(list, ", ")
}
