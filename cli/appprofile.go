// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

// notEnforced is said of what is for ACI fabrics.
const notEnforced = "It is kept as intent; this version enforces nothing of it."

func (p *program) appProfile() *cobra.Command {
	n := appProfiles()
	cmd := family("app-profile", "Application profiles: groups that make an application, for ACI fabrics", p.appProfileCreate(),
		p.appProfileGroups(),
		n.inspect(p, "Show an application profile"),
		n.ls(p, "List application profiles"),
		n.rm(p, "Delete an application profile; its groups stay", nil),
		p.appProfileUpdate())
	cmd.Long = cmd.Short + ".\n" + notEnforced
	return cmd
}

func appProfiles() noun[api.AppProfile] {
	return noun[api.AppProfile]{
		plural: api.AppProfiles, command: "app-profile", word: "app profile", field: "appProfileName", max: 64, required: "Profile name required",
		argument: "PROFILE", sample: "shop",
		name: func(a api.AppProfile) string { return a.AppProfileName }, tenant: func(a api.AppProfile) string { return a.TenantName },
		head: []string{"Tenant", "AppProfile", "Groups"}, underline: []string{"------", "----------", "------"},
		row: func(a api.AppProfile) []string {
			return []string{a.TenantName, a.AppProfileName, strings.Join(a.EndpointGroups, ",")}
		},
	}
}

func (p *program) appProfileCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create PROFILE", Short: "Create an application profile", Example: "  netctl app-profile create -g web,db shop",
		Args: one("Profile name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	a := p.appProfileFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, asked, err := a.asked(args[0])
		if err != nil {
			return err
		}
		return p.create(cmd, o, asked, "Creating AppProfile "+o.key)
	}
	return cmd
}

func (p *program) appProfileUpdate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update PROFILE", Short: "Give an application profile other groups", Example: "  netctl app-profile update -g web,db,cache shop",
		Args: one("Profile name required"), ValidArgsFunction: p.completeArgs(appProfiles().names),
	}
	a := p.appProfileFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("group") { // what is left out would be taken out
			return usage(cmd, "Groups required: name all that the profile is to have with -g, or none with -g \"\"")
		}
		o, asked, err := a.asked(args[0])
		if err != nil {
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := o.get(cmd.Context(), c, api.ObjectPath(o.plural, o.key), nil); err != nil { // an update never creates
			return err
		}
		return p.create(cmd, o, asked, "")
	}
	return cmd
}

// profileFlags are those of create and update.
type profileFlags struct {
	tenant *string
	groups string
}

func (p *program) appProfileFlags(cmd *cobra.Command) *profileFlags {
	f := &profileFlags{tenant: p.tenantFlag(cmd)}
	cmd.Flags().StringVarP(&f.groups, "group", "g", "", "`names` of all of its groups, joined by commas")
	p.completeList(cmd, "group", groups().names)
	return f
}

func (f *profileFlags) asked(name string) (object, api.AppProfile, error) {
	o, err := appProfiles().object(*f.tenant, name)
	a := api.AppProfile{Key: o.key, TenantName: *f.tenant, AppProfileName: name}
	if f.groups != "" {
		for g := range strings.SplitSeq(f.groups, ",") {
			a.EndpointGroups = append(a.EndpointGroups, strings.TrimSpace(g))
		}
	}
	return o, a, err
}

func (p *program) appProfileGroups() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group-ls PROFILE", Aliases: []string{"group-list"}, Short: "List the groups of an application profile",
		Example: "  netctl app-profile group-ls shop",
		Args:    one("Profile name required"), ValidArgsFunction: p.completeArgs(appProfiles().names),
	}
	tenant := p.tenantFlag(cmd)
	l := p.listFlags(cmd)
	cmd.Flags().BoolP("all", "a", false, "has no effect") // as in the original
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := appProfiles().object(*tenant, args[0])
		if err != nil {
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		var a item[api.AppProfile]
		if err := o.get(cmd.Context(), c, api.ObjectPath(o.plural, o.key), &a); err != nil {
			return err
		}
		return p.print(l.format, a, func() (string, error) {
			separator := ","
			if l.quiet {
				separator = "\n"
			}
			var names []string
			for _, g := range a.value.EndpointGroups {
				names = append(names, cell(g))
			}
			return fmt.Sprintln(strings.Join(names, separator)), nil
		})
	}
	return cmd
}
