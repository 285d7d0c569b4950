package redislink

import (
	"hash/fnv"
	"strconv"
)

// slots is how many a Redis Cluster has.
const slots = 16384

// Partitions spread names over hash tags, which lie evenly over the slots of a
// Redis Cluster. (Tags that merely count, {0}, {1}…, would leave half of its
// servers idle.) All nodes must use the same number.
type Partitions struct {
	tags []string
}

// NewPartitions returns n of them.
func NewPartitions(n int) Partitions {
	p := Partitions{tags: make([]string, n)}
	for found, i := 0, 0; found < n; i++ {
		tag := strconv.Itoa(i)
		if at := int(crc16(tag)) % slots * n / slots; p.tags[at] == "" {
			p.tags[at] = "{" + tag + "}"
			found++
		}
	}
	return p
}

// Len returns their number.
func (p Partitions) Len() int { return len(p.tags) }

// Of returns that of a name.
func (p Partitions) Of(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % uint32(len(p.tags)))
}

// Tag returns the hash tag of a partition, in braces.
func (p Partitions) Tag(i int) string { return p.tags[i] }

// crc16 is the XMODEM one, by which Redis Cluster assigns slots.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
