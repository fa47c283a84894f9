// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/cluster"
)

// refusal makes a call, of many at once, and gives what it is refused with.
func (p pod) refusal(command, config string) error {
	if _, err := p.call(command, config); err != nil {
		return fmt.Errorf("%s of %s: %w", command, p.name, err)
	}
	return nil
}

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
	given := make([][]netip.Addr, len(pods))
	took := atOnce(t, len(pods), func(i int) error {
		given[i] = pods[i].addrs(web)
		return nil
	})
	t.Logf("%d containers attached at once, each in %s", len(pods), spread(took))
	if t.Failed() {
		return
	}
	seen := map[netip.Addr]string{}
	for i, addrs := range given {
		if len(addrs) != 1 || seen[addrs[0]] != "" {
			t.Errorf("%s has %v, as has %s", pods[i].name, addrs, seen[addrs[0]])
		}
		seen[addrs[0]] = pods[i].name
	}
	endpoints(t, c, "web", len(pods))
	// Again, as of a runtime that did not hear the answers, while others ask how things are.
	atOnce(t, len(pods), func(i int) error {
		p := pods[i]
		if again := p.addrs(web); !slices.Equal(again, given[i]) {
			t.Errorf("%s has %v after %v", p.name, again, given[i])
		}
		return errors.Join(p.refusal("CHECK", web), p.refusal("STATUS", web))
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
	atOnce(t, len(pods), func(i int) error {
		switch {
		case i == 25 || i == 26:
			return pods[i].refusal("GC", collect)
		case i < 20:
			return pods[i].refusal("DEL", web)
		}
		return nil
	})
	endpoints(t, c, "web", 5)
	pods[20].reaches(given[24][0].String())
	atOnce(t, len(pods), func(i int) error { return pods[i].refusal("DEL", web) })
	allocated(t, c, "10.1.2.254", "web")
	healthy(t, c)
}

func TestContainersOfCNIComeAndGoWhileTheAgentIsKilled(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	web := conf("k8s", "web")
	pods := make([]pod, 12)
	for i := range pods {
		pods[i] = newPod(t, n, fmt.Sprintf("p%d", i))
	}
	// insist calls as a runtime does: until it succeeds, and with DEL after an ADD that failed.
	insist := func(p pod, command string) error {
		return cluster.Eventually(t.Context(), patience, func() error {
			_, err := p.call(command, web)
			if err == nil {
				return nil
			}
			if err.Code != types.ErrTryAgainLater {
				t.Errorf("%s of %s: %+v", command, p.name, err)
			}
			if command == "ADD" {
				_, _ = p.call("DEL", web) // a runtime does not look at how that ends either
			}
			return err
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		atOnce(t, len(pods), func(i int) error {
			var failed error
			for _, command := range []string{"ADD", "DEL", "ADD", "DEL", "ADD", "DEL", "ADD"} {
				failed = errors.Join(failed, insist(pods[i], command))
			}
			return failed
		})
	}()
	for range 3 {
		if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
			t.Error(err)
			break
		}
	}
	<-ended
	if t.Failed() {
		return
	}
	endpoints(t, c, "web", len(pods))
	atOnce(t, len(pods), func(i int) error { return insist(pods[i], "CHECK") })
	pods[0].reaches("10.1.2.254")
	healthy(t, c)
	atOnce(t, len(pods), func(i int) error { return insist(pods[i], "DEL") })
	// What an agent was given in the moment in which it was killed is held for as long as its lease (docs/decisions/0002).
	must(t, cluster.Eventually(t.Context(), patience+model.HoldSeconds*time.Second, func() error {
		if got := oper(t, c, "web").AllocatedIPAddresses; got != "10.1.2.254" {
			return fmt.Errorf("network web has given %q", got)
		}
		return nil
	}))
	healthy(t, c)
}
