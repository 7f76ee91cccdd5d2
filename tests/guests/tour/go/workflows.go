// Package workflows has a tour of the kit: the same in each language that has one, and with the same journal.
package workflows

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"dacapo"
	"dacapo/wit/tour"
	"landmarks"
)

const moment = 20 * time.Millisecond

var turns = []string{"turn-left", "turn-right"}

// See answers what it met with.
func See(service string) ([]string, error) {
	var met []string
	for _, part := range []func(*[]string) error{
		look,
		func(met *[]string) error { return ask(service, met) },
		book,
		func(*[]string) error {
			dacapo.SetProgress(2, 4, "half of it")
			return nil
		},
		send,
		part,
		rest,
	} {
		if err := part(&met); err != nil {
			return nil, err
		}
	}
	dacapo.SetProgress(4, 4, "")
	return met, nil
}

// Visit is a child of See.
func Visit(place string) (string, error) {
	if place == "nowhere" {
		return "", errors.New("there is no such place")
	}
	if place == "far" {
		if err := dacapo.Sleep("way", time.Hour); err != nil {
			return "", err
		}
	}
	return dacapo.Step("look", func(dacapo.Attempt) (string, error) { return "seen " + place, nil })
}

// Draw says what clocks and generators have said.
func Draw() (string, error) {
	before := sample()
	if err := same("before", before); err != nil {
		return "", err
	}
	inside, err := dacapo.Step("inside", func(dacapo.Attempt) (string, error) { return sample(), nil })
	if err != nil {
		return "", err
	}
	if err := dacapo.Sleep("rest", 5*time.Millisecond); err != nil {
		return "", err
	}
	after := sample()
	if err := same("after", after); err != nil {
		return "", err
	}
	if err := dacapo.Sleep("rest", 5*time.Millisecond); err != nil {
		return "", err
	}
	twice, err := dacapo.MapParallel("twice", []int{1, 2}, func(int) (string, error) { return sample(), nil })
	if err != nil {
		return "", err
	}
	return "[" + strings.Join(append([]string{before, inside, after}, twice...), ",") + "]", nil
}

// Carry answers what it is given.
func Carry(luggage tour.Luggage) (tour.Luggage, error) {
	return luggage, nil
}

// Misread takes a text for a number.
func Misread() error {
	_, err := dacapo.Step("read", func(dacapo.Attempt) (unreadable, error) { return unreadable{}, nil })
	return err
}

// unreadable is recorded as a text, and read as a number.
type unreadable struct{}

func (unreadable) MarshalJSON() ([]byte, error) {
	return []byte(`"a text"`), nil
}

func (*unreadable) UnmarshalJSON(text []byte) error {
	var number int
	return json.Unmarshal(text, &number)
}

// Greet is what a package says that is none of the project's own.
func Greet(name string) (string, error) {
	return landmarks.Greeting(name), nil
}

type about struct {
	Run      string  `json:"run"`
	Workflow string  `json:"workflow"`
	Colour   string  `json:"colour"`
	Shape    *string `json:"shape"`
	Attempt  int     `json:"attempt"`
	Key      string  `json:"key"`
	Started  bool    `json:"started"`
}

// look is at what the run knows about itself, its log, and attempts.
func look(met *[]string) error {
	created, now, labels := dacapo.CreatedAt(), dacapo.Now(), dacapo.Labels()
	started := !created.After(now) && created.Year() > 2020 && time.Since(now).Abs() < time.Millisecond
	_, err := dacapo.Step("about", func(attempt dacapo.Attempt) (about, error) {
		told := about{
			Run:      dacapo.RunID(),
			Workflow: dacapo.Workflow(),
			Colour:   labels["colour"],
			Attempt:  attempt.Number,
			Key:      attempt.IdempotencyKey,
			Started:  started,
		}
		if shape, has := labels["shape"]; has {
			told.Shape = &shape
		}
		return told, nil
	})
	if err != nil {
		return err
	}
	if dacapo.Changed("scenic-route") {
		*met = append(*met, "scenic")
	}
	logger := slog.New(dacapo.NewHandler(slog.LevelDebug-4)).With("place", "tower")
	for _, level := range []struct {
		name  string
		level slog.Level
	}{
		{"trace", slog.LevelDebug - 4},
		{"debug", slog.LevelDebug},
		{"info", slog.LevelInfo},
		{"warn", slog.LevelWarn},
		{"error", slog.LevelError},
	} {
		logger.Log(context.Background(), level.level, "a line for "+level.name, "metres", 300)
	}
	knocked, err := dacapo.Step("knock", func(attempt dacapo.Attempt) (int, error) {
		if attempt.Number == 1 {
			return 0, dacapo.Retryf("nobody is at home").WithCode("closed").
				WithDetails(map[string]string{"opens": "soon"}).
				After(40 * time.Millisecond)
		}
		return attempt.Number, nil
	}, dacapo.Attempts(3), dacapo.Backoff(time.Millisecond), dacapo.Factor(1), dacapo.BackoffMax(time.Millisecond))
	if err != nil {
		return err
	}
	*met = append(*met, fmt.Sprintf("knock: %d", knocked))
	failing(met, "slow", dacapo.Do("slow", func(dacapo.Attempt) error {
		for {
		}
	}, dacapo.Attempts(1), dacapo.Timeout(100*time.Millisecond)))
	return nil
}

type asked struct {
	Status int    `json:"status"`
	Told   string `json:"told"`
	Said   string `json:"said"`
	Bytes  int    `json:"bytes"`
	Sum    int    `json:"sum"`
}

// ask is about requests and secrets.
func ask(service string, met *[]string) error {
	_, err := dacapo.Step("ask", func(dacapo.Attempt) (asked, error) {
		answer, err := dacapo.Fetch(dacapo.Request{
			URL:               service + "/echo",
			Method:            "PUT",
			Header:            map[string]string{"x-note": "noted", "authorization": "Bearer " + dacapo.Placeholder("key")},
			JSON:              map[string]any{"stop": "tower", "cents": 42},
			Timeout:           5 * time.Second,
			ResponseMax:       1_000,
			IdempotencyHeader: "x-key",
		})
		if err != nil {
			return asked{}, err
		}
		var echo struct{ Said string }
		if err := answer.JSON(&echo); err != nil {
			return asked{}, err
		}
		bytes, err := dacapo.Fetch(dacapo.Request{URL: service + "/away", Redirects: 1})
		if err != nil {
			return asked{}, err
		}
		sum := 0
		for _, byte := range bytes.Body {
			sum += int(byte)
		}
		return asked{
			Status: answer.Status,
			Told:   answer.Header("X-Told"),
			Said:   echo.Said,
			Bytes:  len(bytes.Body),
			Sum:    sum,
		}, nil
	})
	if err != nil {
		return err
	}
	failing(met, "big", dacapo.Do("big", func(dacapo.Attempt) error {
		_, err := dacapo.Fetch(dacapo.Request{URL: service + "/bytes", ResponseMax: 10})
		return err
	}, dacapo.Attempts(1)))
	_, err = dacapo.Step("sign", func(dacapo.Attempt) (int, error) {
		secret, err := dacapo.Reveal("pass")
		return len(secret), err
	})
	return err
}

type booked struct {
	Touched uint64  `json:"touched"`
	Name    string  `json:"name"`
	Cents   int64   `json:"cents"`
	Score   float64 `json:"score"`
	Open    bool    `json:"open"`
	Stars   int     `json:"stars"`
	Photo   []int   `json:"photo"`
	Seen    int64   `json:"seen"`
	Closed  any     `json:"closed"`
}

// book is about statements that are one transaction with their step.
func book(met *[]string) error {
	_, err := dacapo.Step("book", func(dacapo.Attempt) (booked, error) {
		touched, err := dacapo.Execute(
			"insert into stop values ($1, $2, $3, $4, $5, $6, $7, $8)",
			"tower",
			4200,
			0.5,
			true,
			map[string]int{"stars": 5},
			[]byte{1, 2, 255},
			time.UnixMilli(1_767_323_045_678),
			nil,
		)
		if err != nil {
			return booked{}, err
		}
		rows, err := dacapo.Query("select * from stop where name = $1", "tower")
		if err != nil {
			return booked{}, err
		}
		row := rows[0]
		var note struct{ Stars int }
		if err := json.Unmarshal(row["note"].(json.RawMessage), &note); err != nil {
			return booked{}, err
		}
		there := booked{
			Touched: touched,
			Name:    row["name"].(string),
			Cents:   row["cents"].(int64),
			Score:   row["score"].(float64),
			Open:    row["is_open"].(bool),
			Stars:   note.Stars,
			Seen:    row["seen_at"].(time.Time).UnixMilli(),
			Closed:  row["closed"],
		}
		for _, byte := range row["photo"].([]byte) {
			there.Photo = append(there.Photo, int(byte))
		}
		return there, nil
	})
	if err != nil {
		return err
	}
	err = dacapo.Do("book-again", func(dacapo.Attempt) error {
		_, err := dacapo.Execute("insert into stop (name) values ($1)", "tower")
		return err
	}, dacapo.Attempts(1))
	var failure *dacapo.Failure
	if errors.As(err, &failure) {
		var details struct{ SQLState string }
		if err := json.Unmarshal(failure.Details, &details); err != nil {
			return err
		}
		*met = append(*met, fmt.Sprintf("book-again: %s %s", failure.Code, details.SQLState))
	}
	return nil
}

// send is about children.
func send(met *[]string) error {
	mail, err := dacapo.StartChild[string]("mail", "test:tour/tour.visit", "tower",
		dacapo.ChildLabels(map[string]string{"kind": "mail"}),
		dacapo.Deadline(2*time.Hour),
		dacapo.Detached(),
		dacapo.Queue("slow"),
		dacapo.ConcurrencyKey("ada"),
		dacapo.Priority(7),
	)
	if err != nil {
		return err
	}
	sent, err := mail.Output()
	if err != nil {
		return err
	}
	*met = append(*met, "mail: "+sent)
	lost, err := dacapo.StartChild[string]("lost", "tour.visit", "nowhere")
	if err != nil {
		return err
	}
	_, err = lost.Output()
	failing(met, "lost", err)
	far, err := dacapo.StartChild[string]("far", "tour.visit", "far")
	if err != nil {
		return err
	}
	there, arrived, err := far.OutputWithin(moment)
	if err != nil {
		return err
	}
	if !arrived {
		there = "not yet"
	}
	*met = append(*met, "far: "+there)
	return nil
}

// part is about branches.
func part(met *[]string) error {
	first, err := dacapo.Race("first",
		func() (string, error) {
			if _, err := dacapo.WaitFor[any]("whistle"); err != nil {
				return "", err
			}
			return dacapo.Step("walk", func(dacapo.Attempt) (string, error) { return "tortoise", nil })
		},
		func() (string, error) {
			err := dacapo.Sleep("nap", time.Hour)
			if errors.Is(err, dacapo.ErrCancelled) {
				_, _ = dacapo.Step("wake", func(dacapo.Attempt) (string, error) { return "too late", nil })
			}
			return "hare", err
		},
	)
	if err != nil {
		return err
	}
	left, lunch, right, err := dacapo.Parallel3("three",
		func() (int, error) {
			return dacapo.Step("left", func(dacapo.Attempt) (int, error) { return 1, nil })
		},
		func() (string, error) { return dacapo.WaitFor[string]("lunch") },
		func() ([]string, error) {
			return dacapo.Step("right", func(dacapo.Attempt) ([]string, error) { return []string{"a", "b"}, nil })
		},
	)
	if err != nil {
		return err
	}
	*met = append(*met, "first: "+first, fmt.Sprintf("three: %d %s %s", left+1, lunch, strings.Join(right, "+")))
	each, err := dacapo.MapSettled("each", []int{1, 2, 3}, func(number int) (int, error) {
		return dacapo.Step("odd", func(dacapo.Attempt) (int, error) {
			if number%2 == 0 {
				return 0, dacapo.Fatalf("%d is even", number).WithCode("even")
			}
			return number * number, nil
		})
	})
	if err != nil {
		return err
	}
	for _, one := range each {
		var failure *dacapo.Failure
		if errors.As(one.Err, &failure) {
			*met = append(*met, fmt.Sprintf("each: %s, %s", failure.Code, failure.Message))
		} else {
			*met = append(*met, fmt.Sprintf("each: %d", one.Value))
		}
	}
	return nil
}

// rest is about waits.
func rest(met *[]string) error {
	turned, err := dacapo.WaitForAny("turn", turns...)
	if err != nil {
		return err
	}
	var degrees int
	turned.Decode(&degrees)
	*met = append(*met, fmt.Sprintf("turn: %s %d", turned.Name, degrees+1))
	again, came, err := dacapo.WaitForAnyWithin("turn-again", moment, turns...)
	if err != nil {
		return err
	}
	if !came {
		again.Name = "nothing"
	}
	*met = append(*met, "turn-again: "+again.Name)
	if err := dacapo.SleepUntil("until", dacapo.Now().Add(moment)); err != nil {
		return err
	}
	return dacapo.Pause("look-around")
}

// failing meets with the code of the failure.
func failing(met *[]string, name string, err error) {
	code := "done"
	if err != nil {
		code = dacapo.FailureOf(err).Code
	}
	*met = append(*met, name+": "+code)
}

// sample is what clocks and generators say.
func sample() string {
	var bytes [8]byte
	_, _ = rand.Read(bytes[:])
	text, _ := json.Marshal(map[string]string{
		"clock: dacapo.Now":     fmt.Sprint(dacapo.Now().UnixMilli()),
		"clock: time.Now":       fmt.Sprint(time.Now().UnixMilli()),
		"random: rand.Read":     hex.EncodeToString(bytes[:]),
		"random: rand.Text":     rand.Text(),
		"random: dacapo.Random": fmt.Sprint(dacapo.Random().Uint64()),
	})
	return string(text)
}

// same fails if this is not what it was when it was first reached.
func same(name, now string) error {
	then, err := dacapo.Step(name, func(dacapo.Attempt) (string, error) { return now, nil })
	if err == nil && then != now {
		err = fmt.Errorf("%s: %s has become %s", name, then, now)
	}
	return err
}
