// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

// Exit codes.
const (
	ExitDone        = 0
	ExitUsage       = 1 // the arguments are wrong; nothing was sent
	ExitUnreachable = 2 // no master answers, or its store is away: trying again may help
	ExitRefused     = 3 // the master says no, or would: a name or a file cannot be right
	ExitOutput      = 4 // the answer could not be written
)

// patience is how long a command waits for masters in all. The slowest of them removes a node with all of its endpoints.
const patience = time.Minute

// Env is what netctl knows of the process that it runs in.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Build          api.Version // what this netctl says it is
}

// Run is netctl with args, which do not include the program's name. The result is its exit code; what
// went wrong has been written to Stderr.
func Run(ctx context.Context, args []string, env Env) (exit int) {
	out := &stdout{to: env.Stdout}
	env.Stdout = out
	p := &program{Env: env, whole: ctx}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.execute(ctx, args)
	if err == nil {
		err = out.err
	}
	if err == nil {
		return ExitDone
	}
	fmt.Fprintf(env.Stderr, "netctl: %v\n", err)
	if unreachable := (*api.UnreachableError)(nil); errors.As(err, &unreachable) {
		fmt.Fprintln(env.Stderr, "Check that a netmaster runs there, or name another with --netmaster or NETMASTER")
	}
	if refused := (*api.Error)(nil); errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		fmt.Fprintln(env.Stderr, "Log in first: netctl login")
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		fmt.Fprintln(env.Stderr, wrong.remedy())
	}
	return exitOf(err)
}

// program is one run of netctl.
type program struct {
	Env
	masters  []string // of --netmaster
	insecure bool
	whole    context.Context // Run's own, for commands that go on for as long as the user wants
}

func (p *program) execute(ctx context.Context, args []string) error {
	root := p.root()
	args, err := canonical(root, args)
	if err != nil {
		return err
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func (p *program) root() *cobra.Command {
	root := family("netctl", "A command line client for Contiv Network",
		p.network(),
		p.aciGateway(),
		p.appProfile(),
		p.apply(),
		p.bgp(),
		p.completion(),
		p.drops(),
		p.endpoint(),
		p.export(),
		p.externalContracts(),
		p.flows(),
		p.global(),
		p.group(),
		p.login(),
		p.netprofile(),
		p.node(),
		p.policy(),
		p.service(),
		p.tenant(),
		p.version(),
	)
	root.Long = root.Short + `.

Flags may stand before or after names, with one dash or two: --subnet=10.1.2.0/24, -subnet 10.1.2.0/24, -s 10.1.2.0/24.

Exit codes: 0 done, 1 wrong usage, 2 no netmaster answers (or its store is away), 3 refused, by the netmaster or as a name or
a file cannot be right, 4 the output cannot be written.`
	root.CompletionOptions.DisableDefaultCmd = true    // ours is completion.go
	root.SilenceErrors, root.SilenceUsage = true, true // Run writes both
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(wrongFlag)
	root.Version = p.Build.Version
	root.SetVersionTemplate("netctl version\n" + versionLines(p.Build))

	flags := root.PersistentFlags()
	flags.StringArrayVar(&p.masters, "netmaster", nil,
		"`URL` of a netmaster; several, comma separated or repeated, are tried in turn (NETMASTER, default "+api.DefaultMaster+")")
	flags.BoolVar(&p.insecure, "insecure", false, "believe any certificate of an https URL (INSECURE)")
	return root
}

// client speaks to the masters that the user named, with the token of the last login.
func (p *program) client(cmd *cobra.Command) (*api.Client, error) {
	token, err := p.token()
	if err != nil {
		return nil, fmt.Errorf("error processing netctl config: %w", err)
	}
	o := api.ClientOptions{Token: token, Insecure: p.trustsAnyone()}
	c, err := o.NewClient(p.named()...)
	if err == nil {
		return c, nil
	}
	if token != "" {
		if _, plain := (api.ClientOptions{}).NewClient(p.named()...); plain == nil {
			return nil, fmt.Errorf("error processing netctl config: failed to set auth token: %w; to log out, delete %s", err, p.tokenFile())
		}
	}
	return nil, usage(cmd, "Error connecting to netmaster: %v", err)
}

// named are the masters of --netmaster, else of NETMASTER.
func (p *program) named() []string {
	if len(p.masters) > 0 {
		return p.masters
	}
	return []string{cmp.Or(p.Getenv("NETMASTER"), api.DefaultMaster)}
}

func (p *program) trustsAnyone() bool {
	return p.insecure || cmp.Or(p.Getenv("INSECURE"), "false") != "false"
}

// stdout remembers that it could not be written, so that no command has to look.
type stdout struct {
	to  io.Writer
	err error
}

func (o *stdout) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(b)
	if err != nil {
		o.err = &outputError{err}
	}
	return n, o.err
}
