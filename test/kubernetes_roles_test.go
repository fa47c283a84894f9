// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// asksForAllThatItMay fails the test if one of our service accounts has not asked the API server for all that the role of its name allows, by each of its
// verbs, or was refused something for good. An API server that starts refuses all for a moment.
func asksForAllThatItMay(t *testing.T, c *kubelab.Cluster, account string) {
	t.Helper()
	var role struct {
		Rules []struct{ APIGroups, Resources, Verbs []string }
	}
	must(t, json.Unmarshal([]byte(kubectl(t, c, "get", "clusterrole", account, "-o", "json")), &role))
	user := "system:serviceaccount:kube-system:" + account
	granted := map[kubelab.Request]bool{}
	for _, r := range role.Rules {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					granted[kubelab.Request{User: user, Verb: verb, Group: group, Resource: resource}] = true
				}
			}
		}
	}
	if len(granted) == 0 {
		t.Errorf("clusterrole %s allows nothing", account)
	}
	eventually(t, func() error {
		all, err := c.Requests()
		if err != nil {
			return err
		}
		answered := map[kubelab.Request]bool{}
		for _, r := range all {
			if r.User == user {
				refused := r.Forbidden
				r.Forbidden = false
				answered[r] = answered[r] || !refused
			}
		}
		for r := range granted {
			if !answered[r] {
				return fmt.Errorf("%s never asks to %s %s of group %q, which its role allows", account, r.Verb, r.Resource, r.Group)
			}
		}
		for r, ok := range answered {
			if !ok {
				return fmt.Errorf("%s may not %s %s of group %q, which it wants", account, r.Verb, r.Resource, r.Group)
			}
		}
		return nil
	})
}
