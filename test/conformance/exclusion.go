// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"regexp"
	"strings"
)

// Exclusion is why tests are not run.
type Exclusion struct {
	Pattern string // of their names
	Reason  string
}

// Excluded are Kubernetes' tests of networks that are not run here. The first that fits a name is the reason.
var Excluded = []Exclusion{
	{`\[Feature:SCTPConnectivity\]`, "needs SCTP sockets, which the kernel of the machine may not have"},
	{`\[Feature:LoadBalancer\]|\[Provider:GCE\]`, "needs a cloud"},
	{`\[Feature:Networking-(IPv4|IPv6|DNS)\]`, "needs the Internet"},
	{`\[Feature:(Networking-Performance|PerformanceDNS)\]`, "measures speed, and of what is not Contiv's too; make bench measures Contiv's"},
	{`\[Feature:KubeProxy|\] KubeProxy |kube-proxy urls|restarting kube-proxy`, "tests kube-proxy, which is not run: Contiv does its work"},
	{`\[Disruptive\]`, "restarts parts of the cluster over SSH, which its nodes have not"},
	{`DNS configMap`, "rewrites the configuration of the cluster's DNS server, which is not Contiv's"},
	{`\[Feature:OffByDefault\]`, "needs a feature of Kubernetes that is off unless asked for"},
}

// Pattern fits what one of the exclusions fits.
func Pattern(exclusions []Exclusion) string {
	var all []string
	for _, e := range exclusions {
		all = append(all, e.Pattern)
	}
	return strings.Join(all, "|")
}

// Explain gives the skipped tests that were not selected their reasons. otherwise is that of those that no exclusion fits.
func Explain(results []Result, exclusions []Exclusion, otherwise string) {
	for i, r := range results {
		if r.Outcome != Skipped || r.Reason != "" {
			continue
		}
		results[i].Reason = otherwise
		for _, e := range exclusions {
			if regexp.MustCompile(e.Pattern).MatchString(r.Name) {
				results[i].Reason = e.Reason
				break
			}
		}
	}
}

// WithoutSCTP takes tests of network-policy-api that ended where they asked by SCTP, and the kernel has none, for skipped: they end at
// the first answer that they do not expect, so all that they asked before was right.
func WithoutSCTP(results []Result) {
	for i, r := range results {
		if r.Outcome == Failed && strings.HasSuffix(r.Reason, "OTHER: protocol not supported") {
			results[i].Outcome = Skipped
			results[i].Reason = "asks by SCTP too, of which the kernel of the machine may have no sockets; what it asks before was answered as it should be"
		}
	}
}
