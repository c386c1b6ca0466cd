package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/posthorn/posthorn/internal/app"
)

// envFile reads a configuration file: lines NAME=value with the names of the environment variables, blank lines and
// lines that begin with #. Its values go into the environment where the environment has none, so that everything that
// knows a variable knows the file; a name that nobody knows is an error.
func envFile(r io.Reader) (kong.Resolver, error) {
	values := map[string]string{}
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return nil, fmt.Errorf("configuration file, line %d: want NAME=value", n)
		}
		if !app.KnownKey(name) {
			return nil, fmt.Errorf("configuration file, line %d: %s is no setting", n, name)
		}
		values[name] = strings.TrimSpace(value)
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, values[name]); err != nil {
				return nil, fmt.Errorf("configuration file, line %d: %w", n, err)
			}
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if v := os.Getenv(name); v != "" {
				return v, nil
			}
		}
		return nil, nil
	}), nil
}

func logger(c app.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo // the flag's enum lets nothing else through
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
