package dacapo

import wit "dacapo/internal/bindings/dacapo_workflow_secrets"

// Placeholder is what stands for a secret in the header of a request; the host sends its bytes in that place, and they are never here.
func Placeholder(name string) string {
	return "{{dacapo.secret." + name + "}}"
}

// Reveal answers the bytes of a secret, in a step, if the manifest grants them with reveal = true.
//
// The error is a [*Failure] with the code "not-granted" if it does not.
func Reveal(name string) (string, error) {
	revealed := wit.Reveal(name)
	if revealed.IsErr() {
		return "", fromWit(revealed.Err())
	}
	return revealed.Ok(), nil
}
