// Package workflows has what goes wrong in any language.
package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"dacapo"
	"dacapo/wit/mistakes"
	"dacapo/wittypes"
)

func deep() {
	panic(errors.New("there is no such order"))
}

func deeper() {
	deep()
}

// Throws panics outside of steps.
func Throws() error {
	if _, err := dacapo.Step("first", func(dacapo.Attempt) (int, error) { return 1, nil }); err != nil {
		return err
	}
	deeper()
	return nil
}

// ThrowsInStep panics in a step.
func ThrowsInStep() error {
	return dacapo.Do("fragile", func(dacapo.Attempt) error {
		deeper()
		return nil
	}, dacapo.Attempts(1))
}

type node struct {
	Itself *node
}

func unrecordable(what string) any {
	switch what {
	case "function":
		return map[string]any{"inner": deeper}
	case "cycle":
		cycle := &node{}
		cycle.Itself = cycle
		return cycle
	case "nan":
		return []float64{math.NaN()}
	default:
		return make(chan int)
	}
}

// Records has JSON carry what it cannot.
func Records(what string) error {
	_, err := dacapo.Step("record", func(dacapo.Attempt) (any, error) { return unrecordable(what), nil }, dacapo.Attempts(1))
	return err
}

// Nests calls a step in a step.
func Nests() error {
	return dacapo.Do("outer", func(dacapo.Attempt) error {
		return dacapo.Do("inner", func(dacapo.Attempt) error { return nil })
	})
}

// Draws draws random numbers.
func Draws() ([]float64, error) {
	before := dacapo.Random().Float64()
	inside, err := dacapo.Step("draw", func(dacapo.Attempt) (float64, error) { return dacapo.Random().Float64(), nil })
	return []float64{before, inside, dacapo.Random().Float64()}, err
}

// Declines answers the failure of a step.
func Declines() (string, error) {
	err := dacapo.Do("charge", func(dacapo.Attempt) error {
		return dacapo.Fatalf("no funds").WithCode("declined").WithDetails(map[string]int{"missing": 5})
	})
	var failure *dacapo.Failure
	if errors.As(err, &failure) {
		return fmt.Sprintf("%s: %s %s", failure.Code, failure.Message, failure.Details), nil
	}
	return "not declined", err
}

// number is read as one, and written as a text.
type number int

func (number) MarshalJSON() ([]byte, error) {
	return []byte(`"a text"`), nil
}

// Rereads reads something else than it has recorded.
func Rereads() error {
	_, err := dacapo.Step("count", func(dacapo.Attempt) (number, error) { return 1, nil })
	return err
}

// Keeps answers what it is given by way of the journal.
func Keeps(number uint64) (uint64, error) {
	return dacapo.Step("keep", func(dacapo.Attempt) (uint64, error) { return number, nil })
}

// Returns answers what fits, since nothing else is compiled.
func Returns(string) (mistakes.Report, error) {
	return mistakes.Report{Total: 7, Name: "Ada", Place: wittypes.Tuple2[int64, float64]{F0: 1, F1: 2.5}, From: 3}, nil
}

type priced struct {
	Price float64 `json:"price"`
}

type basket struct {
	Items []priced
	Notes map[string]any
}

// knot leads back to itself.
type knot struct {
	Itself *knot
	All    map[string]any
	Number any
}

// left and right embed each other.
type left struct {
	*right
	Number int64
}

type right struct {
	*left
	Other int64
}

// Slips does what only some languages do wrong.
func Slips(how string) error {
	record := func(value any) error {
		_, err := dacapo.Step("record", func(dacapo.Attempt) (any, error) { return value, nil }, dacapo.Attempts(1))
		return err
	}
	switch how {
	case "goroutine":
		done := make(chan error)
		go func() { done <- record(1) }()
		return <-done
	case "goroutine-in-step":
		return dacapo.Do("outer", func(dacapo.Attempt) error {
			done := make(chan error)
			go func() { done <- record(1) }()
			return <-done
		})
	case "path":
		return record(basket{Items: []priced{{1}, {math.NaN()}}})
	case "text":
		return record(basket{Notes: map[string]any{"by": []string{"Ada", "\xff"}}})
	case "replaced":
		// It is text like any other.
		return record(basket{Notes: map[string]any{"by": "\ufffd", "raw": json.RawMessage(`"\ufffd"`)}})
	case "knot":
		tied := &knot{All: map[string]any{}}
		tied.Itself = tied
		tied.All["all"] = tied.All
		event := dacapo.Event{Name: "tie", Payload: json.RawMessage(`{"Number": 9007199254740993}`)}
		event.Decode(tied)
		return dacapo.Fatalf("it is %v", tied.Number)
	case "embedded":
		var both left
		event := dacapo.Event{Name: "embed", Payload: json.RawMessage(`{"Number": "9007199254740993"}`)}
		event.Decode(&both)
		return dacapo.Fatalf("it is %d", both.Number)
	}
	return nil
}
