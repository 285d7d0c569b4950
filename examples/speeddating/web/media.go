package web

import (
	"bytes"
	"errors"
	"image"
	"image/draw"
	_ "image/gif" // decodes what browsers upload
	"image/jpeg"
	_ "image/png" // decodes what browsers upload
	"net/http"

	xdraw "golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // decodes what browsers upload

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const (
	maxUpload   = 2 << 20 // bytes of the picture as it arrives
	maxPixels   = 12 << 20
	selfieSide  = 480 // pixels; the picture is shown at 240 points at most
	jpegQuality = 80

	// bytesPerPixel bounds what decoding costs: the picture as decoded, and
	// what a progressive JPEG holds beside it: 4 bytes for each of 3 coefficients.
	bytesPerPixel = 16
)

var errNoPicture = &dating.Error{Code: "invalid_image", Message: "the picture is not a JPEG, PNG, GIF or WebP image of at most 12 megapixels"}

// reencode turns an upload into a square JPEG of our own making, so that what
// we serve can be nothing but a picture, without the metadata of the camera.
// It holds up to 6 bytes a pixel while it works; the caller has reserved them.
func reencode(upload []byte) ([]byte, error) {
	src, _, err := image.Decode(bytes.NewReader(upload))
	if err != nil {
		return nil, errNoPicture
	}
	b := src.Bounds()
	side := min(b.Dx(), b.Dy())
	crop := image.Rect(0, 0, side, side).Add(b.Min).Add(image.Pt((b.Dx()-side)/2, (b.Dy()-side)/2))
	size := min(side, selfieSide)
	dst := image.NewRGBA(image.Rect(0, 0, size, size))
	draw.Draw(dst, dst.Bounds(), image.White, image.Point{}, draw.Src)
	xdraw.ApproxBiLinear.Scale(dst, dst.Bounds(), src, crop, draw.Over, nil)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, dst, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// pixels tells how large an upload would be when decoded, without decoding it.
func pixels(upload []byte) (int64, error) {
	cfg, _, err := image.DecodeConfig(bytes.NewReader(upload))
	if err != nil || cfg.Width <= 0 || cfg.Height <= 0 || int64(cfg.Width)*int64(cfg.Height) > maxPixels {
		return 0, errNoPicture
	}
	return int64(cfg.Width) * int64(cfg.Height), nil
}

// tooLarge reports whether err is http.MaxBytesReader's.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
