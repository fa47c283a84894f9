// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Choose says which provider a client's new connection to a port of a virtual address gets: the specification of what the data path does.
// false: the tenant has no such service, or it has nobody to offer, and the client is refused.
//
// Of a service with an Affinity that ends it is the choice for a client that is not remembered. The data path prefers the provider that the client
// met last, while that time is not over and the provider takes connections; and when the time is over, it chooses as without affinity.
//
// Where the client's port is in use already, with the provider, by way of another service, the data path takes the next slot that names
// another one.
func (t Tables) Choose(tenant uint32, protocol uint8, client, service netip.AddrPort) (s Service, p Provider, ok bool) {
	key := Service{Tenant: tenant, Addr: service.Addr(), Protocol: protocol, Port: service.Port()}
	i, ok := slices.BinarySearchFunc(t.Services, key, CompareServices)
	if !ok {
		return s, p, false
	}
	s = t.Services[i]
	if s.Number == 0 {
		at, known := slices.BinarySearchFunc(t.Endpoints, Endpoint{Tenant: tenant, Addr: client.Addr()}, compareEndpoint)
		if !known || t.Endpoints[at].Network == 0 {
			return s, p, false
		}
		key.Network = t.Endpoints[at].Network
		if i, ok = slices.BinarySearchFunc(t.Services, key, CompareServices); !ok {
			return Service{}, p, false
		}
		s = t.Services[i]
	}
	if len(s.Slots) == 0 {
		return s, p, false
	}
	number := s.Slots[s.hash(client)%uint32(len(s.Slots))]
	i, ok = slices.BinarySearchFunc(t.Providers, Provider{Service: s.Number, Number: number}, CompareProviders)
	if !ok {
		return s, p, false
	}
	return s, t.Providers[i], true
}

// hash is that of a new connection: MurmurHash3 of 32 bits, over the service's number and the client's address, as 16 bytes, in
// big-endian words; without affinity also over both ports and the protocol.
func (s Service) hash(client netip.AddrPort) uint32 {
	a := client.Addr().As16()
	words := []uint32{s.Number}
	for i := 0; i < len(a); i += 4 {
		words = append(words, binary.BigEndian.Uint32(a[i:]))
	}
	if s.Affinity == 0 {
		words = append(words, uint32(client.Port())<<16|uint32(s.Port), uint32(s.Protocol))
	}
	h := uint32(0)
	for _, w := range words {
		h ^= bits.RotateLeft32(w*0xcc9e2d51, 15) * 0x1b873593
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	h ^= uint32(4 * len(words))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
