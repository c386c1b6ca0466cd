package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/demo"
	"github.com/posthorn/posthorn/internal/mail"
)

type demoCmd struct {
	Listen   string        `help:"Address of the API." env:"POSTHORN_LISTEN" default:"127.0.0.1:8025"`
	Every    time.Duration `help:"How often new mail arrives." default:"5s"`
	LogLevel string        `help:"debug, info, warn or error." default:"warn" enum:"debug,info,warn,error"`
}

// Run serves a sample mailbox from a throw-away store until it is interrupted.
func (c *demoCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "posthorn-demo-")
	if err != nil {
		return fmt.Errorf("make a throw-away store: %w", err)
	}
	defer os.RemoveAll(dir)

	log := logger(app.Config{LogLevel: c.LogLevel})
	mailbox, err := demo.Start(ctx, demo.Options{Log: log})
	if err != nil {
		return fmt.Errorf("start the sample mailbox: %w", err)
	}
	defer mailbox.Stop()

	key := auth.NewKey()
	a, err := app.New(ctx, app.Config{Data: dir, Listen: c.Listen, APIKey: key, EgressAllow: "127.0.0.0/8,::1/128"}, log)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		a.Stop(closing)
	}()
	if err := a.Start(ctx); err != nil {
		return err
	}
	grant, err := connectDemo(ctx, a.Addr(), key, mailbox)
	if err != nil {
		return fmt.Errorf("connect the sample mailbox: %w", err)
	}
	if err := synced(ctx, a, mail.AccountID(grant)); err != nil {
		return fmt.Errorf("sync the sample mailbox: %w", err)
	}
	fmt.Printf(`Posthorn runs at http://%[1]s with a sample mailbox (%[3]s). Its store is thrown away at the end: Ctrl-C.
API key: %[2]s

  curl -H 'Authorization: Bearer %[2]s' http://%[1]s/v3/grants/%[3]s
  curl -H 'Authorization: Bearer %[2]s' 'http://%[1]s/v3/grants/%[3]s/messages?limit=3&select=id,subject,from,date,unread'
  curl -H 'Authorization: Bearer %[2]s' 'http://%[1]s/v3/grants/%[3]s/messages?limit=3&select=id,subject,snippet&search_query_native=larch'
  curl -H 'Authorization: Bearer %[2]s' 'http://%[1]s/v3/grants/%[3]s/threads?limit=3&select=id,subject,message_ids'
  curl -H 'Authorization: Bearer %[2]s' http://%[1]s/v3/grants/%[3]s/messages/send -d '{"to":[{"email":"%[3]s"}],"subject":"Hello","body":"<p>It works.</p>"}'
  curl -H 'Authorization: Bearer %[2]s' 'http://%[1]s/v3/events?cursor=latest&wait=30'

New mail arrives every %[4]s: run the second line again. What you send, to whomever, arrives here too. The reference of the API is
at http://%[1]s/reference.
`, a.Addr(), key, mailbox.Username, c.Every)

	running := make(chan error, 1)
	go func() { running <- mailbox.Run(ctx, c.Every) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-running:
		if ctx.Err() != nil {
			return nil
		}
		return err
	case err := <-a.Failed():
		return err
	}
}

// synced waits until the first synchronisation is complete.
func synced(ctx context.Context, a *app.App, id mail.AccountID) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	mbox, err := a.Store().Mailbox(ctx, id)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := mbox.Synced(ctx); err != nil || done {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connectDemo connects the mailbox as any application would and returns the grant's id.
func connectDemo(ctx context.Context, addr, key string, m *demo.Mailbox) (string, error) {
	imapHost, imapPort, err := splitAddr(m.Addr)
	if err != nil {
		return "", err
	}
	smtpHost, smtpPort, err := splitAddr(m.SMTPAddr)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{"provider": "imap", "settings": map[string]any{
		"imap_host": imapHost, "imap_port": imapPort, "imap_security": "none", "imap_username": m.Username, "imap_password": m.Password,
		"smtp_host": smtpHost, "smtp_port": smtpPort, "smtp_security": "none",
	}})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v3/connect/custom", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s", resp.Status, answer)
	}
	var got struct {
		Data struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return "", err
	}
	return got.Data.ID, nil
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}
