//go:build race

package memmgr_test

const raceEnabled = true
