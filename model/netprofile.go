// SPDX-License-Identifier: Apache-2.0

package model

import (
	"regexp"
	"strconv"
)

// Netprofile limits what each endpoint of its groups sends and receives, and marks what it sends.
type Netprofile struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	// Bandwidth is what an endpoint may send, as the user wrote it, "10 mbps"; "" is no limit. BitsPerSecond reads it.
	Bandwidth string `json:"bandwidth,omitempty"`
	// IngressBandwidth is the same of what it may receive. IngressBitsPerSecond reads it.
	IngressBandwidth string `json:"ingressBandwidth,omitempty"`
	Burst            int    `json:"burst,omitempty"` // kilobytes of 1024 bytes, in either direction; 0: chosen by the node
	DSCP             int    `json:"dscp,omitempty"`  // differentiated services code point (RFC 2474); 0: left alone
}

// Bounds of a netprofile.
const (
	MaxDSCP  = 63
	MinBurst = 2 // kilobytes: one would not hold a packet of 1500 bytes
	MaxBurst = 10486
)

func (Netprofile) Kind() Kind    { return KindNetprofile }
func (n Netprofile) Key() string { return NetprofileKey(n.Tenant, n.Name) }

// NetprofileKey is how a netprofile is named in the store and in the v1 API: tenant:netprofile.
func NetprofileKey(tenant, name string) string { return tenant + ":" + name }

// Check refuses a netprofile that could never be right, whatever else exists.
func (n Netprofile) Check() error {
	if err := CheckName("tenantName", n.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("profileName", n.Name, 64); err != nil {
		return err
	}
	if _, err := n.BitsPerSecond(); err != nil {
		return err
	}
	if _, err := n.IngressBitsPerSecond(); err != nil {
		return err
	}
	if n.DSCP < 0 || n.DSCP > MaxDSCP {
		return Invalid("DSCP", "DSCP %d is out of bounds; use 1 to %d, or 0 to leave packets as they are", n.DSCP, MaxDSCP)
	}
	if n.Burst != 0 && (n.Burst < MinBurst || n.Burst > MaxBurst) {
		return Invalid("burst", "burst %d is out of bounds; use %d to %d kilobytes, or 0 to leave it to the node", n.Burst, MinBurst, MaxBurst)
	}
	return nil
}

// One optional space between number and unit, as v1 has it. Twelve digits in the smallest unit are the most there can be.
var bandwidth = regexp.MustCompile(`^([1-9][0-9]{0,11}) ?([kmgKMG])(?:bps|b)?$`)

// maxBandwidth is 1,000,000 gbps, in bits per second.
const maxBandwidth = 1e15

// BitsPerSecond reads the bandwidth; 0 is no limit. A unit is 1000 times the one before.
func (n Netprofile) BitsPerSecond() (uint64, error) { return bitsPerSecond("bandwidth", n.Bandwidth) }

// IngressBitsPerSecond reads the bandwidth of what is received, as BitsPerSecond does.
func (n Netprofile) IngressBitsPerSecond() (uint64, error) {
	return bitsPerSecond("ingressBandwidth", n.IngressBandwidth)
}

// bitsPerSecond reads the bandwidth in the field of that name.
func bitsPerSecond(field, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	m := bandwidth.FindStringSubmatch(text)
	if m == nil {
		return 0, Invalid(field, "%s %q is not a rate; write it as 10 kbps, 10 mbps or 10 gbps", field, text)
	}
	number, _ := strconv.ParseUint(m[1], 10, 64) // twelve digits always fit
	unit := uint64(1e3)
	switch m[2] {
	case "m", "M":
		unit = 1e6
	case "g", "G":
		unit = 1e9
	}
	if number > maxBandwidth/unit {
		return 0, Invalid(field, "%s %q is more than any link has; the most is 1000000 gbps", field, text)
	}
	return number * unit, nil
}
