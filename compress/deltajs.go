package compress

import _ "embed"

// DeltaJS is the browser's half of Delta and JSONDelta: an ES module of 2 KB
// that exports the class Delta. Serve it as text/javascript.
//
//go:embed delta.js
var DeltaJS []byte
