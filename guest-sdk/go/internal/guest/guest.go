// Package guest calls workflows for the exports that `dacapo build` generates, and puts values of WIT's into Go's own forms.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"dacapo"
	"dacapo/internal/bindings/dacapo_workflow_context"
	"dacapo/internal/bindings/dacapo_workflow_types"
	"dacapo/internal/runtime"
	"dacapo/wittypes"
)

// Play calls a workflow whose type has no error: what it returns as one fails the run.
func Play[T, R any](workflow func() (T, error), lower func(T) R) R {
	defer caught()
	runtime.Begin()
	value, err := workflow()
	if err != nil {
		fail(err)
	}
	return lower(value)
}

// PlayResult calls a workflow whose type has an error.
func PlayResult[T, E, R, F any](workflow func() (T, error), lower func(T) R, lowerError func(E) F) wittypes.Result[R, F] {
	defer caught()
	runtime.Begin()
	value, err := workflow()
	if err == nil {
		return wittypes.Ok[R, F](lower(value))
	}
	problem, meant := onPurpose[E](err)
	if !meant {
		fail(err)
	}
	return wittypes.Err[R](lowerError(problem))
}

// onPurpose says whether an error is one that the workflow's type has.
func onPurpose[E any](err error) (E, bool) {
	var problem E
	var wrapped *dacapo.WorkflowError
	if errors.As(err, &wrapped) {
		if value, is := wrapped.Value.(E); is {
			return value, true
		}
	}
	if reflect.TypeFor[E]().Implements(reflect.TypeFor[error]()) {
		return problem, errors.As(err, &problem)
	}
	// A failure says more than a text could.
	var failure *dacapo.Failure
	if errors.As(err, &failure) {
		return problem, false
	}
	switch text := any(&problem).(type) {
	case *string:
		*text = err.Error()
		return problem, true
	case *wittypes.Unit:
		return problem, true
	}
	return problem, false
}

// fail ends the run with an error that its workflow has returned.
func fail(err error) {
	failure := &dacapo.Failure{Code: "exception", Message: err.Error()}
	var known *dacapo.Failure
	if errors.As(err, &known) {
		failure = dacapo.FailureOf(err)
	}
	end(failure)
}

// caught ends the run with a panic.
func caught() {
	cause := recover()
	if cause == nil {
		return
	}
	trace, _ := json.Marshal(map[string]string{"trace": string(debug.Stack())})
	end(&dacapo.Failure{Code: "exception", Message: fmt.Sprintf("panic: %v", cause), Details: trace})
}

func end(failure *dacapo.Failure) {
	details := wittypes.None[string]()
	if failure.Details != nil {
		details = wittypes.Some(string(failure.Details))
	}
	dacapo_workflow_context.Fail(dacapo_workflow_types.Failure{
		Code:      failure.Code,
		Message:   failure.Message,
		Retryable: failure.Retryable,
		Details:   details,
	})
}

// Same is the conversion of what has one form.
func Same[T any](value T) T {
	return value
}

// List converts lists.
func List[A, B any](convert func(A) B) func([]A) []B {
	return func(items []A) []B {
		converted := make([]B, len(items))
		for index, item := range items {
			converted[index] = convert(item)
		}
		return converted
	}
}

// Pointer makes a pointer of an option.
func Pointer[A, B any](convert func(A) B) func(wittypes.Option[A]) *B {
	return func(option wittypes.Option[A]) *B {
		if option.IsNone() {
			return nil
		}
		value := convert(option.Some())
		return &value
	}
}

// FromPointer makes an option of a pointer.
func FromPointer[A, B any](convert func(A) B) func(*A) wittypes.Option[B] {
	return func(pointer *A) wittypes.Option[B] {
		if pointer == nil {
			return wittypes.None[B]()
		}
		return wittypes.Some(convert(*pointer))
	}
}

// Option converts options whose values may be null in JSON, too.
func Option[A, B any](convert func(A) B) func(wittypes.Option[A]) wittypes.Option[B] {
	return func(option wittypes.Option[A]) wittypes.Option[B] {
		if option.IsNone() {
			return wittypes.None[B]()
		}
		return wittypes.Some(convert(option.Some()))
	}
}

// Result converts results.
func Result[A, B, E, F any](convert func(A) B, convertError func(E) F) func(wittypes.Result[A, E]) wittypes.Result[B, F] {
	return func(result wittypes.Result[A, E]) wittypes.Result[B, F] {
		if result.IsErr() {
			return wittypes.Err[B](convertError(result.Err()))
		}
		return wittypes.Ok[B, F](convert(result.Ok()))
	}
}
