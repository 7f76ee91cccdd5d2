package dacapo

import (
	"encoding/json"
	"fmt"
	"time"

	wit "dacapo/internal/bindings/dacapo_workflow_waits"
	"dacapo/wittypes"
)

// WaitFor takes the oldest event with this name that was sent to the run, and waits for one if there is none. It answers the payload.
//
// The error is a [*Failure] with the code "cancelled" when the run is being ended.
func WaitFor[T any](event string) (T, error) {
	payload, _, err := waitFor[T](event, wittypes.None[uint64]())
	return payload, err
}

// WaitForWithin is [WaitFor] with a time-out, which counts from when the wait is first reached; the answer is false if no event was received
// in time.
func WaitForWithin[T any](event string, timeout time.Duration) (T, bool, error) {
	return waitFor[T](event, wittypes.Some(milliseconds(timeout)))
}

func waitFor[T any](event string, timeout wittypes.Option[uint64]) (T, bool, error) {
	var none T
	outside(fmt.Sprintf("the wait for %q", event))
	waited := wit.WaitFor(event, timeout)
	if waited.IsErr() {
		return none, false, fromWit(waited.Err())
	}
	payload := waited.Ok()
	if payload.IsNone() {
		return none, false, nil
	}
	return decode[T](event, fmt.Sprintf("the payload of the event %q", event), payload.Some()), true, nil
}

// Event is an event that [WaitForAny] has taken.
type Event struct {
	// Name is which one it is.
	Name string
	// Payload is JSON.
	Payload json.RawMessage
}

// Decode reads the payload into what the pointer points to. A payload that does not fit blocks the run until code comes that can read it.
func (event Event) Decode(into any) {
	if err := read(event.Payload, into); err != nil {
		reject(event.Name, fmt.Sprintf("the payload of the event %q", event.Name), err)
	}
}

// WaitForAny is like [WaitFor], for whichever of these events comes first. The wait has a name of its own.
func WaitForAny(name string, events ...string) (Event, error) {
	event, _, err := waitForAny(name, events, wittypes.None[uint64]())
	return event, err
}

// WaitForAnyWithin is [WaitForAny] with a time-out; the answer is false if none of the events was received in time.
func WaitForAnyWithin(name string, timeout time.Duration, events ...string) (Event, bool, error) {
	return waitForAny(name, events, wittypes.Some(milliseconds(timeout)))
}

func waitForAny(name string, events []string, timeout wittypes.Option[uint64]) (Event, bool, error) {
	outside(fmt.Sprintf("the wait %q", name))
	waited := wit.WaitForAny(name, events, timeout)
	if waited.IsErr() {
		return Event{}, false, fromWit(waited.Err())
	}
	found := waited.Ok()
	if found.IsNone() {
		return Event{}, false, nil
	}
	event := found.Some()
	return Event{Name: event.F0, Payload: json.RawMessage(event.F1)}, true, nil
}

// Sleep goes on no earlier than this long after the call is first reached.
func Sleep(name string, duration time.Duration) error {
	outside(fmt.Sprintf("Sleep(%q)", name))
	return done(wit.Sleep(name, milliseconds(duration)))
}

// SleepUntil goes on no earlier than this time; at once if it has passed.
func SleepUntil(name string, at time.Time) error {
	outside(fmt.Sprintf("SleepUntil(%q)", name))
	rounded := at.Add(time.Millisecond - 1).UnixMilli()
	return done(wit.SleepUntil(name, uint64(max(0, rounded))))
}

// Pause goes on when an operator resumes the run.
func Pause(name string) error {
	outside(fmt.Sprintf("Pause(%q)", name))
	return done(wit.Pause(name))
}

func done(result wittypes.Result[wittypes.Unit, wit.Failure]) error {
	if result.IsErr() {
		return fromWit(result.Err())
	}
	return nil
}
