// Command posthorn is an email API for IMAP: it keeps synced, encrypted copies of mailboxes and serves them over HTTP.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"github.com/posthorn/posthorn/internal/app"
)

type cli struct {
	Config kong.ConfigFlag `help:"File with lines NAME=value, named as the environment variables; those win over it." env:"POSTHORN_CONFIG" placeholder:"FILE"`

	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Run a server with a sample mailbox and a throw-away store."`
	Status  statusCmd  `cmd:"" help:"Print where mailboxes stand: state, freshness, and how far a first synchronisation is."`
	Check   checkCmd   `cmd:"" help:"Verify everything about the store that can be verified without a mail server."`
	Verify  verifyCmd  `cmd:"" help:"Compare everything stored of an account with its mailbox at the server; any difference is an error."`
	Reindex reindexCmd `cmd:"" help:"Make the search index anew, of some accounts or of all. The server must not be running."`
	Parse   parseCmd   `cmd:"" help:"Print what Posthorn understands of message files, one JSON line each."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	var c cli
	parser := kong.Must(&c,
		kong.Name("posthorn"),
		kong.Description("An email API for IMAP."),
		kong.UsageOnError(),
		kong.Configuration(envFile),
	)
	ctx, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "posthorn:", err)
		code := exitError{err, 1}
		errors.As(err, &code)
		os.Exit(code.code)
	}
}

// exitError is an error with the code that the process ends with; of others that is 1.
type exitError struct {
	error
	code int
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println(app.Version)
	return nil
}
