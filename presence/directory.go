package presence

import (
	"hash/maphash"
	"unsafe"
)

// directory finds users by id: a hash table with linear probing. A slot has
// the hash beside the reference, so that only the right user's record is
// looked at, and only records that exist cost more than eight bytes.
type directory struct {
	slab  slab[user]
	slots []slot // a power of two
	seed  maphash.Seed
	n     int
}

type slot struct {
	hash uint32
	user ref // 0: empty
}

const minSlots = 64

func newDirectory() directory {
	return directory{seed: maphash.MakeSeed(), slots: make([]slot, minSlots)}
}

// find returns the user with this id, or nil.
func (d *directory) find(id string) *user {
	hash := uint32(maphash.String(d.seed, id))
	mask := uint32(len(d.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := d.slots[i]
		if s.user == 0 {
			return nil
		}
		if s.hash == hash {
			if u := d.slab.at(s.user); u.id() == id {
				return u
			}
		}
	}
}

// add makes a user of an id that find does not know.
func (d *directory) add(id string) *user {
	if d.n >= len(d.slots)/5*4 {
		d.resize(2 * len(d.slots))
	}
	r, u := d.slab.add()
	u.name.set(&u.nameSize, id)
	d.put(slot{uint32(maphash.String(d.seed, id)), r})
	d.n++
	return u
}

func (d *directory) put(s slot) {
	mask := uint32(len(d.slots) - 1)
	i := s.hash & mask
	for d.slots[i].user != 0 {
		i = (i + 1) & mask
	}
	d.slots[i] = s
}

// remove frees the record of u.
func (d *directory) remove(u *user) {
	mask := uint32(len(d.slots) - 1)
	hole := uint32(maphash.String(d.seed, u.id())) & mask
	for d.slots[hole].user == 0 || d.slab.at(d.slots[hole].user) != u {
		hole = (hole + 1) & mask
	}
	d.slab.remove(d.slots[hole].user)
	// What comes after the hole and would not be found beyond it moves into it.
	for i := (hole + 1) & mask; d.slots[i].user != 0; i = (i + 1) & mask {
		if (i-d.slots[i].hash)&mask >= (i-hole)&mask {
			d.slots[hole] = d.slots[i]
			hole = i
		}
	}
	d.slots[hole] = slot{}
	d.n--
	if len(d.slots) > minSlots && d.n < len(d.slots)/8 {
		d.resize(len(d.slots) / 4)
	}
}

func (d *directory) resize(n int) {
	old := d.slots
	d.slots = make([]slot, max(n, minSlots))
	for _, s := range old {
		if s.user != 0 {
			d.put(s)
		}
	}
}

// bytesOf is the data of a string or a slice without its length, which a
// record keeps elsewhere, in fewer bytes than a header has.
type bytesOf struct{ data *byte }

// set keeps s, of 1 to MaxID bytes, with its length less one in size.
func (b *bytesOf) set(size *uint8, s string) {
	b.data, *size = unsafe.StringData(s), uint8(len(s)-1)
}

func (b bytesOf) string(size uint8) string { return unsafe.String(b.data, int(size)+1) }

func (b bytesOf) slice(n uint32) []byte { return unsafe.Slice(b.data, n) }
