package runtime

import (
	"runtime"
	"runtime/debug"
)

// The collector looks at the clock, which is a call of the host's; and while the host asks for memory, for what it is about to hand over, it
// takes no calls. So nothing is collected where it may ask: before the workflow begins, when its input comes, and within each call.
var (
	// How much the heap may grow before it is collected, in percent, while nothing is under way.
	percent = debug.SetGCPercent(-1)
	// Calls that are under way, or the beginning. They are several only where goroutines call.
	underWay = 1
)

// workflow is the goroutine that the workflow is played by.
var workflow uintptr

// goroutine is that which calls it: its place in memory, which stays the same.
func goroutine() uintptr

// IsWorkflow says whether the goroutine is the workflow's.
func IsWorkflow() bool {
	return goroutine() == workflow
}

// Begin lets the collector work, since the workflow begins.
func Begin() {
	workflow = goroutine()
	ended()
}

// Calling begins a call of the host's, and answers what keeps in its place what is handed over.
func Calling() *runtime.Pinner {
	underWay++
	// What is being collected already is waited for.
	if before := debug.SetGCPercent(-1); underWay == 1 {
		percent = before
	}
	return &runtime.Pinner{}
}

// Returned ends it.
func Returned(pinner *runtime.Pinner) {
	pinner.Unpin()
	ended()
}

func ended() {
	underWay--
	if underWay == 0 {
		debug.SetGCPercent(percent)
	}
}
