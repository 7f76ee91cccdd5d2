// Package landmarks is none of the project's own.
package landmarks

// Greeting greets somebody.
func Greeting(name string) string {
	return "Good day, " + name + "!"
}
