//go:build !wasm

package runtime

import "runtime"

// IsWorkflow says whether the goroutine is the workflow's.
func IsWorkflow() bool {
	return true
}

// Begin is where a workflow begins.
func Begin() {}

// Calling begins a call of the host's, which is not here.
func Calling() *runtime.Pinner {
	return &runtime.Pinner{}
}

// Returned ends it.
func Returned(pinner *runtime.Pinner) {
	pinner.Unpin()
}
