// SPDX-License-Identifier: Apache-2.0

// Package dns answers the names of containers on the node where they are asked for.
//
// A container asks the server that its runtime told it of: Docker's resolver at 127.0.0.11 in every Docker container, any in
// others. In its network namespace we open sockets at port 5399 and have its questions turned to them. In Docker's containers an nftables
// table of our own does that, on lo. In others, where the way out is a port of ours, the data path reflects at the port the questions
// that leave; a program on lo sees to those that do not, and routing rules bring there those whose way out is another's. What the World
// knows for the networks of the asking container is answered in the name of the server that was asked; all else is sent on to it in
// the name of the client, and we never see what it answers.
//
//	zone.go      the names of one tenant, as objects come and go: pure
//	cluster.go   the names of Kubernetes, in the same way; kubernetes.go answers them
//	outer.go     names outside of the cluster that its services stand for
//	index.go     the zones of the newest World, brought there by what differs from the one before
//	answer.go    what one container gets for a question: pure
//	reply.go     one message in, one message out: pure
//	packet.go    the packets that carry them over UDP: pure
//	redirect.go  the nftables table in Docker's containers
//	turn.go      its like in others: datapath.Reflect, datapath.Questions and netdev.ReturnSent
//	sandbox.go   one container; door.go and socket.go are its sockets, tcp.go its connections
//	server.go    the containers of this node
//
// What bites:
//   - An open socket keeps its network namespace alive, and so the veth in it. A sandbox whose namespace has lost its
//     path is therefore closed at the next heartbeat, asked or not.
//   - What a port reflects comes to a socket with its ends changed round, and only what it has marked is taken: else a container would
//     answer whoever reaches that port. What we send has a TTL of its own, by which the port tells our questions from the container's.
//   - Over TCP two connections make one, so there answers do pass through us.
//   - A program in the container can no longer have port 5399.
package dns
