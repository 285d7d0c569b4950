// Package summary lets a comparison say its main figures in a form that the
// command in the folder above collects.
package summary

import "fmt"

// Prefix begins a line that Row printed.
const Prefix = "summary: "

// Row prints one figure: ours, that of the peer which matters, and what the two
// come to, in words, since it may be better to be large or to be small.
func Row(what, ours, peer, ratio string) {
	fmt.Printf("%s| %s | %s | %s | %s |\n", Prefix, what, ours, peer, ratio)
}

// Faster says how many times as fast something is that took a where its peer
// took b. Behind the point of thousands nothing is known.
func Faster(a, b float64) string {
	if b/a >= 100 {
		return fmt.Sprintf("%.0f × as fast", b/a)
	}
	return fmt.Sprintf("%.2f × as fast", b/a)
}

// Less says what a is of b.
func Less(a, b float64) string { return fmt.Sprintf("%.2f of it", a/b) }
