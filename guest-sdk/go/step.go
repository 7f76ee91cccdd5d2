package dacapo

import (
	"fmt"
	"time"

	"dacapo/internal/bindings/dacapo_workflow_context"
	wit "dacapo/internal/bindings/dacapo_workflow_steps"
	"dacapo/internal/runtime"
	"dacapo/wittypes"
)

// Attempt is the attempt at a step's body that is open.
type Attempt struct {
	// Number is 1 for the first.
	Number int
	// IdempotencyKey is the same in all attempts at this step, and at no other step of any run.
	IdempotencyKey string
}

// StepOption says how often a step is tried, and how long an attempt may take. What is not said is as the manifest or the operator says.
type StepOption func(*stepOptions)

type stepOptions struct {
	retry   *wit.Retry
	timeout *time.Duration
}

func (options *stepOptions) policy() *wit.Retry {
	if options.retry == nil {
		options.retry = &wit.Retry{MaxAttempts: 3, InitialMs: 1_000, Factor: 2, MaxMs: 60_000}
	}
	return options.retry
}

// Attempts says how often the step is tried, the first attempt included: 1 to 1,000.
func Attempts(most int) StepOption {
	return func(options *stepOptions) { options.policy().MaxAttempts = count("attempts", most) }
}

// Backoff is the time between the first two attempts.
func Backoff(first time.Duration) StepOption {
	return func(options *stepOptions) { options.policy().InitialMs = milliseconds(first) }
}

// Factor says by how much the time between attempts grows from one to the next: 1 to 1,000.
func Factor(factor float32) StepOption {
	return func(options *stepOptions) { options.policy().Factor = factor }
}

// BackoffMax is the longest time between two attempts.
func BackoffMax(longest time.Duration) StepOption {
	return func(options *stepOptions) { options.policy().MaxMs = milliseconds(longest) }
}

// Timeout says how long one attempt may take.
func Timeout(limit time.Duration) StepOption {
	return func(options *stepOptions) { options.timeout = &limit }
}

// open is the name of the step whose body is running.
var open string

// Step runs a step's body, or hands back what was recorded when it ran before.
//
//	charge, err := dacapo.Step("charge", func(attempt dacapo.Attempt) (string, error) {
//		return bank.Charge(order, attempt.IdempotencyKey)
//	}, dacapo.Attempts(5), dacapo.Timeout(10*time.Second))
//
// The outcome is recorded as JSON, by encoding/json, and has been through it the first time, too: fields that are not exported are gone.
// A panic in the body is a failure of the attempt.
//
// The error is a [*Failure] once no attempt is left, or at once for [Fatalf]; with the code "cancelled" when the run is being ended.
func Step[T any](name string, body func(Attempt) (T, error), options ...StepOption) (T, error) {
	text, err := run(name, func(attempt Attempt) (any, error) { return body(attempt) }, options)
	if err != nil {
		var none T
		return none, err
	}
	return decode[T](name, fmt.Sprintf("the recorded outcome of step %q", name), text), nil
}

// Do is [Step] for a body without an outcome.
func Do(name string, body func(Attempt) error, options ...StepOption) error {
	_, err := run(name, func(attempt Attempt) (any, error) { return nil, body(attempt) }, options)
	return err
}

// What does not depend on the type of the outcome is here, so that it is compiled once.
func run(name string, body func(Attempt) (any, error), options []StepOption) (string, error) {
	outside(fmt.Sprintf("step %q", name))
	begun := wit.StepRun(name, made(options))
	if begun.IsErr() {
		return "", fromWit(begun.Err())
	}
	state := begun.Ok()
	if state.Tag() == wit.StateRecorded {
		return outcome(state.Recorded())
	}
	attempt := state.Execute()
	open = name
	result := attempted(name, attempt, body)
	open = ""
	return outcome(wit.StepEnd(attempt, result))
}

func attempted(name string, attempt *wit.Attempt, body func(Attempt) (any, error)) wittypes.Result[string, wit.Failure] {
	key := dacapo_workflow_context.IdempotencyKey().SomeOr("")
	given := Attempt{Number: int(attempt.Number()), IdempotencyKey: key}
	text, err := called(body, given, fmt.Sprintf("the outcome of step %q", name))
	if err == nil {
		return wittypes.Ok[string, wit.Failure](text)
	}
	failure := FailureOf(err)
	if failure.after > 0 {
		attempt.RetryAfter(milliseconds(failure.after))
	}
	return wittypes.Err[string](toWit(failure))
}

// called answers what a body returns, as JSON; what names it. A panic is a failure.
func called[T any](body func(T) (any, error), argument T, what string) (text string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			text, err = "", panicked(cause)
		}
	}()
	value, err := body(argument)
	if err != nil {
		return "", err
	}
	text, failure := encode(value, what)
	if failure != nil {
		return "", failure
	}
	return text, nil
}

func outcome(recorded wittypes.Result[string, wit.Failure]) (string, error) {
	if recorded.IsErr() {
		return "", fromWit(recorded.Err())
	}
	return recorded.Ok(), nil
}

func made(options []StepOption) wittypes.Option[*wit.Options] {
	if len(options) == 0 {
		return wittypes.None[*wit.Options]()
	}
	var given stepOptions
	for _, option := range options {
		option(&given)
	}
	made := wit.MakeOptions()
	if given.retry != nil {
		made.SetRetry(*given.retry)
	}
	if given.timeout != nil {
		made.SetTimeout(milliseconds(*given.timeout))
	}
	return wittypes.Some(made)
}

// outside ends the run if a step's body is running, or another goroutine than the workflow's: nothing durable may be called there.
func outside(what string) {
	if open == "" {
		ownGoroutine(what)
		return
	}
	dacapo_workflow_context.Fail(toWit(Fatalf(
		"%s was called while step %q is running: a step's body calls no other steps or waits; what is to happen at the same time "+
			"goes into Parallel or MapParallel, and not into goroutines", what, open).WithCode("misuse")))
}

// ownGoroutine ends the run if another goroutine than the workflow's is running: in which order they run is not the same in each replay.
func ownGoroutine(what string) {
	if runtime.IsWorkflow() {
		return
	}
	dacapo_workflow_context.Fail(toWit(Fatalf(
		"%s was called by another goroutine than the workflow's: what is to happen at the same time goes into Parallel or MapParallel, and "+
			"not into goroutines, which may only compute", what).WithCode("misuse")))
}

// milliseconds rounds up, since nothing may end before its time.
func milliseconds(duration time.Duration) uint64 {
	if duration < 0 {
		panic(fmt.Sprintf("expected a time of zero or more, got %v", duration))
	}
	return uint64((duration + time.Millisecond - 1) / time.Millisecond)
}

func count(what string, number int) uint32 {
	if number < 1 || number > 1<<31-1 {
		panic(fmt.Sprintf("expected a number of %s that is at least 1, got %d", what, number))
	}
	return uint32(number)
}
