// Package page holds the web page of the platform: one HTML file, a style
// sheet, an icon and a handful of ES modules, embedded as they are. Nothing
// builds them and they load nothing from anywhere else.
//
// The page expects index.html at / (with any query: /?intro=CODE is an
// introduction), every other file of FS under /assets/, the SDK's socket client,
// signaling.ClientJS, at /assets/plimsoll.js, and compress.DeltaJS at
// /assets/delta.js. It runs under
//
//	Content-Security-Policy: default-src 'self'; img-src 'self' blob: data:; media-src blob:
package page

import "embed"

// FS holds index.html and, beside it, every file that is served under /assets/.
//
//go:embed index.html style.css icon.svg *.js
var FS embed.FS
