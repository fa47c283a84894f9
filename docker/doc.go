// SPDX-License-Identifier: Apache-2.0

// Package docker is the edge to a Docker engine: the remote network and IPAM driver that the engine
// calls over a unix socket (server.go, driver.go, ipam.go), and the keeper that makes the engine's networks
// those of the World and the World's those that a user made with `docker network create` (plan.go, keeper.go).
// A group of the World is two networks in the engine, db.contiv-net and db (place.go).
//
// The engine is asked over its own socket with plain HTTP (engine.go), and its events tell what its calls
// leave out: a network's name, a container's labels and aliases (events.go).
//
// What bites:
//   - CreateNetwork carries no name and the network cannot be read before the call has returned. So a
//     user's network is tried at a master without a name first (?dry-run=true), and put there by the keeper when the
//     engine shows it.
//   - Reading a container blocks while the engine starts, stops or connects it. Inside a driver call only
//     networks and lists of containers may be read.
//   - An error from DeleteNetwork is logged by the engine and the network is gone all the same. The keeper makes it again.
//   - The engine repeats a call whose answer it did not hear, and after its own crash it may leave calls out.
//     Every call can be repeated, and nothing relies on a call to come.
package docker
