// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// Netprofile limits what each endpoint of the groups that name it sends and receives, and marks what it sends.
type Netprofile struct {
	Key         string `json:"key"` // tenant:netprofile
	TenantName  string `json:"tenantName"`
	ProfileName string `json:"profileName"`
	Bandwidth   string `json:"bandwidth,omitempty"` // what it may send, as 10 mbps; left out: no limit
	// IngressBandwidth is what it may receive, likewise; "" for no limit. Left out: as it is, at first no limit. New since v1.
	IngressBandwidth *string  `json:"ingressBandwidth,omitempty"`
	Burst            int      `json:"burst,omitempty"` // kilobytes of 1024 bytes that may go at once; left out: chosen by the node
	DSCP             int      `json:"DSCP,omitempty"`  // 1 to 63, of what it sends; left out: packets stay as they are
	LinkSets         LinkSets `json:"link-sets"`
	Links            Links    `json:"links"`
}

// NetprofileInspect is the answer of inspect; v1 knows nothing of its operation.
type NetprofileInspect = Inspect[Netprofile, struct{}]

// NetprofileOf is how v1 shows n. Link sets need the World and are the master's to fill.
func NetprofileOf(n model.Netprofile) Netprofile {
	return Netprofile{
		Key: n.Key(), TenantName: n.Tenant, ProfileName: n.Name, Bandwidth: n.Bandwidth, IngressBandwidth: &n.IngressBandwidth, Burst: n.Burst, DSCP: n.DSCP,
		LinkSets: LinkSets{}, Links: Links{},
	}
}

// Model is the netprofile that n asks for. What n leaves out and v1 had not is the master's to keep.
func (n Netprofile) Model() (model.Netprofile, error) {
	m := model.Netprofile{Tenant: n.TenantName, Name: n.ProfileName, Bandwidth: n.Bandwidth, IngressBandwidth: valueOf(n.IngressBandwidth), Burst: n.Burst, DSCP: n.DSCP}
	return m, m.Check()
}
