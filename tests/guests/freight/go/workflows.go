// Package workflows has integers of 64 bits and large texts from others: the same in each language whose kit reads them into types.
package workflows

import (
	"fmt"
	"strings"

	"dacapo"
)

type parcel struct {
	ID     uint64  `json:"id"`
	Others []int64 `json:"others"`
}

// What is asked for beside, so that the collector has something to do.
var kept [][]byte

// Count says integers that no double holds.
func Count() (string, error) {
	child, err := dacapo.StartChild[uint64]("most", "test:port/port.most", nil)
	if err != nil {
		return "", err
	}
	most, err := child.Output()
	if err != nil {
		return "", err
	}
	seen, err := dacapo.WaitFor[parcel]("parcel")
	if err != nil {
		return "", err
	}
	others := strings.ReplaceAll(fmt.Sprint(seen.Others), " ", ", ")
	return fmt.Sprint(most, " ", seen.ID, " ", others), nil
}

// Load says how long the texts are together.
func Load(size, rounds uint32) (uint64, error) {
	total := 0
	for round := range rounds {
		for range 200 {
			kept = append(kept[:len(kept)%50], make([]byte, 20000+round))
		}
		text, err := dacapo.Step("large", func(dacapo.Attempt) (string, error) {
			return strings.Repeat("x", int(size)), nil
		})
		if err != nil {
			return 0, err
		}
		child, err := dacapo.StartChild[string]("load", "test:port/port.load", size)
		if err != nil {
			return 0, err
		}
		loaded, err := child.Output()
		if err != nil {
			return 0, err
		}
		total += len(text) + len(loaded)
	}
	last, err := dacapo.WaitFor[string]("last")
	return uint64(total + len(last)), err
}
