// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
)

func TestFiftyContainersComeAndGoByCNIAtOnce(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	web := conf("k8s", "web")
	pods := make([]pod, 50)
	for i := range pods {
		pods[i] = newPod(t, n, fmt.Sprintf("p%d", i))
	}
	all := func(what func(i int, p pod)) {
		var wg sync.WaitGroup
		for i, p := range pods {
			wg.Go(func() { what(i, p) })
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	// try is a call that has to succeed, of many at once.
	try := func(p pod, command, config string) {
		if _, err := p.call(command, config); err != nil {
			t.Errorf("%s of %s: %v", command, p.name, err)
		}
	}
	given := make([][]netip.Addr, len(pods))
	all(func(i int, p pod) { given[i] = p.addrs(web) })
	seen := map[netip.Addr]string{}
	for i, addrs := range given {
		if len(addrs) != 1 || seen[addrs[0]] != "" {
			t.Errorf("%s has %v, as has %s", pods[i].name, addrs, seen[addrs[0]])
		}
		seen[addrs[0]] = pods[i].name
	}
	endpoints(t, c, "web", len(pods))
	// Again, as of a runtime that did not hear the answers, while others ask how things are.
	all(func(i int, p pod) {
		if again := p.addrs(web); len(again) != 1 || again[0] != given[i][0] {
			t.Errorf("%s has %v after %v", p.name, again, given[i])
		}
		try(p, "CHECK", web)
		try(p, "STATUS", web)
	})
	pods[0].reaches(given[49][0].String())

	// The runtime has lost one half, and takes the other away while that is collected.
	type attachment struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	}
	var valid []attachment
	for _, p := range pods[:25] {
		valid = append(valid, attachment{p.name, "eth0"})
	}
	said, err := json.Marshal(valid)
	if err != nil {
		t.Fatal(err)
	}
	collect := strings.Replace(web, "{", fmt.Sprintf(`{"cni.dev/valid-attachments": %s, `, said), 1)
	all(func(i int, p pod) {
		switch {
		case i == 25 || i == 26:
			try(p, "GC", collect)
		case i < 20:
			try(p, "DEL", web)
		}
	})
	endpoints(t, c, "web", 5)
	pods[20].reaches(given[24][0].String())
	all(func(i int, p pod) { try(p, "DEL", web) })
	allocated(t, c, "10.1.2.254", "web")
	healthy(t, c)
}
