package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// Streams.
var streamsCases = []conformCase{
	{"Flush of twenty bytes reaches the client", func(s *site) {
		next := make(chan bool)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := 0; <-next; i++ {
				fmt.Fprintf(w, "data: number %03d\n\n\n\n", i)
				w.(http.Flusher).Flush()
			}
		})
		r, _ := http.NewRequest("GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		go func() { next <- true }()
		resp, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		require.Equal(s, s.coding, resp.Header.Get("Content-Encoding"))
		in := decoder(s, s.coding, resp.Body)
		for i := range 50 {
			if i > 0 {
				next <- true
			}
			line := make([]byte, 20)
			_, err := io.ReadFull(in, line)
			require.NoError(s, err)
			require.Equal(s, fmt.Sprintf("data: number %03d\n\n\n\n", i), string(line))
		}
		next <- false
		rest, err := io.ReadAll(in)
		require.NoError(s, err)
		require.Empty(s, rest)
		resp.Body.Close()
	}},
	{"Flush before the first Write sends the header", func(s *site) {
		next := make(chan bool)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-next
			io.WriteString(w, "data: x\n\n")
		})
		r, _ := http.NewRequest("GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		resp, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		next <- true
		b, err := io.ReadAll(decoder(s, s.coding, resp.Body))
		require.NoError(s, err)
		require.Equal(s, "data: x\n\n", string(b))
	}},
	{"Flush of nothing ever", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.(http.Flusher).Flush()
		})
		s.encoded(s.get(), nil)
	}},
	{"Flush without a type", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(jsonBody)
		})
		s.plain(s.get(), jsonBody)
	}},
	{"stream of long blocks and flushes", func(s *site) {
		body := cards(1500, 6)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i, b := 0, body; len(b) > 0; i++ {
				n := min(1+i*i*37%90000, len(b))
				w.Write(b[:n])
				b = b[n:]
				if i%3 == 0 {
					w.(http.Flusher).Flush()
				}
			}
		})
		s.encoded(s.get(), body)
	}},
	{"late Flush of a complete body", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody, "Content-Length: "+strconv.Itoa(len(jsonBody)))(w, r)
			w.(http.Flusher).Flush()
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, int64(len(a.raw)), a.ContentLength)
	}},
}

// Interfaces.
var interfacesCases = []conformCase{
	{"Hijack", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nhi")
				conn.Close()
			}
		})
		require.Contains(s, s.wire(s.request()), "299 Own")
	}},
	{"Hijack after a Write", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nhi")
				conn.Close()
			}
		})
		require.Contains(s, s.wire(s.request()), "299 Own")
		require.Eventually(s, func() bool { return s.c.Stats().BufferedBytes == 0 }, 5*time.Second, time.Millisecond)
	}},
	{"WebSocket upgrade", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err == nil {
				conn.WriteMessage(websocket.TextMessage, []byte("hello"))
				conn.Close()
			}
		})
		conn, _, err := websocket.DefaultDialer.Dial("ws"+s.srv.URL[4:], http.Header{"Accept-Encoding": {s.coding}})
		require.NoError(s, err)
		defer conn.Close()
		_, msg, err := conn.ReadMessage()
		require.NoError(s, err)
		require.Equal(s, "hello", string(msg))
	}},
	{"ResponseController: deadlines and full duplex", func(s *site) {
		var errs error
		s.start(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			errs = errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.EnableFullDuplex())
			sends(jsonBody)(w, r)
			errs = errors.Join(errs, rc.Flush())
		})
		s.encoded(s.get(), jsonBody)
		require.NoError(s, errs)
	}},
	{"ReaderFrom: plain", func(s *site) {
		direct := false
		s.outer = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&spyWriter{w, &direct}, r) })
		}
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			w.(io.ReaderFrom).ReadFrom(strings.NewReader(string(jsonBody)))
		})
		s.plain(s.get(), jsonBody)
		require.True(s, direct, "the server may use sendfile")
	}},
	{"ReaderFrom: encoded", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			n, err := w.(io.ReaderFrom).ReadFrom(bytes.NewReader(jsonBody))
			if err != nil || n != int64(len(jsonBody)) {
				panic(err)
			}
		})
		s.encoded(s.get(), jsonBody)
	}},
	{"StringWriter", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.(io.StringWriter).WriteString(string(jsonBody))
		})
		s.encoded(s.get(), jsonBody)
	}},
}
