// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// forbidsNothing fails the test if the API server refuses a user of ours something for good, or was not asked by it. One that starts refuses all
// for a moment.
func forbidsNothing(t *testing.T, c *kubelab.Cluster, user string) {
	t.Helper()
	all, err := c.Requests()
	must(t, err)
	asked, allowed := map[kubelab.Request]bool{}, map[kubelab.Request]bool{}
	for _, r := range all {
		if r.User == user {
			refused := r.Forbidden
			r.Forbidden = false
			asked[r] = true
			allowed[r] = allowed[r] || !refused
		}
	}
	for r := range asked {
		if !allowed[r] {
			t.Errorf("%s may not %s %s of group %q, which it wants", user, r.Verb, r.Resource, r.Group)
		}
	}
	if len(asked) == 0 {
		t.Errorf("%s has asked for nothing", user)
	}
}
