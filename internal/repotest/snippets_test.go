package repotest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var snippet = regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```go\n(.*?)```")

// TestSnippets fails when Go code in a document does not stand, line for line,
// in the compiled file that it says it is cut from.
func TestSnippets(t *testing.T) {
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	n := 0
	for _, name := range append(docs, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		found := snippet.FindAllStringSubmatch(string(text), -1)
		require.Equal(t, strings.Count(string(text), "```go\n"), len(found), "%s has Go code that does not say where it is from", name)
		for _, m := range found {
			source, err := os.ReadFile(filepath.Join(root, m[1]))
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(m[2]), "%s: the snippet from %s", name, m[1])
			if !strings.Contains(dedent(string(source)), dedent(m[2])) {
				t.Errorf("%s: this is not in %s:\n%s", name, m[1], m[2])
			}
			n++
		}
	}
	require.GreaterOrEqual(t, n, len(packages), "the README has a snippet of each package")
}

// dedent drops the indentation, which differs between a file and a document.
func dedent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimLeft(line, "\t "))
	}
	return b.String()
}
