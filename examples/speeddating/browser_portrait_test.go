package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/vector"
)

// The people on the pictures of the documentation are drawn, not photographed:
// every one follows from its number, and looks and breathes a little in a clip.

// pen draws filled shapes with smooth edges in a unit square.
type pen struct{ img *image.RGBA }

func (p pen) fill(c color.Color, shape func(z *vector.Rasterizer, s float32)) {
	b := p.img.Bounds()
	z := vector.NewRasterizer(b.Dx(), b.Dy())
	shape(z, float32(min(b.Dx(), b.Dy())))
	z.Draw(p.img, b, image.NewUniform(c), image.Point{})
}

// oval is an ellipse around (x, y), cut off above top and below bottom.
func (p pen) oval(c color.Color, x, y, rx, ry, top, bottom float64) {
	offset := float64(p.img.Bounds().Dx()-p.img.Bounds().Dy()) / 2
	p.fill(c, func(z *vector.Rasterizer, s float32) {
		const steps = 72
		for i := range steps {
			a := 2 * math.Pi * float64(i) / steps
			px := float32(x+rx*math.Cos(a))*s + float32(offset)
			py := float32(min(max(y+ry*math.Sin(a), top), bottom)) * s
			if i == 0 {
				z.MoveTo(px, py)
			} else {
				z.LineTo(px, py)
			}
		}
		z.ClosePath()
	})
}

// portrait draws person n, t seconds into the clip.
func portrait(n, width, height int, t float64) *image.RGBA {
	skins := []uint32{0xf2c9a8, 0xd99f78, 0x8d5a3c, 0xf6d7c0, 0xb97850, 0xe8b690, 0x6b4230}
	hairs := []uint32{0x3a2620, 0x1f1a1d, 0x8a4b2a, 0xc99a5b, 0x5d3a2e, 0x2c2430, 0xa9a3a0}
	shirts := []uint32{0xac3f26, 0x3d5a80, 0x4d7358, 0x7a4b7c, 0xc98b2f, 0x2f4858, 0xb65b73}
	walls := [][2]uint32{{0xf6dcc4, 0xd9957a}, {0xcfd8e6, 0x7f93b5}, {0xdfe6cf, 0x93a878}, {0xeadcf0, 0xa184b0}, {0xfbe7b8, 0xdba75c}, {0xcfe4e2, 0x6f9e9b}}
	pick := func(list []uint32, k int) color.RGBA { return rgb(list[k%len(list)]) }
	skin, hair, shirt := pick(skins, n*3+1), pick(hairs, n*5+n/3), pick(shirts, n*4+2)
	wall := walls[n%len(walls)]

	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		draw.Draw(img, image.Rect(0, y, width, y+1), image.NewUniform(mix(rgb(wall[0]), rgb(wall[1]), float64(y)/float64(height))), image.Point{}, draw.Src)
	}
	p := pen{img}
	breath := 0.006 * math.Sin(t*2)
	x := 0.5 + 0.018*math.Sin(t*0.9+float64(n))
	y := 0.45 + breath
	shade := mix(skin, rgb(0x40201a), 0.18)
	none, all := -9.0, 9.0
	long := n%3 == 0
	p.oval(mix(rgb(wall[1]), color.RGBA{255, 255, 255, 255}, 0.28), 0.5, 0.46, 0.42, 0.42, none, all) // a lamp behind
	if long {
		p.oval(hair, x, y+0.08, 0.245, 0.34, none, y+0.36)
	}
	p.oval(shirt, 0.5, 1.06+breath, 0.36, 0.36, none, all)
	p.oval(shade, x, y+0.25, 0.085, 0.15, none, all) // neck
	p.oval(mix(shirt, color.RGBA{255, 255, 255, 255}, 0.2), 0.5, 0.735+breath, 0.11, 0.035, none, all)
	p.oval(shade, x, y+0.285, 0.085, 0.09, none, all)
	if !long {
		p.oval(hair, x, y-0.06, 0.2, 0.2, none, y+0.02)
	}
	for _, side := range []float64{-1, 1} {
		p.oval(shade, x+side*0.178, y+0.035, 0.028, 0.045, none, all) // ears
	}
	p.oval(skin, x, y+0.02, 0.178, 0.225, none, all)
	switch n % 4 { // what hangs into the forehead
	case 0:
		p.oval(hair, x, y-0.1, 0.188, 0.135, none, y-0.075)
	case 1:
		p.oval(hair, x-0.05, y-0.135, 0.15, 0.1, none, all)
		p.oval(hair, x+0.1, y-0.12, 0.09, 0.075, none, all)
	case 2:
		p.oval(hair, x, y-0.115, 0.19, 0.12, none, y-0.1)
		p.oval(hair, x, y-0.2, 0.09, 0.08, none, all)
	default:
		p.oval(hair, x+0.04, y-0.13, 0.165, 0.095, none, all)
	}
	look := 0.008 * math.Sin(t*0.7)
	lid := 0.017
	if math.Mod(t+float64(n), 3.4) < 0.16 {
		lid = 0.004
	}
	dark := rgb(0x2b1d20)
	for _, side := range []float64{-1, 1} {
		p.oval(mix(hair, dark, 0.4), x+side*0.073, y-0.032, 0.034, 0.0085, none, all)
		p.oval(dark, x+side*0.073+look, y+0.02, 0.0165, lid, none, all)
		p.oval(mix(skin, rgb(0xd9574a), 0.28), x+side*0.112, y+0.088, 0.032, 0.021, none, all)
	}
	p.oval(shade, x, y+0.073, 0.017, 0.026, y+0.073, all)
	smile := 0.036 + 0.008*math.Sin(t*1.3)
	p.oval(rgb(0x8c2f2d), x, y+0.125, 0.062, smile, y+0.128, all)
	p.oval(rgb(0xfff6ee), x, y+0.125, 0.05, 0.016, y+0.129, all)
	return img
}

func rgb(v uint32) color.RGBA { return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255} }

func mix(a, b color.RGBA, f float64) color.RGBA {
	m := func(x, y uint8) uint8 { return uint8(float64(x)*(1-f) + float64(y)*f) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 255}
}

func portraitJPEG(t testing.TB, n, width, height int, at float64) []byte {
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, portrait(n, width, height, at), &jpeg.Options{Quality: 88}))
	return out.Bytes()
}

// writeClip writes six seconds of person n as the motion JPEG that Chromium
// takes for a camera.
func writeClip(t testing.TB, path string, n int) {
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	const fps = 12
	for i := range 6 * fps {
		_, err := f.Write(portraitJPEG(t, n, 640, 480, float64(i)/fps))
		require.NoError(t, err)
	}
}
