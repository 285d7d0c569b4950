package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
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
		makeDashboardImage(t)
	}
	for _, name := range []string{"queue.png", "call.png", "phone.png", "dashboard.png"} {
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
	for _, w := range []*window{ada, mara} {
		w.eval(`document.activeElement.blur()`)
	}
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

// makeDashboardImage shows a small server with 300 busy people, some of whose
// memory somebody else takes for a while.
func makeDashboardImage(t *testing.T) {
	a := startApp(t, func(c *config) {
		c.adminToken, c.memoryLimit, c.maxConnections, c.maxPerAddr = adminToken, 96<<20, 600, 600
	})
	crowd := make(chan error, 1)
	ctx, sendHome := context.WithCancel(t.Context())
	go func() {
		_, err := load.Run(ctx, load.Options{URL: a.URL(), Users: 300, Ramp: 30 * time.Second, Duration: time.Hour, Pace: 12 * time.Second, Call: 5 * time.Second})
		crowd <- err
	}()
	w := openWindow(t, a.URL(), "Admin", "")
	w.resize(1280, 1250)
	w.open("/admin/live")
	w.visible("#enter")
	w.write("#enter [name=token]", adminToken)
	w.click("#enter button")
	w.visible("#board")
	time.Sleep(55 * time.Second)
	uploads := a.memory.Account("uploads")
	for step := int64(1 << 20); ; time.Sleep(700 * time.Millisecond) {
		if uploads.Reserve(step) != nil {
			break
		}
		defer uploads.Release(step)
	}
	requests := a.memory.Account("requests")
	for step := int64(512 << 10); requests.Reserve(step) == nil; time.Sleep(300 * time.Millisecond) {
		time.AfterFunc(12*time.Second, func() { requests.Release(step) })
	}
	time.Sleep(22 * time.Second)
	w.save("dashboard.png")
	sendHome()
	require.ErrorIs(t, <-crowd, context.Canceled)
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

// writePNG writes img without as many of the lowest bits of its colours as it
// takes to stay within maxImageBytes.
func writePNG(t testing.TB, name string, img image.Image) {
	t.Helper()
	var out bytes.Buffer
	for bits := range 4 {
		b := img.Bounds()
		coarse := image.NewRGBA(b)
		draw.Draw(coarse, b, img, b.Min, draw.Src)
		for i, v := range coarse.Pix {
			coarse.Pix[i] = v>>bits<<bits | v>>(8-bits)
		}
		out.Reset()
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, coarse))
		t.Logf("%s: %d bytes without the lowest %d bits", name, out.Len(), bits)
		if out.Len() <= maxImageBytes {
			break
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(docsImages, name), out.Bytes(), 0o644))
}
