// Package deps holds the peers that are compared, while the comparisons are written.
package deps

import (
	_ "github.com/CAFxX/httpcompression"
	_ "github.com/KimMachineGun/automemlimit/memlimit"
	_ "github.com/Yiling-J/theine-go"
	_ "github.com/andybalholm/brotli"
	_ "github.com/centrifugal/centrifuge"
	_ "github.com/coder/websocket"
	_ "github.com/dgraph-io/ristretto/v2"
	_ "github.com/go-chi/chi/v5/middleware"
	_ "github.com/gorilla/handlers"
	_ "github.com/gorilla/websocket"
	_ "github.com/hashicorp/golang-lru/v2"
	_ "github.com/hashicorp/golang-lru/v2/expirable"
	_ "github.com/jellydator/ttlcache/v3"
	_ "github.com/klauspost/compress/gzhttp"
	_ "github.com/lxzan/gws"
	_ "github.com/maypok86/otter/v2"
	_ "github.com/olahol/melody"
	_ "golang.org/x/sys/unix"
)
