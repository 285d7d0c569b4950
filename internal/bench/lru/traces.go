package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// replay prints hit ratios on recorded streams. A trace has a key a line, any
// text without spaces, and a line that begins with a plus is an entry put
// there without a look-up. Without -traces it is the one public trace that a
// module of this comparison carries.
func replay() {
	names := *traces
	if names == "" {
		name, err := glimpse()
		if err != nil {
			fmt.Println("\nno public trace:", err)
			return
		}
		names = name
	}
	var at []int
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		check(err)
		at = append(at, n)
	}
	var all []stream
	fmt.Println()
	for name := range strings.SplitSeq(names, ",") {
		s, err := readTrace(name)
		check(err)
		all = append(all, s)
	}
	fmt.Printf("hit ratio on recorded streams, at %v entries\n", at)
	printHits("mean hit ratio, recorded streams", all, at)
}

// glimpse finds "gli", one of the traces that the LIRS paper (Jiang, Zhang,
// SIGMETRICS 2002) was measured on: a text retrieval system's file blocks.
// Ristretto's module has it.
func glimpse() (string, error) {
	const module = "github.com/dgraph-io/ristretto/v2"
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "sim", "gli.lirs.gz"), nil
}

func readTrace(path string) (stream, error) {
	f, err := os.Open(path)
	if err != nil {
		return stream{}, err
	}
	defer f.Close()
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	s := stream{name: name}
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return s, err
		}
	}
	numbers := map[string]int{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		key, fill := strings.CutPrefix(strings.TrimSpace(lines.Text()), "+")
		if key == "" || key == "*" { // the separator of LIRS traces
			continue
		}
		n, ok := numbers[key]
		if !ok {
			n = len(numbers)
			numbers[key] = n
		}
		s.keys = append(s.keys, n)
		s.fills = append(s.fills, fill)
	}
	fmt.Printf("%s: %d uses of %d keys\n", s.name, len(s.keys), len(numbers))
	return s, lines.Err()
}
