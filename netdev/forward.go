// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/contivnet/contiv/model"
)

// iptablesTime bounds a call of iptables, which waits for others that hold its lock.
const iptablesTime = 10 * time.Second

// passRules have packets by our devices forwarded where nothing else says otherwise, and what is translated and has a bit of its mark; 0: none has. What may pass, and has
// the bit, is Firewall's to say.
func passRules(devices []string, mark uint32) (out []string) {
	for _, d := range devices {
		out = append(out, "-A FORWARD -i "+d+" -j ACCEPT", "-A FORWARD -o "+d+" -j ACCEPT")
	}
	if mark != 0 {
		out = append(out, fmt.Sprintf("-A FORWARD -m mark --mark %#x/%#x -m conntrack --ctstate DNAT -j ACCEPT", mark, mark))
	}
	return out
}

// PassForwarding adds passRules at the end of iptables' chain FORWARD where its policy is to drop: a Docker engine sets it when it is
// the one that turns forwarding on. An accept in a table of our own does not overrule it. At the end, every rule of
// others is asked before, so only the policy is changed, and only for these. Where there is no iptables, nobody has set a policy.
func PassForwarding(program string, devices []string, mark uint32) error {
	have, err := forwardRules(program)
	if err != nil || !slices.Contains(have, "-P FORWARD DROP") {
		return err
	}
	for _, rule := range passRules(devices, mark) {
		if slices.Contains(have, rule) {
			continue
		}
		if _, err := iptables(program, strings.Fields(rule)...); err != nil {
			return err
		}
	}
	return nil
}

// UnpassForwarding takes passRules away, with this mark. That they are not there is fine.
func UnpassForwarding(program string, mark uint32) error {
	have, err := forwardRules(program)
	if err != nil {
		return err
	}
	ours := passRules([]string{model.OutsideDevice, model.HostAccess}, mark)
	for _, rule := range have {
		if !slices.Contains(ours, rule) {
			continue
		}
		if _, err := iptables(program, append([]string{"-D"}, strings.Fields(rule)[1:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// forwardRules is chain FORWARD as iptables -S prints it; none where there is no iptables.
func forwardRules(program string) ([]string, error) {
	out, err := iptables(program, "-S", "FORWARD")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	return strings.Split(strings.TrimSpace(out), "\n"), err
}

func iptables(program string, args ...string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program) // not in the PATH of all users
	}
	if err != nil {
		return "", exec.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(context.Background(), iptablesTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, append([]string{"-w"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
