package signaling

import (
	"bytes"
	"compress/flate"
	"sync"
)

// deflater compresses one message after another with one writer, whose state
// (over a MiB) would otherwise exist once for each goroutine that broadcasts.
type deflater struct {
	mu  sync.Mutex
	w   *flate.Writer
	buf bytes.Buffer
}

// frame returns payload as one compressed WebSocket text frame.
func (d *deflater) frame(payload []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buf.Reset()
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.buf, flate.BestSpeed)
	} else {
		d.w.Reset(&d.buf)
	}
	d.w.Write(payload)
	d.w.Flush()
	body := bytes.TrimSuffix(d.buf.Bytes(), []byte{0, 0, 0xff, 0xff}) // RFC 7692, 7.2.1
	out := make([]byte, maxHeader, maxHeader+len(body))
	n := putHeader(out, finBit|rsv1Bit|opText, len(body))
	out = append(out, body...)[maxHeader-n:]
	if d.buf.Cap() > 1<<20 {
		d.buf = bytes.Buffer{}
	}
	return out
}
