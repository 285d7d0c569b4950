package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Static is an http.FileServerFS whose compressible files are encoded
// already: at its best by Static itself, or by whoever left app.js.br,
// app.js.gz or app.js.zst beside app.js. Encoded files have an ETag made
// from their content. Ranges are served from the plain file.
//
// The encoded files stay in memory, at most maxBytes with their plain forms;
// files beyond that, and files that change, are encoded when they are asked
// for. Static reads all of fsys once, and its error is that of reading.
func (c *Compressor) Static(fsys fs.FS, maxBytes int64) (http.Handler, error) {
	if maxBytes <= 0 {
		return nil, fmt.Errorf("compress: Static maxBytes = %d, want > 0", maxBytes)
	}
	s := &static{fsys: fsys, files: make(map[string]*staticFile), server: http.FileServerFS(fsys)}
	s.dynamic = c.Handler(s.server)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		ctype := mime.TypeByExtension(path.Ext(name))
		if !c.compressible(ctype) || info.Size() < int64(c.opts.MinBytes) || 2*info.Size() > maxBytes {
			return nil
		}
		f, err := c.staticFile(fsys, name, ctype, info)
		if err != nil || f.body.held > maxBytes {
			f.body.Close()
			return err
		}
		maxBytes -= f.body.held
		s.files[name] = f
		return nil
	})
	if err != nil {
		for _, f := range s.files {
			f.body.Close()
		}
		return nil, fmt.Errorf("compress: read static files: %w", err)
	}
	return s, nil
}

type static struct {
	fsys    fs.FS
	files   map[string]*staticFile
	server  http.Handler
	dynamic http.Handler
}

type staticFile struct {
	body *Body
	mod  time.Time
	size int64
}

func (s *static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if strings.HasSuffix(r.URL.Path, "/") || name == "" {
		name = path.Join(name, "index.html")
	} else if path.Base(name) == "index.html" {
		name = "" // the file server redirects
	}
	f := s.files[name]
	if f == nil || r.Method != http.MethodGet && r.Method != http.MethodHead || !f.current(s.fsys, name) {
		s.dynamic.ServeHTTP(w, r)
		return
	}
	for _, condition := range [...]string{"Range", "If-Match", "If-Unmodified-Since"} {
		if r.Header[condition] != nil {
			var arena valueArena
			arena.addVary(w.Header(), "Accept-Encoding")
			w.Header().Set("Etag", f.body.tag)
			s.server.ServeHTTP(w, r)
			return
		}
	}
	if !f.mod.IsZero() {
		w.Header().Set("Last-Modified", f.mod.UTC().Format(http.TimeFormat))
	}
	f.body.ServeHTTP(w, r)
}

func (f *staticFile) current(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.Size() == f.size && info.ModTime().Equal(f.mod)
}

// staticFile reads a file and its encodings.
func (c *Compressor) staticFile(fsys fs.FS, name, ctype string, info fs.FileInfo) (*staticFile, error) {
	f := &staticFile{body: &Body{c: c, closed: true}}
	plain, err := fs.ReadFile(fsys, name)
	if err != nil {
		return f, err
	}
	body, err := c.NewBody(ctype, plain)
	if err != nil {
		return f, nil // no memory for it: encoded when asked for
	}
	f.body, f.mod, f.size = body, info.ModTime(), info.Size()
	for _, cd := range c.prefer {
		encoded, err := fs.ReadFile(fsys, name+[codings]string{gzipCoding: ".gz", brCoding: ".br", zstdCoding: ".zst"}[cd])
		if errors.Is(err, fs.ErrNotExist) {
			encoded, err = smallest(cd, plain)
		}
		if err != nil {
			return f, err
		}
		body.mu.Lock()
		body.keepLocked(cd, encoded)
		body.mu.Unlock()
	}
	return f, nil
}

// smallest encodes with the best ratio, whatever it takes.
func smallest(cd coding, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	var err error
	switch cd {
	case brCoding:
		w := brotli.NewWriterOptions(&out, brotli.WriterOptions{Quality: 11, LGWin: int(window(len(plain)))})
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close())
	case gzipCoding:
		w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close())
	case zstdCoding:
		w, werr := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		if werr != nil {
			return nil, werr
		}
		return w.EncodeAll(plain, nil), nil
	}
	return out.Bytes(), err
}
