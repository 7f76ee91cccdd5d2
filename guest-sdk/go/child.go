package dacapo

import (
	"fmt"
	"maps"
	"slices"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_children"
	"dacapo/wittypes"
)

// ChildOption says how a child is started.
type ChildOption func(*childOptions)

type childOptions struct {
	wit   *wit.Options
	queue string
	key   wittypes.Option[string]
	waits bool
}

// ChildLabels gives the child these labels. Without them it has this run's, but for those whose names begin with "dacapo.".
func ChildLabels(labels map[string]string) ChildOption {
	return func(options *childOptions) {
		var pairs []wittypes.Tuple2[string, string]
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, wittypes.Tuple2[string, string]{F0: name, F1: labels[name]})
		}
		options.wit.SetLabels(pairs)
	}
}

// Deadline ends the child this long after its start if it has not ended by then.
func Deadline(limit time.Duration) ChildOption {
	return func(options *childOptions) { options.wit.SetDeadline(milliseconds(limit)) }
}

// Detached lets the child outlive this run.
func Detached() ChildOption {
	return func(options *childOptions) { options.wit.SetDetached() }
}

// Queue is the queue that the child waits in.
func Queue(name string) ChildOption {
	return func(options *childOptions) { options.queue, options.waits = name, true }
}

// ConcurrencyKey is what the queue's limits per key go by.
func ConcurrencyKey(key string) ChildOption {
	return func(options *childOptions) { options.key, options.waits = wittypes.Some(key), true }
}

// Priority is -100 to 100; higher goes first. Without it the child has this run's.
func Priority(priority int) ChildOption {
	return func(options *childOptions) { options.wit.SetPriority(int32(priority)) }
}

// Child is a child run that was started; T is the type of its output.
type Child[T any] struct {
	// RunID is a UUID.
	RunID string

	name string
}

// StartChild starts a run of a deployed workflow, and does not wait for it; [Child.Output] does:
//
//	mail, err := dacapo.StartChild[string]("mail", "shop:mail/api.send", letter)
//
// The input is given in the JSON form of the workflow's own type. It does not outlive this run unless it is [Detached].
//
// The error is a [*Failure] with the code "input" if the workflow does not take it, "child-depth" when runs have started each other 32 deep.
func StartChild[T any](name, workflow string, input any, options ...ChildOption) (Child[T], error) {
	id, err := startChild(name, workflow, input, options)
	return Child[T]{RunID: id, name: name}, err
}

func startChild(name, workflow string, input any, options []ChildOption) (string, error) {
	outside(fmt.Sprintf("StartChild(%q)", name))
	text, failure := encode(input, fmt.Sprintf("the input of child %q", name))
	if failure != nil {
		return "", failure
	}
	given := childOptions{wit: wit.MakeOptions(), queue: "default", key: wittypes.None[string]()}
	for _, option := range options {
		option(&given)
	}
	if given.waits {
		given.wit.SetQueue(given.queue, given.key)
	}
	started := wit.StartChild(name, workflow, text, wittypes.Some(given.wit))
	if started.IsErr() {
		return "", fromWit(started.Err())
	}
	return started.Ok(), nil
}

// Output waits until the child has ended, and answers its output.
//
// The error is the child's [*Failure], with the code "child-cancelled" if it was cancelled.
func (child Child[T]) Output() (T, error) {
	output, _, err := child.await(wittypes.None[uint64]())
	return output, err
}

// OutputWithin is [Child.Output] with a time-out; the answer is false if the child has not ended in time.
func (child Child[T]) OutputWithin(timeout time.Duration) (T, bool, error) {
	return child.await(wittypes.Some(milliseconds(timeout)))
}

func (child Child[T]) await(timeout wittypes.Option[uint64]) (T, bool, error) {
	var none T
	name := child.name + "-end"
	text, ended, err := awaitChild(name, child.RunID, timeout)
	if err != nil || !ended {
		return none, ended, err
	}
	return decode[T](name, fmt.Sprintf("the output of child %q", child.name), text), true, nil
}

func awaitChild(name, id string, timeout wittypes.Option[uint64]) (string, bool, error) {
	outside(fmt.Sprintf("the wait %q for a child", name))
	awaited := wit.AwaitChild(name, id, timeout)
	if awaited.IsErr() {
		return "", false, fromWit(awaited.Err())
	}
	ended := awaited.Ok()
	if ended.IsNone() {
		return "", false, nil
	}
	text, err := outcome(ended.Some())
	return text, true, err
}
