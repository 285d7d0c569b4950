// Package page holds the page behind /admin/live: one HTML file, a style sheet
// and two ES modules, embedded as they are. Nothing builds them, and they load
// nothing from elsewhere but the SDK's socket client, /assets/plimsoll.js.
package page

import "embed"

// FS holds live.html, and beside it what is served under /admin/.
//
//go:embed live.html live.css *.js
var FS embed.FS
