// Package runtime is what generated bindings call: handles of resources, and memory for what comes from the host and goes to it.
package runtime

import (
	"runtime"
	"unsafe"
)

// Handle is a handle of a resource, until it is given away.
type Handle struct {
	value int32
}

// MakeHandle makes one of what the host has answered.
func MakeHandle(value int32) *Handle {
	handle := &Handle{}
	handle.Set(value)
	return handle
}

// Use answers the handle, which stays.
func (handle *Handle) Use() int32 {
	if handle.value == 0 {
		panic("the resource was given away already")
	}
	return handle.value
}

// Take answers the handle, which is gone then.
func (handle *Handle) Take() int32 {
	value := handle.Use()
	handle.value = 0
	return value
}

// TakeOrNil is Take, and 0 if it is gone.
func (handle *Handle) TakeOrNil() int32 {
	value := handle.value
	handle.value = 0
	return value
}

// Set puts a handle where there is none.
func (handle *Handle) Set(value int32) {
	if value == 0 || handle.value != 0 {
		panic("a resource has one handle")
	}
	handle.value = value
}

// Allocate answers memory that stays where it is until the pinner lets it go. It is called before the host is asked for what it will put
// into memory.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if len(spare)-int(spareUsed) < spareLeast {
		setAside()
	}
	return allocate(pinner, size, align)
}

func allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	var memory unsafe.Pointer
	// The collector aligns by the type.
	switch align {
	case 1:
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint16, (size+1)/2)))
	case 4:
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint32, (size+3)/4)))
	default:
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	}
	pinner.Pin(memory)
	return memory
}

var fromHost runtime.Pinner

// Unpin leaves to the collector what came from the host.
func Unpin() {
	fromHost.Unpin()
}

// The adapter of WASI asks for memory before there is a collector: two pieces of 64 KiB, which it keeps.
var (
	early     [256 << 10]byte
	earlyUsed uintptr
	collected bool
)

// What comes from the host goes where memory was set aside for it: while it asks for some a component must not call it, and Go's own
// allocator does, for the time, when it makes the heap larger or begins to collect. Only what is larger than what is left is left to that.
const (
	spareSize  = 4 << 20
	// A payload of 1 MiB, which is the limit where no operator says otherwise, and what comes beside it.
	spareLeast = 1<<20 + 64<<10
)

var (
	spare     []byte
	spareUsed uintptr
)

// What is in the old one lives as long as somebody points to it.
func setAside() {
	spare, spareUsed = make([]byte, spareSize), 0
}

func init() {
	collected = true
	setAside()
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		panic("memory of the host's does not grow")
	}
	if collected {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(spare)))
		begin := (base+spareUsed+align-1)&^(align-1) - base
		if size > 0 && begin+size <= spareSize {
			spareUsed = begin + size
			return unsafe.Pointer(&spare[begin])
		}
		return allocate(&fromHost, size, align)
	}
	base := uintptr(unsafe.Pointer(&early))
	begin := (base+earlyUsed+align-1)&^(align-1) - base
	if begin+size > uintptr(len(early)) {
		panic("there is not that much memory before the collector")
	}
	earlyUsed = begin + size
	return unsafe.Pointer(&early[begin])
}

// NotHere is where calls of the host go in a program that is no component, such as a test's.
func NotHere() {
	panic("this can be called in a run only: play the workflow with `dacapo test`")
}
