package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"unsafe"
)

// A node is a value of a JSON document: the text of it, and the nodes within.
type node struct {
	raw   []byte
	kind  byte // '{', '[' or 0 for a scalar
	names [][]byte
	items []*node
}

// maxDepth bounds how deep arrays and objects may lie in each other.
const maxDepth = 200

var errDepth = errors.New("compress: JSON nested too deep")

// parseNode reads a compact and valid document.
func parseNode(doc []byte) (*node, error) {
	n, _, err := parse(doc, 0, 0)
	return n, err
}

func parse(doc []byte, at, depth int) (n *node, end int, err error) {
	if depth > maxDepth {
		return nil, 0, errDepth
	}
	n = &node{}
	start := at
	switch doc[at] {
	case '{', '[':
		n.kind = doc[at]
		at++
		for doc[at] != '}' && doc[at] != ']' {
			if doc[at] == ',' {
				at++
			}
			if n.kind == '{' {
				name := at
				at = stringEnd(doc, at)
				n.names = append(n.names, canonical(doc[name:at]))
				at++ // the colon
			}
			var item *node
			if item, at, err = parse(doc, at, depth+1); err != nil {
				return nil, 0, err
			}
			n.items = append(n.items, item)
		}
		at++
	case '"':
		at = stringEnd(doc, at)
	default:
		for at < len(doc) && doc[at] != ',' && doc[at] != '}' && doc[at] != ']' {
			at++
		}
	}
	n.raw = doc[start:at]
	return n, at, nil
}

// canonical is a member's name in the one way of writing it.
func canonical(name []byte) []byte {
	var s string
	if bytes.IndexByte(name, '\\') >= 0 && json.Unmarshal(name, &s) == nil {
		return appendString(nil, s)
	}
	return name
}

// stringEnd returns the index after the string that starts at at.
func stringEnd(doc []byte, at int) int {
	for at++; doc[at] != '"'; at++ {
		if doc[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// identity is what an array element is recognised by.
func (n *node) identity(keys []string) []byte {
	if n.kind != '{' {
		return n.raw
	}
	for _, key := range keys {
		for i, name := range n.names {
			if len(name) == len(key)+2 && string(name[1:len(name)-1]) == key && n.items[i].kind == 0 {
				return n.items[i].raw
			}
		}
	}
	return n.raw
}

// size is the memory of the tree, without the text.
func (n *node) size() int64 {
	s := int64(unsafe.Sizeof(*n)) + int64(cap(n.items))*8 + int64(cap(n.names))*24
	for _, item := range n.items {
		s += item.size()
	}
	return s
}
