package compress

import (
	"strings"
	"sync"
)

// CompressibleType reports whether a media type (lower case, no parameters)
// usually shrinks: text, JSON, XML, JavaScript, SVG, WebAssembly, fonts that
// are not packed already. Images, audio, video, archives, WOFF and gRPC are not.
func CompressibleType(mediaType string) bool {
	switch mediaType {
	case "application/javascript", "application/x-javascript", "application/ecmascript",
		"application/json", "application/xml", "application/wasm", "application/graphql",
		"application/x-ndjson", "application/jsonl", "application/json-seq", "application/yaml", "application/toml",
		"application/rtf", "application/sdp", "application/x-www-form-urlencoded",
		"application/vnd.ms-fontobject", "application/vnd.apple.mpegurl", "application/x-mpegurl",
		"font/ttf", "font/otf", "font/collection", "application/x-font-ttf",
		"image/bmp", "image/x-icon", "image/vnd.microsoft.icon", "model/gltf+json", "application/geo+json":
		return true
	}
	return strings.HasPrefix(mediaType, "text/") ||
		strings.HasSuffix(mediaType, "+json") || strings.HasSuffix(mediaType, "+xml") ||
		strings.HasSuffix(mediaType, "+text") || strings.HasSuffix(mediaType, "+yaml")
}

// typeCache remembers the verdict for the Content-Type values in use, so
// that the usual response costs one lookup and no allocation.
type typeCache struct {
	mu    sync.RWMutex
	known map[string]bool
}

const maxKnownTypes = 64

func (c *Compressor) compressible(contentType string) bool {
	t := &c.types
	t.mu.RLock()
	verdict, ok := t.known[contentType]
	t.mu.RUnlock()
	if ok {
		return verdict
	}
	media, _, _ := strings.Cut(contentType, ";")
	verdict = c.opts.Compressible(strings.ToLower(strings.TrimSpace(media)))
	if len(contentType) <= 128 {
		t.mu.Lock()
		if t.known == nil {
			t.known = make(map[string]bool)
		}
		if len(t.known) < maxKnownTypes {
			t.known[strings.Clone(contentType)] = verdict
		}
		t.mu.Unlock()
	}
	return verdict
}
