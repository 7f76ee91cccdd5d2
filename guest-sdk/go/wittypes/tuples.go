package wittypes

import (
	"encoding/json"
	"fmt"
)

func unmarshalTuple(text []byte, into ...any) error {
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return err
	}
	if len(items) != len(into) {
		return fmt.Errorf("expected %d values, got %d", len(into), len(items))
	}
	for index, item := range items {
		if err := json.Unmarshal(item, into[index]); err != nil {
			return err
		}
	}
	return nil
}

// Tuple1 is a tuple of 1; in JSON an array.
type Tuple1[T0 any] struct {
	F0 T0
}

// MarshalJSON writes an array.
func (tuple Tuple1[T0]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple1[T0]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0)
}

// Tuple2 is a tuple of 2; in JSON an array.
type Tuple2[T0, T1 any] struct {
	F0 T0
	F1 T1
}

// MarshalJSON writes an array.
func (tuple Tuple2[T0, T1]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple2[T0, T1]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1)
}

// Tuple3 is a tuple of 3; in JSON an array.
type Tuple3[T0, T1, T2 any] struct {
	F0 T0
	F1 T1
	F2 T2
}

// MarshalJSON writes an array.
func (tuple Tuple3[T0, T1, T2]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple3[T0, T1, T2]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2)
}

// Tuple4 is a tuple of 4; in JSON an array.
type Tuple4[T0, T1, T2, T3 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
}

// MarshalJSON writes an array.
func (tuple Tuple4[T0, T1, T2, T3]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple4[T0, T1, T2, T3]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3)
}

// Tuple5 is a tuple of 5; in JSON an array.
type Tuple5[T0, T1, T2, T3, T4 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
}

// MarshalJSON writes an array.
func (tuple Tuple5[T0, T1, T2, T3, T4]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple5[T0, T1, T2, T3, T4]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4)
}

// Tuple6 is a tuple of 6; in JSON an array.
type Tuple6[T0, T1, T2, T3, T4, T5 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
	F5 T5
}

// MarshalJSON writes an array.
func (tuple Tuple6[T0, T1, T2, T3, T4, T5]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple6[T0, T1, T2, T3, T4, T5]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5)
}

// Tuple7 is a tuple of 7; in JSON an array.
type Tuple7[T0, T1, T2, T3, T4, T5, T6 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
	F5 T5
	F6 T6
}

// MarshalJSON writes an array.
func (tuple Tuple7[T0, T1, T2, T3, T4, T5, T6]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple7[T0, T1, T2, T3, T4, T5, T6]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6)
}

// Tuple8 is a tuple of 8; in JSON an array.
type Tuple8[T0, T1, T2, T3, T4, T5, T6, T7 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
	F5 T5
	F6 T6
	F7 T7
}

// MarshalJSON writes an array.
func (tuple Tuple8[T0, T1, T2, T3, T4, T5, T6, T7]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple8[T0, T1, T2, T3, T4, T5, T6, T7]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7)
}

// Tuple9 is a tuple of 9; in JSON an array.
type Tuple9[T0, T1, T2, T3, T4, T5, T6, T7, T8 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
	F5 T5
	F6 T6
	F7 T7
	F8 T8
}

// MarshalJSON writes an array.
func (tuple Tuple9[T0, T1, T2, T3, T4, T5, T6, T7, T8]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple9[T0, T1, T2, T3, T4, T5, T6, T7, T8]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8)
}

// Tuple10 is a tuple of 10; in JSON an array.
type Tuple10[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9 any] struct {
	F0 T0
	F1 T1
	F2 T2
	F3 T3
	F4 T4
	F5 T5
	F6 T6
	F7 T7
	F8 T8
	F9 T9
}

// MarshalJSON writes an array.
func (tuple Tuple10[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple10[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9)
}

// Tuple11 is a tuple of 11; in JSON an array.
type Tuple11[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
}

// MarshalJSON writes an array.
func (tuple Tuple11[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple11[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10)
}

// Tuple12 is a tuple of 12; in JSON an array.
type Tuple12[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
	F11 T11
}

// MarshalJSON writes an array.
func (tuple Tuple12[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10, tuple.F11})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple12[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10, &tuple.F11)
}

// Tuple13 is a tuple of 13; in JSON an array.
type Tuple13[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
	F11 T11
	F12 T12
}

// MarshalJSON writes an array.
func (tuple Tuple13[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10, tuple.F11, tuple.F12})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple13[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10, &tuple.F11, &tuple.F12)
}

// Tuple14 is a tuple of 14; in JSON an array.
type Tuple14[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
	F11 T11
	F12 T12
	F13 T13
}

// MarshalJSON writes an array.
func (tuple Tuple14[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10, tuple.F11, tuple.F12, tuple.F13})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple14[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10, &tuple.F11, &tuple.F12, &tuple.F13)
}

// Tuple15 is a tuple of 15; in JSON an array.
type Tuple15[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
	F11 T11
	F12 T12
	F13 T13
	F14 T14
}

// MarshalJSON writes an array.
func (tuple Tuple15[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10, tuple.F11, tuple.F12, tuple.F13, tuple.F14})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple15[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10, &tuple.F11, &tuple.F12, &tuple.F13, &tuple.F14)
}

// Tuple16 is a tuple of 16; in JSON an array.
type Tuple16[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15 any] struct {
	F0  T0
	F1  T1
	F2  T2
	F3  T3
	F4  T4
	F5  T5
	F6  T6
	F7  T7
	F8  T8
	F9  T9
	F10 T10
	F11 T11
	F12 T12
	F13 T13
	F14 T14
	F15 T15
}

// MarshalJSON writes an array.
func (tuple Tuple16[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15]) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{tuple.F0, tuple.F1, tuple.F2, tuple.F3, tuple.F4, tuple.F5, tuple.F6, tuple.F7, tuple.F8, tuple.F9, tuple.F10, tuple.F11, tuple.F12, tuple.F13, tuple.F14, tuple.F15})
}

// UnmarshalJSON reads an array.
func (tuple *Tuple16[T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15]) UnmarshalJSON(text []byte) error {
	return unmarshalTuple(text, &tuple.F0, &tuple.F1, &tuple.F2, &tuple.F3, &tuple.F4, &tuple.F5, &tuple.F6, &tuple.F7, &tuple.F8, &tuple.F9, &tuple.F10, &tuple.F11, &tuple.F12, &tuple.F13, &tuple.F14, &tuple.F15)
}
