package compress

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// A Frame is a WebSocket message for any number of gorilla connections. It is
// encoded, and deflated where that is worth it, once for all of them. It may
// be written from any goroutine, but to one connection only as gorilla allows:
// by one writer at a time.
//
// The Upgrader needs EnableCompression. Deflating for each receiver is what
// costs most in a broadcast; deflating tiny messages makes them no smaller.
type Frame struct {
	prepared *websocket.PreparedMessage
	deflate  bool
	size     int
}

// deflateBytes is the message from which deflate without context takeover
// saves more than it costs.
const deflateBytes = 200

// NewFrame prepares a message of type websocket.TextMessage or BinaryMessage.
// It returns gorilla's error for another type.
func NewFrame(messageType int, message []byte) (*Frame, error) {
	pm, err := websocket.NewPreparedMessage(messageType, message)
	if err != nil {
		return nil, fmt.Errorf("compress: frame: %w", err)
	}
	return &Frame{pm, WorthDeflating(message), len(message)}, nil
}

// WorthDeflating reports whether a message is long enough, and its bytes few
// enough in kind, for permessage-deflate (RFC 7692) to pay.
func WorthDeflating(message []byte) bool {
	if len(message) < deflateBytes {
		return false
	}
	var seen [256]bool
	kinds := 0
	for _, b := range message[:deflateBytes] {
		if !seen[b] {
			seen[b] = true
			kinds++
		}
	}
	return kinds < 110 // packed bytes have about 140 kinds among 200
}

// WriteTo writes the frame to a connection. Its error is that of the write.
func (f *Frame) WriteTo(conn *websocket.Conn) error {
	conn.EnableWriteCompression(f.deflate)
	return conn.WritePreparedMessage(f.prepared)
}

// Len is the number of bytes of the message.
func (f *Frame) Len() int { return f.size }

// ErrMessageTooLarge is returned by ReadMessage.
var ErrMessageTooLarge = errors.New("compress: WebSocket message too large")

// ReadMessage reads one message of at most maxBytes bytes as they are after
// inflating; conn.SetReadLimit counts them before, so that a few bytes on the
// wire may become gigabytes. A longer message closes the connection with 1009
// and returns ErrMessageTooLarge; other errors are those of the connection.
// What a client deflates behind a final block (RFC 7692, 7.2.3.4) gorilla drops.
func ReadMessage(conn *websocket.Conn, maxBytes int64) (messageType int, message []byte, err error) {
	messageType, r, err := conn.NextReader()
	if err != nil {
		return 0, nil, err
	}
	message, err = io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return 0, nil, err
	}
	if int64(len(message)) > maxBytes {
		reason := websocket.FormatCloseMessage(websocket.CloseMessageTooBig, "message too large")
		conn.WriteControl(websocket.CloseMessage, reason, time.Now().Add(time.Second))
		return 0, nil, ErrMessageTooLarge
	}
	return messageType, message, nil
}
