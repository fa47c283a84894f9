// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/contivnet/contiv/api"
)

// loginPath is where an authenticating proxy takes names and passwords and gives tokens.
const loginPath = api.Root + "auth_proxy/login/"

// credentials are what the file of a login holds.
type credentials struct {
	Token string `json:"token"`
}

func (p *program) login() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Log in to an authenticating proxy",
		Long: "Log in to an authenticating proxy, whose https URL is given as the netmaster's. Its token is kept in ~/.netctl/config.json and\n" +
			"sent with every later command; to log out, delete that file.",
		Example: "  netctl --netmaster https://proxy:10000 login",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for list := range strings.SplitSeq(strings.Join(p.named(), ","), ",") {
				if !strings.HasPrefix(strings.TrimSpace(list), "https://") {
					return errors.New("login requires a https auth_proxy URL; name it with --netmaster or NETMASTER")
				}
			}
			if p.tokenFile() == "" {
				return errors.New("HOME is not set: there is no place to keep the token")
			}
			c, err := api.ClientOptions{Insecure: p.trustsAnyone()}.NewClient(p.named()...)
			if err != nil {
				return usage(cmd, "Error connecting to netmaster: %v", err)
			}
			name, password, err := p.ask()
			if err != nil {
				return err
			}
			// Typing took as long as it took.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), patience)
			defer cancel()
			asked := map[string]string{"username": name, "password": password}
			var given json.RawMessage
			if _, err := c.Post(ctx, loginPath, asked, &given); err != nil {
				return loginError(err)
			}
			if err := p.keepToken(given); err != nil {
				return err
			}
			p.say("Login succeeded.")
			return nil
		},
	}
}

func loginError(err error) error {
	var refused *api.Error
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Status == http.StatusUnauthorized:
		return errors.New("Login failed: Bad username or password.") //lint:ignore ST1005 v1's words
	}
	return fmt.Errorf("Login failed: unexpected response code (%d)\n%s", refused.Status, refused.Text) //lint:ignore ST1005 v1's words
}

// ask asks for a name and a password, which is not shown as it is typed.
func (p *program) ask() (name, password string, err error) {
	fmt.Fprint(p.Stdout, "Username: ")
	if name, err = line(p.Stdin); err != nil {
		return "", "", err
	}
	if name = strings.TrimSpace(name); name == "" {
		return "", "", errors.New("you must specify a username")
	}
	fmt.Fprint(p.Stdout, "Password: ")
	defer fmt.Fprintln(p.Stdout)
	if f, ok := p.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b, err := term.ReadPassword(int(f.Fd()))
		if err != nil {
			return "", "", fmt.Errorf("read the password: %w", err)
		}
		return name, string(b), nil
	}
	password, err = line(p.Stdin)
	return name, password, err
}

// line reads up to the end of a line and not a byte more, as what follows is for another reader.
func line(r io.Reader) (string, error) {
	var out strings.Builder
	b := make([]byte, 1)
	for out.Len() < 4096 {
		n, err := r.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return strings.TrimSuffix(out.String(), "\r"), nil
		case n == 1:
			out.WriteByte(b[0])
		case errors.Is(err, io.EOF):
			return out.String(), nil
		case err != nil:
			return "", fmt.Errorf("read what was typed: %w", err)
		}
	}
	return "", errors.New("what was typed has more than 4096 characters")
}

// tokenFile is where the token is kept; "" where there is no home.
func (p *program) tokenFile() string {
	home := p.Getenv("HOME")
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".netctl", "config.json")
}

// token is what the last login gave, or "" after none.
func (p *program) token() (string, error) {
	file := p.tokenFile()
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("failed to read config file: %w", err)
	}
	var kept credentials
	if err := json.Unmarshal(b, &kept); err != nil {
		return "", fmt.Errorf("failed to unmarshal JSON of %s: %w; log in again, or delete it", file, err)
	}
	return kept.Token, nil
}

// keepToken writes what a proxy gave for this user's eyes alone.
func (p *program) keepToken(given []byte) error {
	var kept credentials
	if err := json.Unmarshal(given, &kept); err != nil || kept.Token == "" {
		return errors.New("Login failed: the answer has no token") //lint:ignore ST1005 v1's words
	}
	file := p.tokenFile()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "config-*") // 0600 from the start, whatever an old file allows
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	_, err = f.Write(given)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it holds nothing that anyone waits for
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}
