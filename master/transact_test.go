// SPDX-License-Identifier: Apache-2.0

package master

import (
	"errors"
	"testing"

	"github.com/contivnet/contiv/model"
)

// A plan takes addresses from the ledger and decides on a World that may be older. What came free in between must
// neither be refused as taken nor be given while the plan believes another to have it.
func TestAddressThatCameFreeAfterThePlansWorldIsAskedForAgain(t *testing.T) {
	t.Parallel()
	pool, err := model.ParsePool("10.1.2.0/24", "", false)
	if err != nil {
		t.Fatal(err)
	}
	n := model.Network{Tenant: "default", Name: "net", IPv4: pool}
	first := pool.Prefix.Addr().Next()
	e := model.Endpoint{ID: "e1", Tenant: "default", Network: "net", Node: "n1", IPv4: first, MAC: model.MACOf(first)}
	has := model.Address{Network: n.Key(), Addr: first, Owner: e.ID}
	l := newLedger(1)
	apply := func(c model.Change) {
		t.Helper()
		if err := l.apply(c); err != nil {
			t.Fatal(err)
		}
	}
	apply(model.Change{Revision: 1, Reset: true, Put: []model.Object{n}})
	empty := l.current()
	apply(model.Change{Revision: 2, Put: []model.Object{e, has}})
	full := l.current()

	p := newPlan(empty, l)
	if _, err := p.mac(model.Endpoint{ID: "e2", Tenant: "default", Network: "net", IPv4: first}); !errors.Is(err, errBusy) {
		t.Errorf("on a World before that of the MAC's owner: %v", err)
	}
	p = newPlan(full, l)
	if _, err := p.mac(model.Endpoint{ID: "e2", Tenant: "default", Network: "net", IPv4: first}); !errors.Is(err, model.ErrExists) {
		t.Errorf("on the World of the MAC's owner: %v", err)
	}
	apply(model.Change{Revision: 3, Delete: []model.Ref{model.RefOf(e), model.RefOf(has)}})
	if a, err := p.address(n, model.Group{}, false, nil); !errors.Is(err, errBusy) {
		t.Errorf("on the World before the address came free: %v, %v", a, err)
	}
	l.drop(p.claims)
	p = newPlan(l.current(), l)
	if a, err := p.address(n, model.Group{}, false, nil); err != nil || a != first {
		t.Errorf("on the newest World: %v, %v", a, err)
	}
}
