// SPDX-License-Identifier: Apache-2.0

// Package observe tells what a node has seen: how many packets its data path has dropped and why, how often each rule has
// decided, and which connections were opened and refused. The data path knows numbers and addresses; names come from the World
// and the Tables. Masters ask over HTTP, when a user asks them; nothing of this is ever stored.
//
// What bites: names are looked up when an event is read, a quarter of a second after it happened. A container that is gone by then
// is told by its address alone, and a rule that came and went between two reads as api.RemovedRule.
package observe
