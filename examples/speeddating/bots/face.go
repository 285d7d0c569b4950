package bots

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// face draws a bot's portrait: a round face with two eyes and a smile, in
// colours of its own.
func face(rnd *rand.Rand) []byte {
	const size = 256
	hue := rnd.Float64()
	back, skin, dark := colour(hue, 0.55, 0.85), colour(hue+0.45, 0.25, 0.97), colour(hue, 0.6, 0.3)
	smile := 0.25 + 0.4*rnd.Float64()
	eyes := 30 + 14*rnd.Float64()
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			dx, dy := float64(x-size/2), float64(y-size/2)
			c := back
			if math.Hypot(dx, dy*0.92) < 92 {
				c = skin
			}
			mouth := math.Hypot(dx, dy-10)
			switch {
			case math.Hypot(math.Abs(dx)-eyes, (dy+22)*0.8) < 10,
				mouth > 42 && mouth < 49 && dy-10 > 42*(1-smile):
				c = dark
			}
			img.SetRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	jpeg.Encode(&out, img, &jpeg.Options{Quality: 80}) // a bytes.Buffer takes everything
	return out.Bytes()
}

// colour converts hue (its fraction counts), saturation and value to RGB.
func colour(h, s, v float64) color.RGBA {
	channel := func(n float64) uint8 {
		k := math.Mod(n+6*(h-math.Floor(h)), 6)
		return uint8(255 * (v - v*s*max(0, min(k, 4-k, 1))))
	}
	return color.RGBA{channel(5), channel(3), channel(1), 255}
}
