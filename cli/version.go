// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the versions of netctl and of the netmaster",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(cmd)
			if err != nil {
				return err
			}
			// Ours is worth seeing when the master is away, too.
			fmt.Fprintf(p.Stdout, "Client Version:\n%s", versionLines(p.Build))
			var server api.Version
			if err := c.Get(cmd.Context(), api.VersionPath, &server); err != nil {
				return err
			}
			fmt.Fprintf(p.Stdout, "\nServer Version:\n%s", versionLines(server))
			return nil
		},
	}
}

func versionLines(v api.Version) string {
	return fmt.Sprintf("Version: %s\nGitCommit: %s\nBuildTime: %s\n", cell(v.Version), cell(v.GitCommit), cell(v.BuildTime))
}
