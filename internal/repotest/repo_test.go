package repotest

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/plimsoll-go/plimsoll"
	root   = "../.."
)

// packages are the six, with the modules that each may import beside the
// standard library. Whoever imports one package builds nothing else.
var packages = map[string][]string{
	"lru":       {"github.com/hashicorp/golang-lru/v2"},
	"connmgr":   nil,
	"memmgr":    {"github.com/KimMachineGun/automemlimit", "golang.org/x/sys"},
	"compress":  {"github.com/andybalholm/brotli", "github.com/klauspost/compress", "github.com/gorilla/websocket"},
	"presence":  nil,
	"signaling": {"github.com/gorilla/websocket", "golang.org/x/sys"},
}

// isTestHelper tells the folders below the six that only tests import
// (presence/presencetest); they may use testify as well.
func isTestHelper(path string) bool { return strings.HasSuffix(path, "test") }

// adapters may import one driver more than the package that they stand below,
// and what they share.
var adapters = map[string][]string{
	"signaling/redisbus":  {goRedis, module + "/internal/redislink"},
	"presence/redisstore": {goRedis, module + "/internal/redislink"},
	"connmgr/redisledger": {goRedis, module + "/internal/redislink"},
}

const goRedis = "github.com/redis/go-redis/v9"

// folders returns every folder with Go files in or below one of the six.
func folders(t *testing.T, pkg string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(root, pkg), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == "testdata" {
			return fs.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		if len(files) > 0 {
			out = append(out, path)
		}
		return err
	})
	require.NoError(t, err)
	return out
}

// fset knows the positions of everything that parse has read.
var fset = token.NewFileSet()

func parse(t *testing.T, dir string, want func(name string) bool) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var out []*ast.File
	for _, name := range names {
		if !want(name) {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		out = append(out, f)
	}
	return out
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }
func isCode(name string) bool { return !isTest(name) }

// TestImports fails when one of the six packages imports another, anything
// internal, or a module that is not on its list.
func TestImports(t *testing.T) {
	for pkg, allowed := range packages {
		for _, dir := range folders(t, pkg) {
			rel, err := filepath.Rel(root, dir)
			require.NoError(t, err)
			rel = filepath.ToSlash(rel)
			may := slices.Clone(allowed)
			if isTestHelper(rel) {
				may = append(may, "github.com/stretchr/testify")
			}
			may = append(may, adapters[rel]...)
			for _, f := range parse(t, dir, isCode) {
				for _, spec := range f.Imports {
					path := strings.Trim(spec.Path.Value, `"`)
					first, _, _ := strings.Cut(path, "/")
					switch {
					case !strings.Contains(first, "."): // standard library
					case path == module+"/"+pkg, strings.HasPrefix(path, module+"/"+pkg+"/"):
					case slices.ContainsFunc(may, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }):
					default:
						t.Errorf("%s imports %s, which is not on its list", rel, path)
					}
				}
			}
		}
	}
}

// TestTransitiveImports holds the same for what the imports import: a user of
// one package compiles these modules and no others.
func TestTransitiveImports(t *testing.T) {
	also := map[string][]string{
		"memmgr": {"github.com/pbnjay/memory"}, // automemlimit asks it for the machine's memory
	}
	for pkg, allowed := range packages {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/"+pkg).CombinedOutput()
		require.NoError(t, err, string(out))
		for path := range strings.FieldsSeq(string(out)) {
			ok := path == module+"/"+pkg || strings.HasPrefix(path, module+"/"+pkg+"/")
			for _, m := range append(slices.Clone(allowed), also[pkg]...) {
				ok = ok || path == m || strings.HasPrefix(path, m+"/")
			}
			if !ok {
				t.Errorf("importing %s compiles %s", pkg, path)
			}
		}
	}
}

// TestDocComments fails for every exported symbol without a doc comment, and
// for a package without a doc.go.
func TestDocComments(t *testing.T) {
	for pkg := range packages {
		require.FileExists(t, filepath.Join(root, pkg, "doc.go"))
		for _, dir := range folders(t, pkg) {
			for _, f := range parse(t, dir, isCode) {
				checkDocs(t, dir, f)
			}
		}
	}
}

func checkDocs(t *testing.T, dir string, f *ast.File) {
	report := func(name string) { t.Errorf("%s: exported %s has no doc comment", dir, name) }
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc.Text() == "" && (d.Recv == nil || ast.IsExported(receiver(d))) {
				report(d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						if d.Doc.Text() == "" && s.Doc.Text() == "" {
							report(s.Name.Name)
						}
						checkFields(report, s)
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						if name.IsExported() && d.Doc.Text() == "" && s.Doc.Text() == "" && s.Comment.Text() == "" {
							report(name.Name)
						}
					}
				}
			}
		}
	}
}

func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// checkFields asks every field of Options and Stats, and every method of an
// interface, for its own sentence or for one above the group that it stands in.
func checkFields(report func(string), s *ast.TypeSpec) {
	var list *ast.FieldList
	switch typ := s.Type.(type) {
	case *ast.StructType:
		if !strings.HasSuffix(s.Name.Name, "Options") && !strings.HasSuffix(s.Name.Name, "Stats") {
			return
		}
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return
	}
	documented, end := false, 0
	for _, field := range list.List {
		own := field.Doc.Text() != "" || field.Comment.Text() != ""
		sameGroup := fset.Position(field.Pos()).Line == end+1
		documented = own || documented && sameGroup
		end = fset.Position(field.End()).Line
		for _, name := range field.Names {
			if name.IsExported() && !documented {
				report(s.Name.Name + "." + name.Name)
			}
		}
	}
}

// TestExamples wants two runnable Examples with output in each of the six.
func TestExamples(t *testing.T) {
	for pkg := range packages {
		n := 0
		for _, ex := range doc.Examples(parse(t, filepath.Join(root, pkg), isTest)...) {
			if ex.Output != "" {
				n++
			}
		}
		if n < 2 {
			t.Errorf("%s has %d Examples with Output, want at least 2", pkg, n)
		}
	}
}

// TestNoReplace keeps the root module importable: replace, exclude and tool
// lines do not reach, or would bind, those who require it.
func TestNoReplace(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, "go.mod")).Output()
	require.NoError(t, err)
	for _, word := range []string{`"Replace": null`, `"Exclude": null`} {
		require.Contains(t, string(out), word)
	}
	require.NotContains(t, string(out), `"Toolchain"`)
}
