package compress

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	cafxx "github.com/CAFxX/httpcompression"
	"github.com/andybalholm/brotli"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/plimsoll-go/plimsoll/compress"
)

// cards is a list of people: ids and object keys are random, the rest repeats.
func cards(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	names := strings.Fields("Ana Ben Cleo Dan Eva Finn Gia Hugo Ida Jan Kim Leo Mia Noa Ole Pia Quinn Rosa Sam Tea")
	genders := []string{"female", "male", "diverse"}
	var b bytes.Buffer
	b.WriteString(`{"cards":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		cooldown := "null"
		if r.IntN(9) == 0 {
			cooldown = fmt.Sprintf(`"2026-11-22T04:%02d:%02d.%03dZ"`, r.IntN(60), r.IntN(60), r.IntN(1000))
		}
		fmt.Fprintf(&b, `{"userId":"%08x-%04x-4%03x-a%03x-%012x","name":"%s","gender":"%s","selfieUrl":"https://cdn.example.com/selfie/%016x.webp","videoUrl":"https://cdn.example.com/video/%016x.mp4","hasCooldown":%t,"cooldownUntil":%s,"lastActiveAt":"2026-11-22T04:%02d:%02d.%03dZ"}`,
			r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64N(1<<48), names[r.IntN(len(names))], genders[r.IntN(len(genders))],
			r.Uint64(), r.Uint64(), cooldown != "null", cooldown, r.IntN(60), r.IntN(60), r.IntN(1000))
	}
	fmt.Fprintf(&b, `],"total":%d}`, n)
	return b.Bytes()
}

// page is HTML that is mostly prose, of words drawn at random: the hardest text
// to compress, about n bytes.
func page(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	words := strings.Fields("the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part")
	for i := range 900 {
		words = append(words, fmt.Sprintf("%s%s%c", words[r.IntN(100)], words[r.IntN(100)], 'a'+i%26))
	}
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html><html><head><title>Evening</title></head><body>\n")
	for b.Len() < n {
		fmt.Fprintf(&b, "<article class=\"entry entry-%d\" id=\"e%x\"><h2><a href=\"/posts/%x\">%s %s</a></h2>\n", r.IntN(5), r.Uint32(), r.Uint64(), words[r.IntN(len(words))], words[r.IntN(len(words))])
		for range 1 + r.IntN(3) {
			b.WriteString("  <p>")
			for range 20 + r.IntN(60) {
				z := r.IntN(len(words))
				b.WriteString(words[r.IntN(z+1)])
				b.WriteByte(' ')
			}
			b.WriteString("</p>\n")
		}
		b.WriteString("</article>\n")
	}
	return b.Bytes()
}

// profile is what a person says of himself, in 990 bytes, few of which repeat.
const profile = `{"userId":"7d0c2f6e-91b3-4e5a-a8c4-5f2b90d1e637","name":"Marie","gender":"female","about":"Born by the sea, moved to the city for work and stayed for the people. I teach music to children, run when it is not raining, and make a very good apple cake. I am looking for somebody who is curious, who can laugh about himself and who likes to talk until the last train has gone.","answers":[{"question":"What are you looking for?","answer":"Something serious, but without hurry."},{"question":"What do you do on an empty evening?","answer":"I cook for friends or I go to the cinema."},{"question":"What is important to you?","answer":"That people say what they mean, kindly."}],"languages":["German","English","French"],"interests":["music","travel","cooking","cinema","reading"],"selfieUrl":"https://cdn.example.com/selfies/9f3ab4417c02e6d8.webp","videoUrl":"https://cdn.example.com/videos/1c77d0e5ab936f24.mp4","hasCooldown":false,"cooldownUntil":null,"lastActiveAt":"2026-11-22T04:17:36.842Z"}`

// listing is HTML as a template makes it: a list of people, with classes,
// attributes, random keys and some lines of prose each, about n bytes.
func listing(n int) []byte {
	r := rand.New(rand.NewPCG(8, 9))
	words := strings.Fields("I like to walk by the river in the evening and cook for friends when it rains looking for somebody who laughs about small things reads too much coffee first then mountains films music bread cats old bicycles new songs long talks short trips good questions quiet mornings sea salt lemon garden train north letters maps stars chess dance tea winter light early late maybe always never often sometimes")
	for _, w := range words {
		for range 6 {
			words = append(words, w[:1+r.IntN(2)%len(w)]+words[r.IntN(len(words))])
		}
	}
	names := strings.Fields("Ana Ben Cleo Dan Eva Finn Gia Hugo Ida Jan Kim Leo Mia Noa Ole Pia Quinn Rosa Sam Tea")
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>People to meet</title>\n<link rel=\"stylesheet\" href=\"/assets/style.css\">\n</head>\n<body>\n<main class=\"grid grid-cols-3 gap-4\">\n")
	for b.Len() < n {
		name := names[r.IntN(len(names))]
		fmt.Fprintf(&b, "  <article class=\"card card-%s\" data-user=\"%08x-%04x-4%03x-a%03x-%012x\">\n    <img class=\"card-selfie\" src=\"https://cdn.example.com/selfie/%016x.webp\" alt=\"%s\" width=\"320\" height=\"240\" loading=\"lazy\">\n    <video class=\"card-video\" src=\"https://cdn.example.com/video/%016x.mp4\" muted playsinline></video>\n    <h2 class=\"card-name\">%s, %d</h2>\n    <p class=\"card-about\">",
			[]string{"online", "away", "talking"}[r.IntN(3)], r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64N(1<<48), r.Uint64(), name, r.Uint64(), name, 18+r.IntN(60))
		for i := range 12 + r.IntN(36) {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(words[r.IntN(r.IntN(len(words))+1)])
		}
		fmt.Fprintf(&b, "</p>\n    <time class=\"card-seen\" datetime=\"2026-11-22T%02d:%02d:%02d.%03dZ\">%d minutes ago</time>\n    <button class=\"btn btn-primary\" type=\"button\" data-action=\"invite\">Invite</button>\n  </article>\n",
			r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), 1+r.IntN(59))
	}
	b.WriteString("</main>\n</body>\n</html>\n")
	return b.Bytes()
}

type body struct {
	name, contentType string
	bytes             []byte
}

var bodies = []body{
	{"1 KB JSON", "application/json", []byte(profile)},
	{"15 KB JSON", "application/json", cards(50, 1)},
	{"36 KB JSON", "application/json", cards(120, 1)},
	{"100 KB HTML", "text/html", listing(102300)},
	{"100 KB prose", "text/html", page(102000)},
}

type peer struct {
	name, accept string
	wrap         func(http.Handler) http.Handler
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ours() func(http.Handler) http.Handler {
	c := must(compress.New(compress.Options{MaxEncoders: 2, MaxBufferedBytes: 256 << 20}))
	return c.Handler
}

func peers() []peer {
	br4 := must(brotliFactory(4))
	brDefault := must(brotliFactory(6))
	gz := must(gzhttp.NewWrapper(gzhttp.EnableGzip(true), gzhttp.EnableZstd(false), gzhttp.MinSize(200)))
	zs := must(gzhttp.NewWrapper(gzhttp.EnableGzip(false), gzhttp.EnableZstd(true), gzhttp.MinSize(200)))
	return []peer{
		{"identity", "", func(h http.Handler) http.Handler { return h }},
		{"plimsoll br", "br", ours()},
		{"plimsoll gzip", "gzip", ours()},
		{"plimsoll zstd", "zstd", ours()},
		{"CAFxX br default", "br", brDefault},
		{"CAFxX br 4", "br", br4},
		{"CAFxX gzip default", "gzip", must(cafxx.DefaultAdapter())},
		{"gzhttp gzip default", "gzip", func(h http.Handler) http.Handler { return gz(h) }},
		{"gzhttp zstd default", "zstd", func(h http.Handler) http.Handler { return zs(h) }},
		{"chi gzip 5", "gzip", middleware.Compress(5)},
		{"gorilla/handlers gzip", "gzip", handlers.CompressHandler},
		{"HTTPCompressor br", "br", httpCompressor},
	}
}

func brotliFactory(level int) (func(http.Handler) http.Handler, error) {
	return cafxx.Adapter(cafxx.BrotliCompressionLevel(level), cafxx.MinSize(200))
}

func httpCompressor(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zw := brotli.HTTPCompressor(w, r)
		defer zw.Close()
		h.ServeHTTP(&bodyWriter{w, zw}, r)
	})
}

// bodyWriter sends the body through another writer than the header.
type bodyWriter struct {
	http.ResponseWriter
	body io.Writer
}

func (w *bodyWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// sink is a ResponseWriter that counts.
type sink struct {
	h http.Header
	n int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func request(accept string) *http.Request {
	r := must(http.NewRequest("GET", "http://a/", nil))
	if accept != "" {
		r.Header.Set("Accept-Encoding", accept)
	}
	return r
}

func serves(b body) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", b.contentType)
		w.Write(b.bytes)
	})
}

func BenchmarkHTTP(b *testing.B) {
	for _, body := range bodies {
		for _, p := range peers() {
			b.Run(strings.ReplaceAll(body.name+"/"+p.name, " ", "-"), func(b *testing.B) {
				h, r, w := p.wrap(serves(body)), request(p.accept), &sink{h: http.Header{}}
				b.ReportAllocs()
				b.SetBytes(int64(len(body.bytes)))
				for b.Loop() {
					clear(w.h)
					w.n = 0
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.n), "out-bytes")
			})
		}
	}
}
