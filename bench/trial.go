// SPDX-License-Identifier: Apache-2.0

package main

// trial is one thing that is measured on every path.
type trial struct {
	name    string
	title   string // column of the table
	unit    string
	scale   float64 // a sample's rate divided by this is in unit
	streams int
	free    bool // placed by the scheduler, not on one CPU
}

func trials() []trial {
	return []trial{
		{name: "tput1", title: "1 stream", unit: "Gbit/s", scale: 1, streams: 1},
		{name: "tput4", title: "4 streams", unit: "Gbit/s", scale: 1, streams: 4, free: true},
		{name: "rr", title: "round trips", unit: "k/s", scale: 1000},
		{name: "crr", title: "connections", unit: "k/s", scale: 1000},
		{name: "pps", title: "small packets", unit: "k/s", scale: 1000},
	}
}

// topology is where the two containers live.
type topology string

const (
	same   topology = "same" // on one node
	across topology = "two"  // on two nodes, joined by a veth pair as the underlay
)

func (t topology) title() string {
	if t == same {
		return "Same node"
	}
	return "Two nodes"
}

// floor is the least ratio to the bare path that Contiv is to reach, by trial.
func (t topology) floor() map[string]float64 {
	if t == same {
		return map[string]float64{"tput1": 0.97, "tput4": 0.97, "rr": 0.95, "crr": 0.94, "pps": 0.93}
	}
	return map[string]float64{"tput1": 0.80, "tput4": 0.84, "rr": 0.86, "crr": 0.83, "pps": 0.76}
}
