// Package repotest holds the tests of the repository itself: that the six
// packages stay independent, documented, and light to import.
package repotest
