package main

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The pictures in docs/images come from the real page:
//
//	go test ./examples/speeddating -run TestDocsImages -update-images
var updateImages = flag.Bool("update-images", false, "make docs/images anew from the real page")

const (
	docsImages    = "../../docs/images"
	maxImageBytes = 200 << 10
)

func TestDocsImages(t *testing.T) {
	if *updateImages {
		makeDocsImages(t)
	}
	for _, name := range []string{"queue.png", "call.png", "phone.png"} {
		raw, err := os.ReadFile(filepath.Join(docsImages, name))
		require.NoError(t, err)
		require.LessOrEqual(t, len(raw), maxImageBytes, name)
		_, err = png.DecodeConfig(bytes.NewReader(raw))
		require.NoError(t, err, name)
	}
}

// crowd are the people in the pictures.
var crowd = []struct{ name, gender string }{
	{"Mara", "female"}, {"Jonas", "male"}, {"Aïcha", "nonbinary"}, {"Tom", "male"}, {"Linh", "male"},
	{"Oskar", "male"}, {"Zoë", "female"}, {"Rafael", "male"}, {"Samir", "male"}, {"Ingrid", "female"},
}

func makeDocsImages(t *testing.T) {
	require.NoError(t, os.MkdirAll(docsImages, 0o755))
	a := startApp(t)
	cameras := t.TempDir()
	writeClip(t, filepath.Join(cameras, "ada.mjpeg"), 3)
	writeClip(t, filepath.Join(cameras, "mara.mjpeg"), 0)

	var tabs []*tab
	for i, c := range crowd[1:] {
		p := &visitor{t: t, base: a.URL(), Name: c.name}
		p.adopt(p.mustDo("POST", "/auth/guest", object{"name": c.name, "gender": c.gender}, 201))
		p.mustDo("PUT", "/media/selfie", portraitJPEG(t, i+1, 480, 480, 1), 200)
		b := p.open()
		b.must("queue:join", nil)
		tabs = append(tabs, b)
	}
	ada := openWindow(t, a.URL(), "Ada", filepath.Join(cameras, "ada.mjpeg"))
	mara := openWindow(t, a.URL(), crowd[0].name, filepath.Join(cameras, "mara.mjpeg"))
	for i, w := range []*window{ada, mara} {
		w.resize(1280, 800)
		w.signUp()
		w.eval(fmt.Sprintf(`fetch('/media/selfie', { method: 'PUT', headers: { 'Content-Type': 'image/jpeg' },
			body: Uint8Array.from(atob(%q), (c) => c.charCodeAt(0)) }).then((r) => r.status)`,
			base64.StdEncoding.EncodeToString(portraitJPEG(t, 3-3*i, 480, 480, 1))))
		w.reload()
		w.screen("people")
	}
	// One of them has been met already.
	met := ada.eval(`fetch('/user/me').then((r) => r.json()).then((me) => me.userId)`).(string)
	invite := tabs[4].must("call:invite", object{"toUserId": met, "requestedSeconds": 60})
	ada.visible("#incoming")
	ada.click("#incoming-decline")
	require.NotEmpty(t, invite["inviteId"])
	ada.until(`document.querySelector('.person.met') !== null`)
	ada.until(`document.querySelectorAll('.person').length === 10 && [...document.querySelectorAll('.person img')].every((i) => i.complete)`)
	ada.eval(`document.activeElement.blur(), new Promise((r) => setTimeout(r, 600))`)
	ada.save("queue.png")

	phones := []image.Image{}
	ada.resize(360, 740)
	phones = append(phones, ada.picture())
	ada.resize(1280, 800)

	ada.invite("Mara", 600)
	mara.visible("#incoming")
	mara.resize(360, 740)
	mara.eval(`new Promise((r) => setTimeout(r, 800))`)
	phones = append(phones, mara.picture())
	mara.click("#incoming button[type=submit]")
	ada.moving()
	mara.moving()
	ada.chat("Hello! I like the light in your room.")
	mara.chat("It is the last of the evening sun.")
	ada.chat("What are you reading at the moment?")
	mara.chat("“A Field Guide to Getting Lost”. It is a slow one.")
	ada.reads("“A Field Guide to Getting Lost”. It is a slow one.", false)
	mara.until(`document.querySelectorAll('#chat-log .line').length === 4`)
	time.Sleep(time.Second) // until the encoder has found its rate
	ada.save("call.png")
	phones = append(phones, mara.picture())

	const gap = 24
	wide := image.NewRGBA(image.Rect(0, 0, len(phones)*(360+gap)+gap, 740+2*gap))
	draw.Draw(wide, wide.Bounds(), image.NewUniform(color.RGBA{0xe9, 0xdd, 0xd0, 255}), image.Point{}, draw.Src)
	for i, p := range phones {
		draw.Draw(wide, image.Rect(gap+i*(360+gap), gap, gap+i*(360+gap)+360, gap+740), p, image.Point{}, draw.Src)
	}
	writePNG(t, "phone.png", wide)
}

// picture is what the window shows.
func (w *window) picture() image.Image {
	w.t.Helper()
	var shot struct {
		Data []byte `json:"data"`
	}
	w.call("Page.captureScreenshot", object{"format": "png"}, &shot)
	img, err := png.Decode(bytes.NewReader(shot.Data))
	require.NoError(w.t, err)
	return img
}

func (w *window) save(name string) {
	w.t.Helper()
	writePNG(w.t, name, w.picture())
}

// writePNG writes img with the 256 colours that serve it best, which is a
// third of the size and no difference to the eye.
func writePNG(t testing.TB, name string, img image.Image) {
	t.Helper()
	small := image.NewPaletted(img.Bounds(), medianCut(img, 256))
	nearest := map[color.RGBA]uint8{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := rough(img.At(x, y))
			i, ok := nearest[c]
			if !ok {
				i = uint8(small.Palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small))
	require.NoError(t, os.WriteFile(filepath.Join(docsImages, name), out.Bytes(), 0o644))
	t.Logf("%s: %d bytes", name, out.Len())
}

// rough is a colour without its lowest two bits, so that there are few to count.
func rough(c color.Color) color.RGBA {
	r, g, b, _ := c.RGBA()
	f := func(v uint32) uint8 { v >>= 8; return uint8(v&^3 | v>>6) }
	return color.RGBA{f(r), f(g), f(b), 255}
}

// medianCut is Heckbert's: the box of colours with the widest side is cut where
// half of its pixels lie on either side, until there are n boxes.
func medianCut(img image.Image, n int) color.Palette {
	type entry struct {
		c     [3]int
		count int
	}
	seen := map[color.RGBA]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			seen[rough(img.At(x, y))]++
		}
	}
	all := make([]entry, 0, len(seen))
	for c, k := range seen {
		all = append(all, entry{[3]int{int(c.R), int(c.G), int(c.B)}, k})
	}
	widest := func(box []entry) (axis, width int) {
		for i := range 3 {
			lo, hi := 255, 0
			for _, e := range box {
				lo, hi = min(lo, e.c[i]), max(hi, e.c[i])
			}
			if hi-lo > width {
				axis, width = i, hi-lo
			}
		}
		return axis, width
	}
	boxes := [][]entry{all}
	for len(boxes) < n {
		best, bestAxis, bestWidth := 0, 0, 0
		for i, box := range boxes {
			if axis, width := widest(box); width > bestWidth {
				best, bestAxis, bestWidth = i, axis, width
			}
		}
		if bestWidth == 0 {
			break
		}
		box := boxes[best]
		slices.SortFunc(box, func(x, y entry) int { return x.c[bestAxis] - y.c[bestAxis] })
		total, half, cut := 0, 0, 0
		for _, e := range box {
			total += e.count
		}
		for cut < len(box)-1 && half*2 < total {
			half += box[cut].count
			cut++
		}
		boxes[best] = box[:cut]
		boxes = append(boxes, box[cut:])
	}
	palette := make(color.Palette, 0, len(boxes))
	for _, box := range boxes {
		var sum [3]int
		count := 0
		for _, e := range box {
			count += e.count
			for i := range 3 {
				sum[i] += e.c[i] * e.count
			}
		}
		palette = append(palette, color.RGBA{uint8(sum[0] / count), uint8(sum[1] / count), uint8(sum[2] / count), 255})
	}
	return palette
}
