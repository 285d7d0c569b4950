package signaling

import _ "embed" // for the browser's client

// ClientJS is the client for browsers: an ES module without dependencies that
// exports the class Plimsoll. Serve it as text/javascript; its comments say how
// to use it.
//
//go:embed plimsoll.js
var ClientJS string
