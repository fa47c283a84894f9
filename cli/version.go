// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

// versions is the answer of version -o json.
type versions struct {
	Client api.Version `json:"Client"`
	Server api.Version `json:"Server"`
}

func (p *program) version() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of netctl and of the netmaster", Example: "  netctl version",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := p.formatFlag(cmd, formatTable)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		both := versions{Client: p.Build}
		if f.is() == formatTable { // ours is worth seeing when the master is away, too
			fmt.Fprintf(p.Stdout, "Client Version:\n%s", versionLines(both.Client))
		}
		if err := c.Get(cmd.Context(), api.VersionPath, &both.Server); err != nil {
			return err
		}
		return p.print(f, both, func() (string, error) { return "\nServer Version:\n" + versionLines(both.Server), nil })
	}
	return cmd
}

func versionLines(v api.Version) string {
	return fmt.Sprintf("Version: %s\nGitCommit: %s\nBuildTime: %s\n", cell(v.Version), cell(v.GitCommit), cell(v.BuildTime))
}
