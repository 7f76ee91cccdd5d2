package dacapo

import (
	"fmt"

	wit "dacapo/internal/bindings/dacapo_workflow_forks"
	"dacapo/wittypes"
)

// MapOption says how branches are played.
type MapOption func(*wit.Options)

// MaxParallel says how many branches are under way at the same time at most, those that wait included.
func MaxParallel(most int) MapOption {
	return func(options *wit.Options) { options.SetMaxParallel(count("branches", most)) }
}

// Settled is how a branch came out: its value, or its error.
type Settled[T any] struct {
	Value T
	Err   error
}

// MapParallel calls work for each item, in branches of the run that are played at the same time, and answers what they returned, in the
// order of the items.
//
// The items must be the same in every replay. Each branch is played from the top of the workflow in an instance of its own: it sees what
// stood in memory at the fork, and nothing that other branches do. At most 10,000.
//
// The error is that of the first item, in their order, that failed, once all have ended.
func MapParallel[I, T any](name string, items []I, work func(I) (T, error), options ...MapOption) ([]T, error) {
	settled, err := MapSettled(name, items, work, options...)
	if err != nil {
		return nil, err
	}
	return values(settled)
}

// MapSettled is [MapParallel], and answers for each item how it came out. The error is that of the fork.
func MapSettled[I, T any](name string, items []I, work func(I) (T, error), options ...MapOption) ([]Settled[T], error) {
	if len(items) == 0 {
		return nil, nil
	}
	made := wittypes.None[*wit.Options]()
	if len(options) > 0 {
		given := wit.MakeOptions()
		for _, option := range options {
			option(given)
		}
		made = wittypes.Some(given)
	}
	joined, err := fork(name, len(items), made, func(index uint32) (any, error) { return work(items[index]) })
	if err != nil {
		return nil, err
	}
	return settle[T](name, joined), nil
}

// Parallel calls these functions in branches of the run that are played at the same time, and answers what they returned. For functions
// of different types there are [Parallel2] and [Parallel3].
//
// The error is that of the first, in their order, that failed, once all have ended.
func Parallel[T any](name string, branches ...func() (T, error)) ([]T, error) {
	return MapParallel(name, branches, func(branch func() (T, error)) (T, error) { return branch() })
}

// Parallel2 is [Parallel] for two functions.
func Parallel2[A, B any](name string, first func() (A, error), second func() (B, error)) (a A, b B, err error) {
	joined, err := parallel(name, erased(first), erased(second))
	if err != nil {
		return a, b, err
	}
	return valueOf[A](name, joined.Outcomes[0]), valueOf[B](name, joined.Outcomes[1]), nil
}

// Parallel3 is [Parallel] for three functions.
func Parallel3[A, B, C any](
	name string,
	first func() (A, error),
	second func() (B, error),
	third func() (C, error),
) (a A, b B, c C, err error) {
	joined, err := parallel(name, erased(first), erased(second), erased(third))
	if err != nil {
		return a, b, c, err
	}
	outcomes := joined.Outcomes
	return valueOf[A](name, outcomes[0]), valueOf[B](name, outcomes[1]), valueOf[C](name, outcomes[2]), nil
}

// Race calls these functions in branches that are played at the same time, and answers what the first to succeed returned. The others are
// told at their next step or wait that they are cancelled, and may make up for what they did.
//
// The error is that of the first, in their order, if none succeeds.
func Race[T any](name string, branches ...func() (T, error)) (T, error) {
	var none T
	if len(branches) == 0 {
		return none, Fatalf("the race %q has no branches", name).WithCode("misuse")
	}
	options := wit.MakeOptions()
	options.SetRace()
	joined, err := fork(name, len(branches), wittypes.Some(options), func(index uint32) (any, error) { return branches[index]() })
	if err != nil {
		return none, err
	}
	which := joined.Winner.SomeOr(0)
	settled := settle[T](name, wit.Joined{Outcomes: joined.Outcomes[which : which+1]})
	return settled[0].Value, settled[0].Err
}

func erased[T any](branch func() (T, error)) func() (any, error) {
	return func() (any, error) { return branch() }
}

// parallel joins branches that have all succeeded.
func parallel(name string, branches ...func() (any, error)) (wit.Joined, error) {
	joined, err := fork(name, len(branches), wittypes.None[*wit.Options](), func(index uint32) (any, error) { return branches[index]() })
	if err != nil {
		return joined, err
	}
	for _, outcome := range joined.Outcomes {
		if outcome.IsErr() {
			return joined, fromWit(outcome.Err())
		}
	}
	return joined, nil
}

func fork(
	name string,
	branches int,
	options wittypes.Option[*wit.Options],
	work func(uint32) (any, error),
) (wit.Joined, error) {
	outside(fmt.Sprintf("the fork %q", name))
	forked := wit.Fork(name, uint32(branches), options)
	if forked.IsErr() {
		return wit.Joined{}, fromWit(forked.Err())
	}
	side := forked.Ok()
	if side.Tag() == wit.SideJoined {
		return side.Joined(), nil
	}
	text, err := called(work, side.Branch(), fmt.Sprintf("what a branch of %q returned", name))
	if err == nil {
		wit.BranchEnd(wittypes.Ok[string, wit.Failure](text))
	}
	wit.BranchEnd(wittypes.Err[string](toWit(FailureOf(err))))
	panic("the host ends the instance in branch-end")
}

func settle[T any](name string, joined wit.Joined) []Settled[T] {
	settled := make([]Settled[T], len(joined.Outcomes))
	for index, outcome := range joined.Outcomes {
		if outcome.IsErr() {
			settled[index].Err = fromWit(outcome.Err())
		} else {
			settled[index].Value = valueOf[T](name, outcome)
		}
	}
	return settled
}

func valueOf[T any](name string, outcome wittypes.Result[string, wit.Failure]) T {
	return decode[T](name, fmt.Sprintf("the recorded outcome of a branch of %q", name), outcome.Ok())
}

func values[T any](settled []Settled[T]) ([]T, error) {
	all := make([]T, len(settled))
	for index, one := range settled {
		if one.Err != nil {
			return nil, one.Err
		}
		all[index] = one.Value
	}
	return all, nil
}
