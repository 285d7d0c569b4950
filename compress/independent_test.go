package compress

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBrotliByNode has the reference decoder, which Node.js carries, decode
// what our encoder writes: whole, in blocks, stored and padded.
func TestBrotliByNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is missing")
		}
		t.Skip("SKIPPED: node is not installed, brotli is not checked against the reference decoder")
	}
	type encoded struct {
		Name, Coding, Sum string
		Data              []byte
	}
	var all []encoded
	e := newTest(t).engines.acquire(brCoding)
	e.prepare(gzipCoding)
	for name, body := range bodies() {
		sum := sha256.Sum256(body)
		for _, cd := range []coding{brCoding, gzipCoding} {
			for _, pad := range []int{0, 1, 256, 257, 4096} {
				s := stream{coding: cd, pad: pad}
				all = append(all, encoded{fmt.Sprint(name, " whole ", pad), cd.String(), hex.EncodeToString(sum[:]), e.whole(nil, &s, body)})
				s = stream{coding: cd, pad: pad, lgwin: window(len(body))}
				var out []byte
				for i, at := 0, 0; at < len(body); i++ {
					n := min(1+i*997, len(body)-at)
					if from := max(0, at-historyBytes); i%4 == 3 {
						out = s.stored(out, body[at:at+n])
					} else {
						out = e.block(out, &s, body[from:at+n], at-from)
					}
					at += n
				}
				all = append(all, encoded{fmt.Sprint(name, " blocks ", pad), cd.String(), hex.EncodeToString(sum[:]), s.end(out)})
			}
		}
	}
	e.release()
	dir := t.TempDir()
	b, err := json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all.json"), b, 0o600))
	cmd := exec.Command(node, "-e", `
const z = require('zlib'), c = require('crypto')
for (const e of JSON.parse(require('fs').readFileSync('all.json'))) {
  const raw = Buffer.from(e.Data, 'base64')
  const out = e.Coding == 'br' ? z.brotliDecompressSync(raw) : z.gunzipSync(raw)
  if (c.createHash('sha256').update(out).digest('hex') != e.Sum) throw new Error(e.Name)
}`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%d streams", len(all))
}

// TestDictionarySaves re-reads a list of 120 people in which two have left
// and come, and eighteen fields have changed.
func TestDictionarySaves(t *testing.T) {
	old := cards(120, 1)
	people := strings.Split(string(old), "},{")
	fresh := strings.Split(string(cards(4, 77)), "},{")
	people[40], people[90] = fresh[1], fresh[2]
	for i := range 18 {
		people[3+i*6] = strings.Replace(people[3+i*6], `"2026-11-23T04:`, fmt.Sprintf(`"2026-11-23T05:%d`, i%6), 1)
		people[3+i*6] = strings.Replace(people[3+i*6], `:"2026-11-23T05:`+fmt.Sprint(i%6), `:"2026-11-23T05:`, 1)
	}
	now := []byte(strings.Join(people, "},{"))
	c := newTest(t, func(o *Options) { o.DictionaryBytes = 1 << 20 })
	for _, accept := range []string{"dcz, zstd, br", "dcb, br"} {
		h := c.Dictionary("/*", sends(old))
		fetch(h, "/", "Accept-Encoding: "+accept)
		h = c.Dictionary("/*", sends(now))
		sum := sha256.Sum256(old)
		w := fetch(h, "/", "Accept-Encoding: "+accept, "Available-Dictionary: :"+base64.StdEncoding.EncodeToString(sum[:])+":")
		coding := accept[:3]
		require.Equal(t, coding, w.Header().Get("Content-Encoding"))
		require.Equal(t, now, decodeWith(t, coding, w.Body.Bytes(), old))
		t.Logf("%s: %d bytes of %d, %.2f %% less", coding, w.Body.Len(), len(now), 100-100*float64(w.Body.Len())/float64(len(now)))
		require.Less(t, w.Body.Len(), len(now)/100)
	}
	require.Equal(t, 2, int(c.Stats().Codings["dcz"].Blocks+c.Stats().Codings["dcb"].Blocks))
}
