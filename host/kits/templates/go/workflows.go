// Package workflows has workflows: ordinary code. A step's body runs once, and its result is recorded; everything else may be played again.
package workflows

import (
	"fmt"
	"log/slog"
	"strings"

	"dacapo"
	"dacapo/wit/workflows"
)

// Confirmation is what comes with the event `confirmed`.
type Confirmation struct {
	By string `json:"by"`
}

// SignUp makes an account, waits until somebody confirms it, and writes a greeting.
func SignUp(request workflows.Request) (account workflows.Account, err error) {
	account.Id, err = dacapo.Step("create-account", func(dacapo.Attempt) (string, error) {
		if !strings.Contains(request.Email, "@") {
			// Not worth another try.
			return "", dacapo.Fatalf("%q is no e-mail address", request.Email)
		}
		return "account-of-" + request.Email, nil
	})
	if err != nil {
		return account, err
	}
	// Nothing of the run is in memory meanwhile, whether that takes seconds or months.
	confirmation, err := dacapo.WaitFor[Confirmation]("confirmed")
	if err != nil {
		return account, err
	}
	account.Greeting, err = dacapo.Step("send-greeting", func(dacapo.Attempt) (string, error) {
		slog.Info("writing to " + request.Email)
		return fmt.Sprintf("Welcome, %s! %s has confirmed you.", request.Name, confirmation.By), nil
	})
	return account, err
}
