// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// turn has the questions of a container without a resolver inside come to us, wherever they are sent: those that leave it by a port of
// ours are reflected there; those that do not leave it are found on lo; and to lo come also those of an address family whose way out is
// no port of ours. Done twice it changes nothing, and it mends what somebody changed. It is called in the container's namespace, with
// turning held.
func (s *sandbox) turn() error {
	devices, err := s.openAtPorts()
	if err != nil {
		return err
	}
	v6 := slices.ContainsFunc(s.doors, func(d door) bool { return d.v6 })
	ways, err := netdev.FindWaysOut(v6)
	if err != nil {
		return err
	}
	// Rules are not for a moment: the kernel is slower for ever where there were any.
	late := time.Since(s.began) > s.life/3
	awaited := s.dp != nil && len(devices) < len(s.wanted.Ports) && !late
	way4 := way{device: ways.V4, everywhere: ways.Default4, awaited: awaited || s.wanted.Gateway4 && !late}
	way6 := way{device: ways.V6, everywhere: ways.Default6, awaited: awaited || s.wanted.Gateway6 && !late}
	rules := netdev.Returned{Port: dnsPort, V4: way4.needsRules(devices), V6: v6 && way6.needsRules(devices), Source4: ways.Source4, Back: mark}
	if s.dp != nil && !s.dp.Reflects() {
		// After an upgrade, the rules that are there are all that brings us questions.
		there4, there6, err := netdev.FindReturned()
		if err != nil {
			return err
		}
		rules.V4, rules.V6 = rules.V4 || there4, rules.V6 || v6 && there6
	}
	// Each way is ready before questions come by it, and they come by it before the former one goes.
	if err := s.serveLo(rules, ways); err != nil {
		return err
	}
	for port := range devices {
		if err := s.dp.Reflect(port, s.life); err != nil {
			return err
		}
	}
	if err := netdev.ReturnSent(rules); err != nil {
		return err
	}
	if !s.turned {
		if err := removeRedirect(); err != nil { // of a netplugin that had one here too
			return err
		}
	}
	s.turned = true
	s.settled = !awaited && !way4.isAwaited() && !(v6 && way6.isAwaited())
	return nil
}

// way is how a container reaches others over one address family.
type way struct {
	device     int  // by its index; 0: there is none
	everywhere bool // it is a default route
	awaited    bool // a default route is about to come
}

func (w way) isAwaited() bool { return w.awaited && !w.everywhere }

// needsRules tells whether questions have to be brought to lo, as they leave by none of our devices.
func (w way) needsRules(devices map[string]int) bool {
	if !w.everywhere {
		return !w.awaited
	}
	for _, device := range devices {
		if device == w.device {
			return false
		}
	}
	return true
}

// openAtPorts opens doors at the container's devices that are the other sides of our ports, by the ports' names.
func (s *sandbox) openAtPorts() (devices map[string]int, err error) {
	if s.dp == nil {
		return nil, nil
	}
	names := map[int]string{}
	for _, name := range s.wanted.Ports {
		if index, ok := s.dp.PortIndex(name); ok {
			names[index] = name
		}
	}
	devices = make(map[string]int, len(names))
	for port, name := range names {
		device, up, err := netdev.OtherSide(port)
		if err != nil {
			return nil, err
		}
		if !up {
			continue
		}
		// One outlives its device until the container ends.
		if !slices.ContainsFunc(s.doors, func(d door) bool { return d.device == device }) {
			if err := s.openDoors(device); err != nil {
				return nil, err
			}
		}
		devices[name] = device
	}
	return devices, nil
}

// serveLo has questions on lo come to us, with those that the rules will bring there.
func (s *sandbox) serveLo(rules netdev.Returned, ways netdev.WaysOut) error {
	o := datapath.QuestionsOptions{Mark: mark, Port: port}
	if rules.V4 {
		o.WayOut4 = ways.V4
	}
	if rules.V6 {
		o.WayOut6 = ways.V6
	}
	attached, err := datapath.QuestionsAttached()
	if err != nil {
		return err
	}
	if !s.turned || !attached || o != s.given {
		if err := s.questions.Attach(o); err != nil {
			return err
		}
		s.given = o
	}
	if s.turned && !attached {
		s.log.Info("what turns a container's questions had gone from lo", "netns", s.path)
	}
	return netdev.SetLoopbackUp()
}

// unreflect lets the questions of all ports go where they are sent.
func (s *sandbox) unreflect() error {
	if s.dp == nil || !s.everywhere {
		return nil
	}
	var failed []error
	for _, port := range s.wanted.Ports {
		if err := s.dp.Unreflect(port); err != nil {
			failed = append(failed, fmt.Errorf("let a container's questions go by %s: %w", port, err))
		}
	}
	return errors.Join(failed...)
}
