package web

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // decodes what browsers upload
	"image/jpeg"
	_ "image/png" // decodes what browsers upload
	"net/http"
	"sync"
	"time"

	xdraw "golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // decodes what browsers upload

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const (
	maxUpload   = 2 << 20 // bytes of the picture as it arrives
	maxPixels   = 12 << 20
	selfieSide  = 480 // pixels; the picture is shown at 240 points at most
	jpegQuality = 80
	uploadTime  = 15 * time.Second // for the picture to arrive
)

var errNoPicture = &dating.Error{Code: "invalid_image", Message: "the picture is not a JPEG, PNG, GIF or WebP image of at most 12 megapixels"}

// reencode turns an upload into a square JPEG of our own making, so that what
// we serve can be nothing but a picture, without the metadata of the camera.
// The caller has reserved what decodedBytes says.
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

// decodedBytes bounds what decoding an upload takes, without decoding it.
func decodedBytes(upload []byte) (int64, error) {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(upload))
	if err != nil || cfg.Width <= 0 || cfg.Height <= 0 || int64(cfg.Width)*int64(cfg.Height) > maxPixels {
		return 0, errNoPicture
	}
	perPixel := int64(8) // the picture, and the passes of an interlaced one
	switch {
	case format == "jpeg" && progressive(upload):
		perPixel = 16 // 4 bytes for each of 3 coefficients beside the picture
	case format == "jpeg":
		perPixel = 4
	case cfg.ColorModel == color.RGBA64Model || cfg.ColorModel == color.NRGBA64Model:
		perPixel = 16
	}
	return int64(cfg.Width) * int64(cfg.Height) * perPixel, nil
}

// progressive reports whether a JPEG has a progressive frame (marker SOF2), or
// is so odd that it may have.
func progressive(jpeg []byte) bool {
	for i := 2; i+4 <= len(jpeg) && jpeg[i] == 0xff; {
		switch marker := jpeg[i+1]; {
		case marker == 0xc0, marker == 0xc1:
			return false
		case marker == 0xff:
			i++ // fill byte
			continue
		}
		i += 2 + int(jpeg[i+2])<<8 + int(jpeg[i+3])
	}
	return true
}

// uploading holds who has a picture on its way: one each, so that nobody fills
// the budget alone.
type uploading struct {
	mu  sync.Mutex
	who map[dating.UserID]struct{} // as many as Uploads has room for
}

var errOneUpload = &dating.Error{Code: dating.TooMany, Message: "your last picture is still on its way"}

func (u *uploading) begin(id dating.UserID) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, busy := u.who[id]; busy {
		return errOneUpload
	}
	u.who[id] = struct{}{}
	return nil
}

func (u *uploading) end(id dating.UserID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.who, id)
}

// tooLarge reports whether err is http.MaxBytesReader's.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
