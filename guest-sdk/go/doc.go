// Package dacapo is for durable workflows in Go.
//
// A workflow is a function of the project's package, named as in its WIT. What it does in steps is recorded, and never done again;
// everything else may be played again from the top, and must take the same way then:
//
//	func Place(order orders.Order) (orders.Receipt, error) {
//		charge, err := dacapo.Step("charge", func(dacapo.Attempt) (string, error) {
//			return bank.Charge(order)
//		}, dacapo.Attempts(5))
//		if err != nil {
//			return orders.Receipt{}, err
//		}
//		paid, err := dacapo.WaitFor[Payment]("paid")
//		...
//	}
//
// Outside of steps the clock stands still, and [Random] and crypto/rand say the same in each replay; inside of them all of these are real.
// Neither the order in which range goes through a map nor math/rand may decide what a workflow does: sort the keys, use [Random].
package dacapo
