//go:build !linux

package memmgr

import "testing"

func limitedRoot(*testing.B) string { return "/" }
