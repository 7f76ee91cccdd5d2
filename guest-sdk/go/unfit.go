package dacapo

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// unfit says where in a value there is something that JSON cannot carry, as a path such as Items[2].Price; and whether that is text that is not
// UTF-8, of which encoding/json would make other text.
func unfit(value any) (path string, isText, found bool) {
	return (&search{}).in(reflect.ValueOf(value), "")
}

// search holds the pointers, maps and slices that it is within.
type search struct {
	above []above
}

type above struct {
	kind    reflect.Type
	pointer uintptr
	length  int
}

func (search *search) in(value reflect.Value, path string) (string, bool, bool) {
	if !value.IsValid() {
		return "", false, false
	}
	kind := value.Type()
	if reads[json.Marshaler](kind) || reads[encoding.TextMarshaler](kind) {
		return "", false, false
	}
	switch value.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return path, false, true
	case reflect.Float32, reflect.Float64:
		number := value.Float()
		return path, false, math.IsNaN(number) || math.IsInf(number, 0)
	case reflect.String:
		return path, true, !utf8.ValidString(value.String())
	case reflect.Interface, reflect.Pointer:
		if value.IsNil() {
			return "", false, false
		}
		if value.Kind() == reflect.Interface {
			return search.in(value.Elem(), path)
		}
		return search.within(value, path, 0, func() (string, bool, bool) { return search.in(value.Elem(), path) })
	case reflect.Struct:
		for index := range value.NumField() {
			field := kind.Field(index)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "-" || !field.IsExported() && !field.Anonymous {
				continue
			}
			if found, isText, is := search.in(value.Field(index), joined(path, field.Name)); is {
				return found, isText, true
			}
		}
	case reflect.Map:
		return search.within(value, path, 0, func() (string, bool, bool) {
			keys := value.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			for _, key := range keys {
				inner := joined(path, fmt.Sprint(key))
				if key.Kind() == reflect.String && !utf8.ValidString(key.String()) {
					return joined(path, fmt.Sprintf("%q", key.String())), true, true
				}
				if found, isText, is := search.in(value.MapIndex(key), inner); is {
					return found, isText, true
				}
			}
			return "", false, false
		})
	case reflect.Slice, reflect.Array:
		if kind.Elem().Kind() == reflect.Uint8 {
			return "", false, false
		}
		items := func() (string, bool, bool) {
			for index := range value.Len() {
				if found, isText, is := search.in(value.Index(index), fmt.Sprintf("%s[%d]", path, index)); is {
					return found, isText, true
				}
			}
			return "", false, false
		}
		if value.Kind() == reflect.Array {
			return items()
		}
		return search.within(value, path, value.Len(), items)
	}
	return "", false, false
}

// within looks into something that may lead back to itself.
func (search *search) within(value reflect.Value, path string, length int, into func() (string, bool, bool)) (string, bool, bool) {
	one := above{value.Type(), value.Pointer(), length}
	if slices.Contains(search.above, one) {
		return path, false, true
	}
	search.above = append(search.above, one)
	defer func() { search.above = search.above[:len(search.above)-1] }()
	return into()
}

func joined(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
