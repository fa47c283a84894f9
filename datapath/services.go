// SPDX-License-Identifier: Apache-2.0

package datapath

// ServiceCount is what this node's containers had of one provider of a service, since the two came together. Bytes are of IP packets, as
// the node carries them: what the kernel has not cut into segments yet is one packet.
type ServiceCount struct {
	Service, Provider      uint32 // by the numbers of compile.Service and compile.Provider
	Connections            uint64 // that began; of UDP, what one client's port sent without a pause of three minutes
	Open                   uint64 // of those, how many are there now
	PacketsTo, BytesTo     uint64 // from clients to the provider
	PacketsFrom, BytesFrom uint64 // and back
}

// ServiceCounts are the counts of all pairs that had connections, sorted by service and provider.
func (d *Datapath) ServiceCounts() ([]ServiceCount, error) {
	return nil, nil
}
