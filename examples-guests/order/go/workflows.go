// Package workflows has an order: the same in each language that has a kit, and with the same journal.
package workflows

import (
	"errors"
	"fmt"
	"time"

	"dacapo"
	"dacapo/wit/orders"
)

// Hold is what is held for an order until it is paid.
type Hold struct {
	ID    string `json:"id"`
	Items uint32 `json:"items"`
}

// Payment is the payload of the event `paid`.
type Payment struct {
	Reference string `json:"reference"`
}

// Place holds the items, asks the bank for the money, waits a day for the payment, picks the items two at a time, and has them shipped.
func Place(order orders.Order) (orders.Receipt, error) {
	receipt, err := place(order)
	var failure *dacapo.Failure
	if errors.As(err, &failure) {
		return receipt, orders.Problem{Failed: &failure.Message}
	}
	return receipt, err
}

// Ship makes a label, and answers its tracking number.
func Ship(parcel orders.Parcel) (string, error) {
	return dacapo.Step("label", func(dacapo.Attempt) (string, error) {
		return fmt.Sprintf("%s-%d", parcel.Customer, len(parcel.Lines)), nil
	})
}

func place(order orders.Order) (receipt orders.Receipt, err error) {
	hold, err := dacapo.Step("reserve", func(dacapo.Attempt) (Hold, error) {
		hold := Hold{ID: fmt.Sprintf("hold-%d", order.Number)}
		for _, item := range order.Items {
			hold.Items += item.Quantity
		}
		return hold, nil
	})
	if err != nil {
		return receipt, err
	}
	charge, err := dacapo.Step("charge", func(attempt dacapo.Attempt) (string, error) {
		// The bank is busy at first.
		if attempt.Number == 1 {
			return "", dacapo.Retryf("the bank is busy").WithCode("busy")
		}
		return fmt.Sprintf("charge-%d", order.Number), nil
	}, dacapo.Attempts(3), dacapo.Backoff(time.Second))
	if err != nil {
		return receipt, err
	}
	payment, paid, err := dacapo.WaitForWithin[Payment]("paid", 24*time.Hour)
	if err != nil {
		return receipt, err
	}
	if !paid {
		_, err := dacapo.Step("release", func(dacapo.Attempt) (string, error) {
			return hold.ID + " is released", nil
		})
		if err != nil {
			return receipt, err
		}
		return receipt, orders.Problem{NotPaid: true}
	}
	picked, err := dacapo.MapParallel("pick", order.Items, pick, dacapo.MaxParallel(2))
	if err != nil {
		return receipt, err
	}
	parcel := orders.Parcel{Customer: order.Customer, Lines: picked}
	shipped, err := dacapo.StartChild[string]("ship", "shop:orders/orders.ship", parcel)
	if err != nil {
		return receipt, err
	}
	tracking, err := shipped.Output()
	return orders.Receipt{
		Number:   order.Number,
		Charge:   charge,
		Payment:  payment.Reference,
		Picked:   picked,
		Tracking: tracking,
	}, err
}

func pick(item orders.Item) (string, error) {
	return dacapo.Step("pick", func(dacapo.Attempt) (string, error) {
		return fmt.Sprintf("%d x %s", item.Quantity, item.Sku), nil
	})
}
