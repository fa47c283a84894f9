// SPDX-License-Identifier: Apache-2.0

// Package dns answers the names of containers on the node where they are asked for.
//
// A container asks Docker's resolver at 127.0.0.11, whatever image it is. In its network namespace we open
// sockets at 127.0.0.11:5399 and turn its questions to them with an nftables table of our own, ahead of
// Docker's. What the World knows for the networks of the asking container is answered; all else goes on to
// Docker's resolver, and its answers come back untouched.
//
//	zone.go      the names of one tenant, as objects come and go: pure
//	index.go     the zones of the newest World, brought there by what differs from the one before
//	answer.go    what one container gets for a question: pure
//	reply.go     one packet in, one packet out
//	redirect.go  the nftables table
//	sandbox.go   the sockets of one container; tcp.go and upstream.go are its parts
//	server.go    the containers of this node
//
// What bites:
//   - An open socket keeps its network namespace alive, and so the veth in it. A sandbox whose namespace has lost its
//     path is therefore closed at the next heartbeat, asked or not.
//   - NAT is decided once a flow: a client that keeps its source port stays with the resolver that it had first.
//   - A program in the container can no longer have port 5399 at 127.0.0.11 or at 0.0.0.0.
package dns
