// SPDX-License-Identifier: Apache-2.0

package master

import "net/http"

func (m *Master) version(w http.ResponseWriter, _ *http.Request, _ []string) error {
	return reply(w, m.Version, 0)
}

// info is v1's. There is no leader: each master says that it is the one.
func (m *Master) info(w http.ResponseWriter, _ *http.Request, _ []string) error {
	nodes := []string{}
	for n := range m.ledger.current().Nodes.Sorted() {
		nodes = append(nodes, n.VTEP.String())
	}
	return reply(w, map[string]any{
		"local-ip": m.Address, "leader-ip": m.Address, "current-state": "leader",
		"netplugin-nodes": nodes, "netmaster-nodes": []string{m.Address},
	}, 0)
}
