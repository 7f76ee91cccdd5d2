// Package workflows has workflows that do nothing, to measure Go by: the same as in the other languages.
package workflows

import (
	"encoding/json"

	"dacapo"
)

// NoopSteps is this many steps that record null.
func NoopSteps(n uint32) (uint32, error) {
	for range n {
		err := dacapo.Do("s", func(dacapo.Attempt) error { return nil })
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// WaitEvent waits for the event `go`, and answers the length of its payload.
func WaitEvent() (uint32, error) {
	payload, err := dacapo.WaitFor[json.RawMessage]("go")
	return uint32(len(payload)), err
}
