// Package random keeps what the runtime does at random the same in each replay: the order of maps, and what math/rand says.
//
// The runtime draws from one stream, which was seeded by the host. A step's body draws from it, too, but not when its outcome is handed back
// in a replay; so the stream begins anew behind each step.
package random

import (
	"crypto/rand"
	"encoding/binary"
	"unsafe"
)

// Reseed begins a new stream, which is the same however much was drawn from the last one.
func Reseed() {
	mrandinit(getm())
}

// Stir makes the stream another one in each attempt, until it is seeded again.
func Stir() {
	var bytes [2]byte
	_, _ = rand.Read(bytes[:])
	for range binary.LittleEndian.Uint16(bytes[:]) & 0xfff {
		draw()
	}
}

//go:linkname getm runtime.getm
func getm() unsafe.Pointer

//go:linkname mrandinit runtime.mrandinit
func mrandinit(m unsafe.Pointer)

//go:linkname draw runtime.rand
func draw() uint64
