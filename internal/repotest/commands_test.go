package repotest

import (
	"cmp"
	"go/ast"
	"go/parser"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents returns the text of every document by its path below the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/README.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			rel, err := filepath.Rel(root, name)
			require.NoError(t, err)
			out[filepath.ToSlash(rel)] = string(text)
		}
	}
	require.NotEmpty(t, out)
	return out
}

var (
	fence = regexp.MustCompile("(?ms)^```[^\n]*\n(.*?)^```")
	span  = regexp.MustCompile("`([^`\n]+)`")
	call  = regexp.MustCompile(`\bgo (?:-C \S+ )?(?:run|test|build|doc) .*`)
)

// commands returns the go commands of a document: lines of fenced code and
// what stands between backquotes.
func commands(text string) []string {
	var out []string
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " # ")
			out = append(out, call.FindString(strings.TrimSpace(line)))
		}
	}
	for _, s := range span.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		out = append(out, call.FindString(strings.ReplaceAll(s[1], `\|`, "|")))
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// words splits a command as a shell does, as far as our documents go.
func words(command string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(command, -1) {
		out = append(out, cmp.Or(m[1], m[2], m[3]))
	}
	return out
}

// TestCommands fails when a document tells of a go command whose package, test
// or flag does not exist.
func TestCommands(t *testing.T) {
	n := 0
	for name, text := range documents(t) {
		for _, command := range commands(text) {
			if fault := checkCommand(t, words(command)); fault != "" {
				t.Errorf("%s: %s: %s", name, command, fault)
			}
			n++
		}
	}
	require.Greater(t, n, 20)
}

// ours are the flags of our own commands that a document may show.
var ours = map[string]string{
	"./examples/speeddating": "examples/speeddating/config.go", "./examples/loadtest": "examples/loadtest/main.go",
	"./examples/chat": "examples/chat/main.go",
}

// valued are go test's flags that take a value in the next word; bare its others.
var (
	valued = []string{"-run", "-bench", "-fuzz", "-fuzztime", "-timeout", "-count", "-cpu", "-o", "-ldflags", "-tags"}
	bare   = []string{"-v", "-race", "-short", "-benchmem", "-trimpath", "-shuffle=on", "-update-images"}
)

// checkCommand returns what is wrong with it.
func checkCommand(t *testing.T, w []string) string {
	dir := root
	if w[1] == "-C" {
		dir = filepath.Join(root, w[2])
		w = append(w[:1], w[3:]...)
	}
	verb, w := w[1], w[2:]
	var pkgs, args, names []string
	for i := 0; i < len(w); i++ {
		word := w[i]
		switch {
		case word == "&&" || word == "|" || word == ">":
			w = w[:i]
		case verb == "run" && len(pkgs) > 0:
			args = append(args, word)
		case slices.Contains(valued, word) && i+1 < len(w):
			if word == "-run" || word == "-bench" || word == "-fuzz" {
				names = append(names, w[i+1])
			}
			i++
		case strings.HasPrefix(word, "-"):
			if !slices.Contains(bare, word) && !slices.ContainsFunc(valued, func(v string) bool { return strings.HasPrefix(word, v+"=") }) {
				return "go " + verb + " is not known here with " + word
			}
		default:
			pkgs = append(pkgs, word)
		}
	}
	if len(pkgs) == 0 {
		return "no package"
	}
	tests := map[string]bool{}
	for _, pkg := range pkgs {
		pkg, below := strings.CutSuffix(strings.TrimPrefix(pkg, module+"/"), "/...")
		if pkg == "." || pkg == "..." || strings.Contains(pkg, "@") { // all of it, or another's tool
			below = true
			if strings.Contains(pkg, "@") {
				return ""
			}
		}
		found, err := filepath.Glob(filepath.Join(dir, pkg, "*.go"))
		require.NoError(t, err)
		if len(found) == 0 && !below {
			return "there is no package " + pkg
		}
		for _, f := range found {
			for _, fn := range functions(t, f) {
				tests[fn] = true
			}
		}
		if file := ours[pkg]; file != "" && verb == "run" {
			known := flagsOf(t, filepath.Join(root, file))
			for _, a := range args {
				a, _, _ = strings.Cut(a, "=")
				if _, err := strconv.ParseFloat(a, 64); err == nil || len(a) < 2 || a[0] != '-' || a == "-h" {
					continue
				}
				if !slices.Contains(known, a[1:]) {
					return pkg + " has no flag " + a
				}
			}
		}
	}
	for _, pattern := range names {
		for top := range strings.SplitSeq(pattern, "|") {
			top, _, _ = strings.Cut(top, "/")
			re, err := regexp.Compile(top)
			if err != nil {
				return err.Error()
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(tests)), re.MatchString) {
				return "no test matches " + top
			}
		}
	}
	return ""
}

// functions returns the tests, benchmarks, fuzz tests and examples of a file.
func functions(t *testing.T, file string) []string {
	if !isTest(file) {
		return nil
	}
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var out []string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)`).MatchString(fn.Name.Name) {
			out = append(out, fn.Name.Name)
		}
	}
	return out
}

// flagsOf returns the flags that a command defines: the names in a table of
// knobs, or in calls of a flag.FlagSet or of package flag.
func flagsOf(t *testing.T, file string) []string {
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	defines := map[string]int{}
	for _, kind := range []string{"String", "Int", "Bool", "Duration", "Float64"} {
		defines[kind], defines[kind+"Var"] = 0, 1
	}
	var out []string
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok {
			name, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			out = append(out, name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				break
			}
			on, ok := sel.X.(*ast.Ident)
			if at, defined := defines[sel.Sel.Name]; ok && defined && (on.Name == "flags" || on.Name == "flag") && len(n.Args) > at {
				add(n.Args[at])
			}
		case *ast.ValueSpec:
			if len(n.Names) == 1 && n.Names[0].Name == "knobs" {
				for _, knob := range n.Values[0].(*ast.CompositeLit).Elts {
					add(knob.(*ast.CompositeLit).Elts[0])
				}
			}
		}
		return true
	})
	require.NotEmpty(t, out, file)
	return out
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchors returns the fragments that a document's headings make.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f && !strings.ContainsRune("→–—…", r):
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, anchor)
	}
	return out
}

// TestLinks fails when a link within the repository leads nowhere.
func TestLinks(t *testing.T) {
	docs, n := documents(t), 0
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), path))
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s: %s is not there", name, m[1])
					continue
				}
			}
			if anchor != "" && !slices.Contains(anchors(docs[target]), anchor) {
				t.Errorf("%s: %s: there is no heading for it", name, m[1])
			}
		}
	}
	require.Greater(t, n, 20)
}

// TestConfiguration holds docs/configuration.md to the flags of the commands:
// all of them, and no others.
func TestConfiguration(t *testing.T) {
	text := documents(t)["docs/configuration.md"]
	platform, loadtest, ok := strings.Cut(text, "## The load test")
	require.True(t, ok)
	row := regexp.MustCompile("(?m)^\\| `-([a-z-]+)` \\|(?: `(PLIMSOLL_[A-Z_]+)` \\|)?")
	for _, of := range []struct {
		text, file string
		variables  bool
	}{
		{platform, "examples/speeddating/config.go", true},
		{loadtest, "examples/loadtest/main.go", false},
	} {
		var named []string
		for _, m := range row.FindAllStringSubmatch(of.text, -1) {
			named = append(named, m[1])
			if of.variables {
				require.Equal(t, "PLIMSOLL_"+strings.ToUpper(strings.ReplaceAll(m[1], "-", "_")), m[2])
			}
		}
		require.ElementsMatch(t, flagsOf(t, filepath.Join(root, of.file)), named, of.file)
	}
}

// TestDependencies holds docs/dependencies.md to the modules that are linked
// into the packages and the examples, on Linux.
func TestDependencies(t *testing.T) {
	c := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}{{end}}", "./...")
	c.Dir = root
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := c.Output()
	require.NoError(t, err)
	linked := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(linked)
	linked = slices.DeleteFunc(slices.Compact(linked), func(s string) bool { return s == "" })

	var named []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z]\S+\.\S+/\S+) \| (v\S+) \| [^|]+ \| [^|]+ \|$`).FindAllStringSubmatch(documents(t)["docs/dependencies.md"], -1) {
		named = append(named, m[1]+" "+m[2])
	}
	require.Equal(t, linked, named, "docs/dependencies.md lists these, in this order")
}
