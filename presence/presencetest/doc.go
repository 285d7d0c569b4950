// Package presencetest tests implementations of presence.Store.
//
// TestStore is the suite that every Store must pass. Chaos makes a good Store
// behave like a bad network, for tests of what stands on it.
package presencetest
