package dacapo

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_types"
	"dacapo/wittypes"
)

// Failure is an error that is part of the workflow's story: recorded, and shown to people.
//
// Returned by a step's body it is the failure of that attempt; any other error is one with the code "error" that is worth another attempt.
// A step that has failed for good returns it, and so does any other durable call that comes to nothing.
type Failure struct {
	// Code is a short, stable word for programs.
	Code string
	// Message is one sentence for people.
	Message string
	// Retryable says whether trying the same thing again could help.
	Retryable bool
	// Details is whatever else a program might want to know, as JSON; nil if there is nothing.
	Details json.RawMessage

	after time.Duration
	cause error
}

// ErrCancelled is what errors.Is finds in an error that says that the run is being ended. What steps do from there on, to compensate,
// works as usual; then the run is cancelled.
var ErrCancelled = &Failure{Code: "cancelled", Message: "the run is being ended"}

// Retryf makes a failure that may be gone at the next attempt. Its code is "error" until WithCode says otherwise.
func Retryf(format string, arguments ...any) *Failure {
	return failuref(true, format, arguments)
}

// Fatalf makes a failure that trying again will not mend. Its code is "error" until WithCode says otherwise.
func Fatalf(format string, arguments ...any) *Failure {
	return failuref(false, format, arguments)
}

func failuref(retryable bool, format string, arguments []any) *Failure {
	cause := fmt.Errorf(format, arguments...)
	return &Failure{Code: "error", Message: cause.Error(), Retryable: retryable, cause: errors.Unwrap(cause)}
}

// WithCode answers the failure with another code.
func (failure *Failure) WithCode(code string) *Failure {
	changed := *failure
	changed.Code = code
	return &changed
}

// WithDetails answers the failure with details, which JSON can carry.
func (failure *Failure) WithDetails(details any) *Failure {
	text, err := encode(details, "the details of a failure")
	if err != nil {
		return err
	}
	changed := *failure
	changed.Details = json.RawMessage(text)
	return &changed
}

// After answers the failure with the wish that the next attempt begin no sooner than after this time.
func (failure *Failure) After(wait time.Duration) *Failure {
	changed := *failure
	changed.after = wait
	return &changed
}

// Error is the message.
func (failure *Failure) Error() string {
	return failure.Message
}

// Is says whether the target is a failure with the same code.
func (failure *Failure) Is(target error) bool {
	other, is := target.(*Failure)
	return is && other.Code == failure.Code
}

// Unwrap is the error that the failure was made of with %w, if there is one.
func (failure *Failure) Unwrap() error {
	return failure.cause
}

// WorkflowError is an error with which a workflow ends on purpose: its value is that of the error that the workflow's type in WIT says.
// It is needed only for types that are no errors of Go themselves, such as lists.
type WorkflowError struct {
	Value any
}

// Error shows the value.
func (err *WorkflowError) Error() string {
	return fmt.Sprint(err.Value)
}

// FailureOf is the failure that an error is: the first one in its tree, with the error's own message, or one with the code "error".
func FailureOf(err error) *Failure {
	var failure *Failure
	if !errors.As(err, &failure) {
		return &Failure{Code: "error", Message: err.Error(), Retryable: true, cause: err}
	}
	if failure == nil {
		return Fatalf("a nil *dacapo.Failure was returned as an error; return nil where there is none")
	}
	if failure.Message == err.Error() {
		return failure
	}
	changed := *failure
	changed.Message, changed.cause = err.Error(), err
	return &changed
}

// panicked is the failure that a panic is; it is called while that is being recovered from.
func panicked(cause any) *Failure {
	trace, _ := json.Marshal(map[string]string{"trace": string(debug.Stack())})
	return &Failure{Code: "error", Message: fmt.Sprintf("panic: %v", cause), Retryable: true, Details: trace}
}

func fromWit(failure wit.Failure) error {
	made := &Failure{Code: failure.Code, Message: failure.Message, Retryable: failure.Retryable}
	if failure.Details.IsSome() {
		made.Details = json.RawMessage(failure.Details.Some())
	}
	return made
}

func toWit(failure *Failure) wit.Failure {
	details := wittypes.None[string]()
	if failure.Details != nil {
		details = wittypes.Some(string(failure.Details))
	}
	return wit.Failure{Code: failure.Code, Message: failure.Message, Retryable: failure.Retryable, Details: details}
}
