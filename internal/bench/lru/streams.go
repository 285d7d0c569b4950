package main

import (
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
)

// zipf draws n numbers below keys, number i with a weight of 1/(i+1)^s.
func zipf(r *rand.Rand, s float64, keys, n int) []int {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	out := make([]int, n)
	for i := range out {
		out[i] = sort.SearchFloat64s(sums, r.Float64()*sum)
	}
	return out
}

// stream is what a cache is asked for, in order.
type stream struct {
	name  string
	keys  []int
	fills []bool // nil, or which of them are put there without a look-up
	warm  int    // how many do not count
}

func (s stream) fill(i int) bool   { return s.fills != nil && s.fills[i] }
func (s stream) counts(i int) bool { return i >= s.warm && !s.fill(i) }

const (
	streamKeys = 200_000
	streamLen  = 1_000_000
)

// streams are the synthetic ones on which hit ratios are compared.
func streams() []stream {
	r := rand.New(rand.NewPCG(1, 2))
	loop := make([]int, streamLen)
	for i := range loop {
		loop[i] = i % streamKeys
	}
	const warm = streamLen / 5
	return []stream{
		{name: "zipf 1.01", warm: warm, keys: zipf(r, 1.01, streamKeys, streamLen)},
		{name: "zipf 1.1", warm: warm, keys: zipf(r, 1.1, streamKeys, streamLen)},
		{name: "zipf 1.2", warm: warm, keys: zipf(r, 1.2, streamKeys, streamLen)},
		{name: "scan", warm: warm, keys: scanned(zipf(r, 1.1, streamKeys, streamLen))},
		{name: "loop", warm: warm, keys: loop},
		{name: "drift", warm: warm, keys: drifting(zipf(r, 1.1, streamKeys, streamLen))},
	}
}

// scanned puts 5,000 keys that are read once after every 20,000 requests.
func scanned(in []int) []int {
	out := make([]int, 0, streamLen)
	once := streamKeys
	for i := 0; len(out) < streamLen; i++ {
		out = append(out, in[i])
		if i%20_000 == 19_999 {
			for range 5_000 {
				out = append(out, once)
				once++
			}
		}
	}
	return out[:streamLen]
}

// drifting moves the head of the distribution by one key every 10 requests.
func drifting(in []int) []int {
	out := make([]int, len(in))
	for i, k := range in {
		out[i] = (k + i/10) % streamKeys
	}
	return out
}

// scramble makes neighbouring numbers distant keys.
func scramble(i int) int { return int(uint64(i) * 0x9e3779b97f4a7c15 >> 1) }

// uuid returns a key of 36 bytes, a fresh copy each time.
func uuid(i int) string {
	const form = "00000000-0000-4000-8000-"
	digits := strconv.Itoa(scramble(i) % 1_000_000_000_000)
	return form + "000000000000"[len(digits):] + digits
}
